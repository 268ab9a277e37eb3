"""JAX's kernels of CPUs, whose gradients are written by hand."""

import math

import keras
import numpy as np
import pytest

from keras_clmae.kernels import keras_kernels
from keras_clmae.kernels.block import BlockInputs
from keras_clmae.kernels.block import make_transformer_block
from keras_clmae.kernels.block import transformer_block
from keras_clmae.kernels.weights import NormWeights
from tests.kernels.test_kernels import inputs_of

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="JAX's kernels"
)


def outputs_and_gradients(block, inputs, weights, dtype):
    """Runs a block on JAX, forward and backward, to float32 arrays."""
    import jax

    inputs = jax.tree.map(lambda x: keras.ops.cast(x, dtype), inputs)
    # As in mixed precision: the weights of the norm are in float32.
    weights = jax.tree.map(
        lambda part: (
            part
            if isinstance(part, NormWeights)
            else keras.ops.cast(part, dtype)
        ),
        weights,
        is_leaf=lambda part: isinstance(part, NormWeights),
    )

    def loss(weights, *inputs):
        outputs = block(BlockInputs(*inputs), weights, epsilon=1e-6)
        square = keras.ops.square(keras.ops.cast(outputs, "float32"))
        return keras.ops.sum(square), outputs

    differentiate = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    (_, outputs), gradients = jax.jit(differentiate)(weights, *inputs)
    return [
        np.asarray(x, "float32") for x in jax.tree.leaves((outputs, gradients))
    ]


def errors_of(block, arguments, dtype, expected):
    actual = outputs_and_gradients(block, *arguments, dtype)
    return [
        np.linalg.norm(one - other) / np.linalg.norm(other)
        for one, other in zip(actual, expected, strict=True)
    ]


@pytest.mark.parametrize("num_queries, scaled", [(None, True), (2, False)])
def test_block(num_queries, scaled):
    arguments = inputs_of(num_queries, scaled)
    general = make_transformer_block(keras_kernels)
    expected = outputs_and_gradients(general, *arguments, "float32")
    ours = errors_of(transformer_block, arguments, "float32", expected)
    assert max(ours) < 1e-6
    # In bfloat16 as near to float32 as Keras's operations.
    ours, theirs = (
        errors_of(block, arguments, "bfloat16", expected)
        for block in (transformer_block, general)
    )
    assert max(ours) < 0.05
    assert np.mean(ours) < 1.2 * np.mean(theirs)


def test_without_a_gradient():
    inputs, weights = inputs_of(num_queries=2)
    general = make_transformer_block(keras_kernels)
    ours, expected = (
        np.asarray(block(inputs, weights, epsilon=1e-6))
        for block in (transformer_block, general)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


def test_gelu_of_large_and_small_numbers():
    import jax

    from keras_clmae.kernels import jax_cpu_kernels

    x = np.float32([-30, -12, -5, -1, -1e-3, 0, 1e-3, 1, 5, 12, 30])
    wide = x.astype("float64")
    outputs, slopes = jax.vmap(jax.value_and_grad(jax_cpu_kernels.gelu))(x)
    erf = np.vectorize(math.erf)
    share = 0.5 * (1 + erf(wide / np.sqrt(2)))
    density = np.exp(-0.5 * wide**2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(outputs, wide * share, rtol=1e-6, atol=5e-6)
    np.testing.assert_allclose(slopes, share + wide * density, atol=1e-6)


def test_accelerators_keep_their_own(monkeypatch):
    from keras_clmae.kernels import jax_cpu_kernels
    from keras_clmae.kernels import jax_kernels

    def fail(*_):
        raise AssertionError("a kernel of CPUs")

    monkeypatch.setattr(jax_kernels, "accelerator", lambda: ("TPU", True))
    for name in ("attend", "gelu", "layer_norm"):
        monkeypatch.setattr(jax_cpu_kernels, name, fail)
    inputs, weights = inputs_of()
    outputs = transformer_block(inputs, weights, epsilon=1e-6)
    assert outputs.shape == inputs.tokens.shape
