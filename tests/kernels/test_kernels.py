"""The kernels of a backend against those of all."""

import functools
import re
import types

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae import kernels
from keras_clmae.kernels import bfloat16
from keras_clmae.kernels import keras_kernels
from keras_clmae.kernels.block import BlockInputs
from keras_clmae.kernels.block import make_transformer_block
from keras_clmae.kernels.block import transformer_block
from keras_clmae.kernels.weights import AttentionWeights
from keras_clmae.kernels.weights import BlockWeights
from keras_clmae.kernels.weights import LinearWeights
from keras_clmae.kernels.weights import NormWeights
from keras_clmae.layers import TransformerBlock
from tests.once import ONCE

BACKEND = keras.backend.backend()
HEADS, HEAD_DIM, MLP_DIM = 2, 4, 12
HIDDEN_DIM = HEADS * HEAD_DIM

on_torch = pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's kernels")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="JAX's kernels")


def draw(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape, scale=0.5)
    return values.astype("float32")


def inputs_of(num_queries=None, scaled=False, tokens=5):
    """Inputs and weights of a block, as arrays."""
    queries = None
    if num_queries:
        queries = draw(1, 3, num_queries, HIDDEN_DIM)
    scales = (draw(2, 3, 1, 1), draw(3, 3, 1, 1)) if scaled else (None, None)
    norm = NormWeights(1 + draw(4, HIDDEN_DIM), draw(5, HIDDEN_DIM))
    attention = AttentionWeights(
        LinearWeights(
            draw(6, HIDDEN_DIM, 3, HEADS, HEAD_DIM),
            draw(7, 3, HEADS, HEAD_DIM),
        ),
        LinearWeights(draw(8, HIDDEN_DIM, HIDDEN_DIM), draw(9, HIDDEN_DIM)),
    )
    weights = BlockWeights(
        norm,
        attention,
        norm,
        LinearWeights(draw(10, HIDDEN_DIM, MLP_DIM), draw(11, MLP_DIM)),
        LinearWeights(draw(12, MLP_DIM, HIDDEN_DIM), draw(13, HIDDEN_DIM)),
    )
    return (
        BlockInputs(draw(0, 3, tokens, HIDDEN_DIM), queries, *scales),
        weights,
    )


def outputs_and_gradients(block, inputs, weights, dtype):
    """Runs a block on PyTorch, forward and backward, to float32 arrays."""
    import torch

    device = keras.ops.ones(()).device

    def leaf(array, dtype):
        tensor = torch.tensor(array, device=device, dtype=dtype)
        leaves.append(tensor.requires_grad_())
        return tensor

    def leaves_of(part):
        if not isinstance(part, tuple):
            return leaf(part, dtype)
        # As in mixed precision: the weights of the norm are in float32.
        if isinstance(part, NormWeights):
            return type(part)(*(leaf(x, torch.float32) for x in part))
        return type(part)(*map(leaves_of, part))

    leaves = []
    scales = [
        x if x is None else torch.tensor(x, device=device, dtype=dtype)
        for x in inputs[2:]
    ]
    inputs = BlockInputs(
        *(x if x is None else leaf(x, dtype) for x in inputs[:2]), *scales
    )
    outputs = block(inputs, leaves_of(weights), epsilon=1e-6)
    gradients = torch.autograd.grad(outputs.float().square().sum(), leaves)
    return [x.detach().float().cpu().numpy() for x in (outputs, *gradients)]


@on_torch
@pytest.mark.parametrize("num_queries, scaled", [(None, True), (2, False)])
@pytest.mark.parametrize(
    "dtype, tolerance", [("float32", 1e-5), ("bfloat16", 3e-2)]
)
def test_torch_block(num_queries, scaled, dtype, tolerance):
    import torch

    arguments = *inputs_of(num_queries, scaled), getattr(torch, dtype)
    ours = outputs_and_gradients(transformer_block, *arguments)
    general = make_transformer_block(keras_kernels)
    general = outputs_and_gradients(general, *arguments)
    for one, other in zip(ours, general, strict=True):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


