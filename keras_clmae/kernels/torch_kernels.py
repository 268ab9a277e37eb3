"""Compute on PyTorch by its own functions.

Each operation of `keras.ops` looks at all its arguments before it does
anything, and a bias is a pass over memory of its own: PyTorch's functions spare
both. Where it is asked for, `torch.compile` makes one pass of all that lies
between two matrix products. It compiles a transformer block, once for all of
one width; to trace the Python of a model of Keras layers would take minutes.
"""

import contextlib
import functools

import torch
import torch.nn.functional as F

NAME = "PyTorch"

FAST_BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")

# Whether `region` runs compiled: the state of `compiled_regions`. It is of the
# process, as what `torch.compile` keeps.
_compiled = False

# Attention on CPUs, milliseconds of forward and backward pass on one thread of
# an AMD EPYC with AVX512-BF16 (PyTorch 2.13, least of many in turn), of
# PyTorch's fused kernel and of softmax(q k^T) v by plain products:
#
#     images x heads x width, tokens    float32          bfloat16
#                                     fused  plain     fused  plain
#     64 x 3 x 64             17        2.4    2.4      16.5    2.5
#     64 x 3 x 64             65       23.3   29.2      71.1   13.9
#     16 x 6 x 64            129       36.9   40.4      80.3   20.1
#      8 x 6 x 64            197       36.1   43.2      42.7   18.9
#      4 x 12 x 64           257       60.1   72.1      85.9   35.0
#      2 x 6 x 64            577       72.3   84.7      87.4   44.6
#      1 x 3 x 64           1025       55.3   61.5      56.4   28.1
#
# Without a gradient plain products in bfloat16 take 0.49 to 0.88 of the time.
# Beyond the longest that was measured the scores, which only the fused kernel
# does not keep, become too large.
_PLAIN_TOKENS = 1025


def accelerator():
    """See `jax_kernels.accelerator`."""
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.cuda.get_device_name(), fast
    if torch.backends.mps.is_available():
        # Not measured.
        return "Apple's GPU", False
    return None


@contextlib.contextmanager
def compiled_regions(active):
    """Compiles the transformer blocks that run inside, if `active`.

    Args:
        active: bool.
    """
    global _compiled
    before, _compiled = _compiled, bool(active)
    try:
        with _many_variants() if active else contextlib.nullcontext():
            yield
    finally:
        _compiled = before


def _many_variants():
    # Widths times what needs a gradient: more than the eight at which PyTorch
    # gives up by default.
    return torch._dynamo.config.patch(recompile_limit=64)


def region(function):
    """Decorates a pure function that is worth compiling by itself.

    Args:
        function: `function(inputs, weights, epsilon)` with a named tuple of
            activations, each a tensor or `None`. All their axes but the last
            may have any length: another one causes no compilation of its own.

    Returns:
        The function; within `compiled_regions(True)`, compiled.
    """
    compiled = torch.compile(function, fullgraph=True, dynamic=False)

    @functools.wraps(function)
    def run(inputs, weights, epsilon):
        if not _compiled:
            return function(inputs, weights, epsilon)
        inputs = type(inputs)(*(_of_any_length(x) for x in inputs))
        return compiled(inputs, weights, epsilon)

    return run


def _of_any_length(tensor):
    if tensor is None:
        return None
    if tensor._is_view():
        # The lengths of what it is a view of would have no name.
        tensor = tensor.clone()
    # A length of one is a constant for PyTorch.
    axes = [axis for axis, n in enumerate(tensor.shape[:-1]) if n > 1]
    torch._dynamo.maybe_mark_dynamic(tensor, axes)
    return tensor


def compiled(function, variables):
    """See `keras_kernels.compiled`."""
    return function


def linear(inputs, weights):
    """See `keras_kernels.linear`."""
    return _linear(inputs, *weights)


def _linear(inputs, kernel, bias):
    flat = inputs.reshape(-1, inputs.shape[-1])
    outputs = torch.addmm(bias, flat, kernel)
    return outputs.view(*inputs.shape[:-1], outputs.shape[-1])


def attention(tokens, queries, weights):
    """See `keras_kernels.attention`."""
    kernel, bias = weights.qkv
    if queries is None:
        query, key, value = _project(tokens, kernel, bias).unbind(2)
    else:
        query = _project(queries, kernel[:, 0], bias[0])
        key, value = _project(tokens, kernel[:, 1:], bias[1:]).unbind(2)
    attended = _attend(*(x.transpose(1, 2) for x in (query, key, value)))
    return linear(attended.transpose(1, 2).flatten(2), weights.projection)


def _project(tokens, kernel, bias):
    projected = _linear(tokens, kernel.flatten(1), bias.flatten())
    return projected.view(*tokens.shape[:-1], *bias.shape)


def _attend(query, key, value):
    if not _plain_products_are_faster(key):
        return F.scaled_dot_product_attention(query, key, value)
    scores = query.mul(query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return scores.softmax(-1) @ value


def _plain_products_are_faster(key):
    return (
        key.device.type == "cpu"
        and key.dtype == torch.bfloat16
        and key.shape[-2] <= _PLAIN_TOKENS
    )


def layer_norm(x, weights, epsilon):
    """See `keras_kernels.layer_norm`."""
    gamma, beta = weights
    constant = not (torch.is_grad_enabled() and gamma.requires_grad)
    if x.dtype == gamma.dtype or (constant and x.device.type == "cpu"):
        return F.layer_norm(x, gamma.shape, gamma, beta, epsilon)
    # In mixed precision the weights of the norm stay in float32. On GPUs the
    # kernel takes one type only. On CPUs it takes both, but adds the gradients
    # of the weights up in bfloat16: with 592 rows that of beta is off by 18 %,
    # by this way by 0.3 %, which takes as long (1.17 ms against 1.16 with 4,160
    # rows of 192).
    normalized = F.layer_norm(
        x.to(gamma.dtype), gamma.shape, gamma, beta, epsilon
    )
    return normalized.to(x.dtype)


def gelu(x):
    """See `keras_kernels.gelu`."""
    return F.gelu(x)
