"""JAX's kernels."""

import jax
from jax import numpy as jnp
from keras import ops


def dot_product_attention(query, key, value):
    """Attention by cuDNN's kernel where it can be had.

    JAX refuses it in training for an odd number of tokens, as a class token
    makes it: one more, which nobody attends to, makes it even.

    Args:
        query: tensor of shape (batch, queries, heads, head_dim).
        key: tensor of shape (batch, tokens, heads, head_dim).
        value: tensor of the shape of `key`.

    Returns:
        Tensor of the shape of `query`.
    """
    lengths = query.shape[1], key.shape[1]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    if (
        not half
        or jax.default_backend() != "gpu"
        or not any(length % 2 for length in lengths)
    ):
        return ops.dot_product_attention(query, key, value)
    query, key, value = (
        jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))
        for x in (query, key, value)
    )
    query_lengths, key_lengths = (
        jnp.full(query.shape[0], length, "int32") for length in lengths
    )
    attended = jax.nn.dot_product_attention(
        query,
        key,
        value,
        query_seq_lengths=query_lengths,
        key_value_seq_lengths=key_lengths,
        implementation="cudnn",
    )
    return attended[:, : lengths[0]]
