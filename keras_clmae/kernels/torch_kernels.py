"""PyTorch's kernels.

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

_compiled = False


@contextlib.contextmanager
def compiled_regions(active):
    """Within it, transformer blocks run compiled if `active`.

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


def _region(function):
    """Decorator of a pure function that is worth compiling by itself.

    Args:
        function: `function(activations, weights, **constants)` with two tuples
            of tensors; an activation may be `None`. All axes of the activations
            but the last may have any length: another one causes no compilation
            of its own.

    Returns:
        The function; within `compiled_regions(True)`, compiled.
    """
    compiled = torch.compile(function, fullgraph=True, dynamic=False)

    @functools.wraps(function)
    def run(activations, weights, **constants):
        if not _compiled:
            return function(activations, weights, **constants)
        activations = tuple(_of_any_length(tensor) for tensor in activations)
        return compiled(activations, weights, **constants)

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


def linear(inputs, kernel, bias):
    """See `keras_kernels.linear`."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    outputs = torch.addmm(bias, flat, kernel)
    return outputs.view(*inputs.shape[:-1], outputs.shape[-1])


def attention(tokens, queries, weights):
    """See `keras_kernels.attention`."""
    kernel, bias, *projection = weights
    if queries is None:
        query, key, value = _project(tokens, kernel, bias).unbind(2)
    else:
        query = _project(queries, kernel[:, 0], bias[0])
        key, value = _project(tokens, kernel[:, 1:], bias[1:]).unbind(2)
    attended = F.scaled_dot_product_attention(
        *(part.transpose(1, 2) for part in (query, key, value))
    )
    return linear(attended.transpose(1, 2).flatten(2), *projection)


def _project(tokens, kernel, bias):
    projected = linear(tokens, kernel.flatten(1), bias.flatten())
    return projected.view(*tokens.shape[:-1], *bias.shape)


@_region
def transformer_block(activations, weights, epsilon):
    """See `keras_kernels.transformer_block`."""
    tokens, queries, attention_scale, mlp_scale = activations
    gamma, beta, *attention_weights = weights[0]
    branch = attention(
        _normalize(tokens, gamma, beta, epsilon),
        None if queries is None else _normalize(queries, gamma, beta, epsilon),
        attention_weights,
    )
    x = _add(tokens if queries is None else queries, branch, attention_scale)
    gamma, beta, expand_kernel, expand_bias, *contract = weights[1]
    normalized = _normalize(x, gamma, beta, epsilon)
    hidden = F.gelu(linear(normalized, expand_kernel, expand_bias))
    return _add(x, linear(hidden, *contract), mlp_scale)


def _normalize(x, gamma, beta, epsilon):
    # On GPUs the kernel takes one type only; in mixed precision the weights of
    # the norm stay in float32.
    normalized = F.layer_norm(
        x.to(gamma.dtype), gamma.shape, gamma, beta, epsilon
    )
    return normalized.to(x.dtype)


def _add(x, branch, scale):
    return x + branch if scale is None else torch.addcmul(x, scale, branch)
