"""Compute by `keras.ops`, on JAX and TensorFlow."""

from keras import ops


def linear(inputs, weights):
    """Computes `inputs @ kernel + bias`.

    Args:
        inputs: tensor of shape (..., width).
        weights: `LinearWeights`.

    Returns:
        Tensor of shape (..., units).
    """
    kernel, bias = weights
    if len(inputs.shape) == 2:
        return ops.matmul(inputs, kernel) + bias
    # All tokens as the rows of one matrix: with a batch axis beside the token
    # axis XLA copies tensors between layouts (on a CPU a tenth of the time).
    outputs = ops.matmul(_as_rows(inputs), kernel) + bias
    return ops.reshape(outputs, (-1, *ops.shape(inputs)[1:-1], bias.shape[0]))


def attend(*projected, dot_product_attention=ops.dot_product_attention):
    """Computes attention of all heads.

    Args:
        *projected: queries, keys and values: tensors of shape (batch, tokens,
            parts, heads, head_dim) that hold the three in order, one of three
            parts, or one of one part and one of two.
        dot_product_attention: callable. Takes query, key and value.
            Defaults to that of `keras.ops`.

    Returns:
        Tensor of shape (batch, queries, heads, head_dim).
    """
    parts = [
        part for tensor in projected for part in ops.unstack(tensor, axis=2)
    ]
    return dot_product_attention(*parts)


def attention(tokens, queries, weights, attend=attend):
    """Computes multi-head attention with one fused projection.

    Args:
        tokens: tensor of shape (batch, tokens, hidden_dim).
        queries: tensor of shape (batch, queries, hidden_dim), or `None`: all
            `tokens`.
        weights: `AttentionWeights`.
        attend: callable. See `attend`, the default.

    Returns:
        Tensor of the shape of `queries`, or of `tokens`.
    """
    kernel, bias = weights.qkv
    if queries is None:
        projected = [_project(tokens, kernel, bias)]
    else:
        projected = [
            _project(queries, kernel[:, :1], bias[:1]),
            _project(tokens, kernel[:, 1:], bias[1:]),
        ]
    attended = attend(*projected)
    # Not as (batch, tokens, hidden_dim) in between: see `linear`.
    outputs = linear(
        ops.reshape(attended, (-1, tokens.shape[-1])), weights.projection
    )
    return ops.reshape(outputs, (-1, projected[0].shape[1], tokens.shape[-1]))


def layer_norm(x, weights, epsilon):
    """Normalizes the last axis.

    Args:
        x: tensor of shape (..., width).
        weights: `NormWeights`.
        epsilon: float.

    Returns:
        Tensor of the shape and type of `x`.
    """
    return ops.layer_normalization(
        x, weights.gamma, weights.beta, epsilon=epsilon
    )


def gelu(x):
    """Computes the exact (erf) GELU of a tensor."""
    return ops.gelu(x, approximate=False)


def region(function):
    """Returns the function: the whole step is compiled anyway."""
    return function


def compiled(function, variables):
    """Returns the function: one operation after the other is fast enough."""
    return function


def _project(tokens, kernel, bias):
    projected = ops.tensordot(_as_rows(tokens), kernel, axes=1) + bias
    return ops.reshape(projected, (-1, tokens.shape[1], *bias.shape))


def _as_rows(tensor):
    return ops.reshape(tensor, (-1, tensor.shape[-1]))
