"""Counted work against the published code's."""

import keras
import numpy as np
import pytest

from keras_clmae.models import CLMAE

# GFLOP per image, forward and backward of both phases, that
# torch.utils.flop_counter counts for the published code at these sizes. It
# counts matrix products and nothing else.
PUBLISHED = {
    "clmae_tiny_patch4_32": ((32, 32, 3), 3.84),
    "clmae_small_patch16_224": ((96, 96, 3), 8.51),
    "clmae_base_patch16_224": ((224, 224, 3), 210.42),
}
BATCH_SIZE = 2


def model_and_images(preset):
    image_shape, published = PUBLISHED[preset]
    model = CLMAE.from_preset(
        preset, load_weights=False, image_shape=image_shape
    )
    model.compile("adamw", curriculum=1.0)
    draw = np.random.default_rng(0)
    images = draw.normal(size=(BATCH_SIZE, *image_shape)).astype("float32")
    return model, images, published * 1e9 * BATCH_SIZE


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="PyTorch's counter"
)
@pytest.mark.parametrize("preset", PUBLISHED)
def test_matrix_products_by_the_counter_of_pytorch(preset):
    from torch.nn.attention import SDPBackend
    from torch.nn.attention import sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    model, images, published = model_and_images(preset)
    # The counter does not see inside the fused attention kernel of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
        model.train_on_batch(images)
    assert count.get_total_flops() < 0.95 * published


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA's counter")
@pytest.mark.parametrize("preset", PUBLISHED)
def test_work_by_the_cost_analysis_of_xla(preset):
    import jax

    model, images, published = model_and_images(preset)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    traced = jax.jit(model.train_step).trace(state, images)
    assert matrix_products(traced.jaxpr) < 0.95 * published
    # XLA's own count has all that is not a matrix product besides: softmax,
    # normalizations, activations, optimizers.
    assert traced.lower().cost_analysis()["flops"] < published


def matrix_products(jaxpr):
    """Floating-point operations of the matrix products in a jaxpr."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            terms = np.prod([left[axis] for axis in contracted])
            total += 2 * terms * np.prod(equation.outvars[0].aval.shape)
        for inner in _inner_jaxprs(equation):
            total += matrix_products(inner)
    return total


def _inner_jaxprs(equation):
    from jax.extend.core import ClosedJaxpr
    from jax.extend.core import Jaxpr

    for value in equation.params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, Jaxpr):
                yield part
