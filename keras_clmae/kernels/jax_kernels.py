"""JAX's kernels."""

import functools

import jax
from jax import numpy as jnp
from keras import ops


def dot_product_attention(query, key, value):
    """Attention, on NVIDIA's GPUs by cuDNN's kernel.

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
    odd = any(length % 2 for length in lengths)
    if not odd or not _fits_cudnn(query.dtype, query.shape[-1]):
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


@functools.cache
def _fits_cudnn(dtype, head_dim):
    # A number on NVIDIA's, a name on other GPUs, none elsewhere. The limits are
    # those of JAX's `check_is_flash_attention`.
    try:
        capability = float(getattr(jax.devices()[0], "compute_capability", 0))
    except ValueError:
        return False
    widest = 256 if capability >= 9.0 else 128
    half = dtype in (jnp.bfloat16, jnp.float16)
    return (
        capability >= 8.0 and half and head_dim % 8 == 0 and head_dim <= widest
    )