@on_torch
@pytest.mark.parametrize("queries", [None, 1])
def test_torch_attention_in_bfloat16(monkeypatch, queries):
    import torch

    from keras_clmae.kernels import torch_kernels

    def run(dtype, plain_tokens):
        monkeypatch.setattr(torch_kernels, "_PLAIN_TOKENS", plain_tokens)
        arguments = *inputs_of(queries, tokens=17), dtype
        return outputs_and_gradients(transformer_block, *arguments)

    def errors(plain_tokens):
        actual = run(torch.bfloat16, plain_tokens)
        return [
            np.linalg.norm(one - other) / np.linalg.norm(other)
            for one, other in zip(actual, expected, strict=True)
        ]

    expected = run(torch.float32, 1025)
    plain, fused = errors(plain_tokens=17), errors(plain_tokens=16)
    assert max(plain) < 0.05
    # As good as the fused kernel's.
    assert np.mean(plain) < 1.2 * np.mean(fused)


@on_torch
@pytest.mark.parametrize(
    "dtype, tokens, fused",
    [
        ("float32", 17, True),
        ("bfloat16", 17, False),
        ("bfloat16", 1025, False),
        ("bfloat16", 1026, True),
    ],
)
def test_which_attention_torch_takes(monkeypatch, dtype, tokens, fused):
    import torch
    import torch.nn.functional as F

    from keras_clmae.kernels import torch_kernels

    asked = []
    attention = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda *parts: asked.append(1) or attention(*parts),
    )
    draws = [
        torch.tensor(draw(i, 1, 2, tokens, 4)).to(getattr(torch, dtype))
        for i in range(3)
    ]
    torch_kernels._attend(*draws)
    assert bool(asked) is fused


@on_torch
@pytest.mark.parametrize("constant", [True, False])
def test_torch_norm_in_bfloat16(constant):
    import torch

    from keras_clmae.kernels import torch_kernels

    def prepare(dtype):
        # Many rows: sums over them must not be kept in bfloat16.
        x, gradient = (
            torch.tensor(draw(seed, 64, 64, HIDDEN_DIM)).to(dtype)
            for seed in (0, 1)
        )
        weights = [torch.tensor(draw(seed, HIDDEN_DIM)) for seed in (2, 3)]
        leaves = [x] if constant else [x, *weights]
        return x, NormWeights(*weights), leaves, gradient

    def run(x, weights, leaves, gradient):
        for leaf in leaves:
            leaf.requires_grad_()
        outputs = torch_kernels.layer_norm(x, weights, 1e-6)
        assert outputs.dtype == x.dtype
        return outputs, *torch.autograd.grad(outputs, leaves, gradient)

    inputs = prepare(torch.bfloat16)
    with torch.profiler.profile() as profile:
        actual = run(*inputs)
    expected = run(*prepare(torch.float32))
    for one, other in zip(actual, expected, strict=True):
        assert (one.float() - other).norm() < 1e-2 * other.norm()
    # Weights that stay as they are need no trip between types.
    names = {event.name for event in profile.events()}
    assert ("aten::_to_copy" not in names) is constant


@on_torch
def test_torch_block_compiled():
    import torch

    plain = torch.float32
    for batch, num_queries in ((3, 2), (2, 3)):
        inputs, weights = inputs_of(num_queries)
        inputs = [x if x is None else x[:batch] for x in inputs]
        expected = outputs_and_gradients(
            transformer_block, inputs, weights, plain
        )
        torch._dynamo.utils.counters.clear()
        with kernels.compiled_regions(True):
            compiled = outputs_and_gradients(
                transformer_block, inputs, weights, plain
            )
        # Another batch and another number of queries are the same graph.
        made = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert made == (1 if batch == 3 else 0)
        for one, other in zip(compiled, expected, strict=True):
            assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


@ONCE
def test_units_of_a_processor():
    x86 = "model name\t: some\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n"
    assert bfloat16._units_in(x86) == ("amx_bf16", "avx512_bf16")
    assert bfloat16._units_in("Features\t: fp asimd bf16\n") == ("bf16",)
    assert bfloat16._units_in("flags\t\t: fpu avx512f\n") == ()


