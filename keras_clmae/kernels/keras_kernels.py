"""The kernels of all backends."""

import keras
from keras import ops

if keras.backend.backend() == "jax":
    from keras_clmae.kernels.jax_kernels import dot_product_attention
else:
    dot_product_attention = ops.dot_product_attention


def linear(inputs, kernel, bias):
    """`inputs @ kernel + bias`.

    Args:
        inputs: tensor of shape (..., width).
        kernel: tensor of shape (width, units).
        bias: tensor of shape (units,).

    Returns:
        Tensor of shape (..., units).
    """
    return ops.matmul(inputs, kernel) + bias


def attention(tokens, queries, weights):
    """Multi-head attention with one fused projection.

    Args:
        tokens: tensor of shape (batch, tokens, hidden_dim).
        queries: tensor of shape (batch, queries, hidden_dim), or `None`: all
            `tokens`.
        weights: kernel (hidden_dim, 3, heads, head_dim) and bias of the fused
            projection, kernel and bias of the last one.

    Returns:
        Tensor of the shape of `queries`, or of `tokens`.
    """
    kernel, bias, *projection = weights
    if queries is None:
        projected = _project(tokens, kernel, bias)
        query, key, value = ops.unstack(projected, 3, axis=2)
    else:
        query = _project(queries, kernel[:, 0], bias[0])
        projected = _project(tokens, kernel[:, 1:], bias[1:])
        key, value = ops.unstack(projected, 2, axis=2)
    attended = dot_product_attention(query, key, value)
    hidden_dim = tokens.shape[-1]
    outputs = linear(ops.reshape(attended, (-1, hidden_dim)), *projection)
    return ops.reshape(outputs, (-1, query.shape[1], hidden_dim))


def _project(tokens, kernel, bias):
    # All tokens as the rows of one matrix: with a batch axis beside the token
    # axis XLA copies tensors between layouts (on a CPU a tenth of the time).
    flat = ops.reshape(tokens, (-1, tokens.shape[-1]))
    projected = ops.tensordot(flat, kernel, axes=1) + bias
    return ops.reshape(projected, (-1, tokens.shape[1], *bias.shape))


def transformer_block(activations, weights, epsilon):
    """A pre-norm block: attention, then an MLP with the exact (erf) GELU.

    `x + scale * attention(norm(x))`, then `x + scale * mlp(norm(x))`.

    Args:
        activations: tokens; queries, or `None` for all tokens; for each of the
            two branches a factor for every image, or `None`.
        weights: two tuples: gamma and beta of the norm, then those of
            `attention`; gamma and beta of the norm, then kernel and bias of
            both layers of the MLP.
        epsilon: float. Of the norms.

    Returns:
        Tensor of the shape of the queries, or of the tokens.
    """
    tokens, queries, attention_scale, mlp_scale = activations
    gamma, beta, *attention_weights = weights[0]
    branch = attention(
        _normalize(tokens, gamma, beta, epsilon),
        None if queries is None else _normalize(queries, gamma, beta, epsilon),
        attention_weights,
    )
    x = _add(tokens if queries is None else queries, branch, attention_scale)
    gamma, beta, expand_kernel, expand_bias, *contract = weights[1]
    # As the rows of one matrix: see `_project`.
    flat = _normalize(x, gamma, beta, epsilon)
    flat = ops.reshape(flat, (-1, x.shape[-1]))
    hidden = ops.gelu(
        linear(flat, expand_kernel, expand_bias), approximate=False
    )
    branch = ops.reshape(linear(hidden, *contract), (-1, *x.shape[1:]))
    return _add(x, branch, mlp_scale)


def _normalize(x, gamma, beta, epsilon):
    return ops.layer_normalization(x, gamma, beta, epsilon=epsilon)


def _add(x, branch, scale):
    return x + (branch if scale is None else scale * branch)