@pytest.mark.parametrize(
    "units, device, fast, reason",
    [
        (
            ("avx512_bf16",),
            None,
            BACKEND != "jax",
            "AVX512_BF16",
        ),
        ((), None, False, "this processor has no bfloat16 units"),
        ((), ("Some GPU", True), True, "Some GPU computes in bfloat16"),
        (("amx_bf16",), ("Old GPU", False), False, "Old GPU does not compute"),
    ],
)
def test_where_bfloat16_is_fast(
    monkeypatch, caplog, units, device, fast, reason
):
    engine = kernels.backend_kernels
    monkeypatch.setattr(engine, "accelerator", lambda: device)
    monkeypatch.setattr(bfloat16, "processor_bfloat16_units", lambda: units)
    bfloat16.say_where_bfloat16_is_slow.cache_clear()
    assert kernels.bfloat16_is_fast() is fast
    assert re.search(reason, kernels.describe_bfloat16())
    # A block of this type says so, once.
    for _ in range(2):
        block = TransformerBlock(2, 8, dtype="mixed_bfloat16")
        block.build((None, 5, 8))
    said = [each for each in caplog.messages if "mixed_bfloat16" in each]
    assert len(said) == (0 if fast else 1)


def test_float32_says_nothing(caplog):
    bfloat16.say_where_bfloat16_is_slow.cache_clear()
    TransformerBlock(2, 8).build((None, 5, 8))
    assert not caplog.messages


@on_jax
@pytest.mark.parametrize("queries, tokens", [(5, 5), (1, 5), (3, 4), (2, 5)])
def test_jax_attention_of_odd_lengths(monkeypatch, queries, tokens):
    import jax

    from keras_clmae.kernels import jax_kernels

    query = draw(0, 3, queries, HEADS, HEAD_DIM)
    key, value = draw(1, 3, tokens, HEADS, HEAD_DIM), draw(2, 3, tokens, 2, 4)
    parts = [ops.cast(x, "bfloat16") for x in (query, key, value)]
    asked = []
    attention = jax.nn.dot_product_attention

    def without_cudnn(*arguments, implementation, **options):
        asked.append(implementation)
        assert all(x.shape[1] % 2 == 0 for x in arguments)
        return attention(*arguments, implementation="xla", **options)

    def loss(function, *parts):
        outputs = function(*parts)
        return ops.sum(ops.square(ops.cast(outputs, "float32"))), outputs

    def run(function):
        (_, outputs), gradients = jax.value_and_grad(
            functools.partial(loss, function), argnums=(0, 1, 2), has_aux=True
        )(*parts)
        return [np.asarray(x, "float32") for x in (outputs, *gradients)]

    expected = run(ops.dot_product_attention)
    # The kernel itself needs an NVIDIA GPU; what is checked is the padding.
    monkeypatch.setattr(jax_kernels, "_fits_cudnn", lambda *_: True)
    monkeypatch.setattr(jax.nn, "dot_product_attention", without_cudnn)
    actual = run(jax_kernels.dot_product_attention)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)
    assert set(asked) == {"cudnn"}


@on_jax
@pytest.mark.parametrize(
    "capability, dtype, head_dim, fits",
    [
        ("9.0", "bfloat16", 64, True),
        ("8.0", "float16", 128, True),
        ("7.5", "bfloat16", 64, False),
        ("9.0", "float32", 64, False),
        ("9.0", "bfloat16", 12, False),
        ("9.0", "bfloat16", 192, True),
        ("8.6", "bfloat16", 192, False),
        ("12.0", "bfloat16", 264, False),
        ("gfx942", "bfloat16", 64, False),
        (None, "bfloat16", 64, False),
    ],
)
def test_where_jax_takes_cudnn(monkeypatch, capability, dtype, head_dim, fits):
    import jax

    from keras_clmae.kernels import jax_kernels

    device = types.SimpleNamespace()
    if capability:
        device.compute_capability = capability
    monkeypatch.setattr(jax, "devices", lambda: [device])
    # Without what was found before.
    asked = jax_kernels._fits_cudnn.__wrapped__
    assert asked(jax.numpy.dtype(dtype), head_dim) is fits
