"""Compute on JAX: Keras's operations, cuDNN's attention, CPUs by themselves."""

import functools

import jax
import keras
from jax import numpy as jnp
from keras import ops

from keras_clmae.kernels import jax_cpu_kernels
from keras_clmae.kernels import keras_kernels
from keras_clmae.kernels.keras_kernels import linear
from keras_clmae.kernels.keras_kernels import region

__all__ = ["attention", "gelu", "layer_norm", "linear", "region"]

NAME = "JAX"

# A product of 4,160 x 192 by 192 x 768 takes 39 ms in bfloat16, 32 in float32
# on an AMD EPYC with AVX512-BF16; on a Xeon with AMX, 150 to 200 GFLOP/s
# against 190 to 250.
FAST_BFLOAT16_UNITS = ()


def compiled(function, variables):
    """Compiles a function that reads variables and assigns none.

    Args:
        function: callable. From tensors to a structure of tensors.
        variables: callable. Gives the list of the `keras.Variable`s that
            `function` may read; others would be constants.

    Returns:
        A callable with the arguments of `function`.
    """

    @jax.jit
    def run(values, arguments):
        with keras.StatelessScope(zip(variables(), values, strict=True)):
            return function(*arguments)

    return lambda *arguments: run(
        [variable.value for variable in variables()], arguments
    )


def accelerator():
    """Finds the accelerator beside the processor.

    Returns:
        Name of the device and whether it computes in bfloat16, or `None` where
        there is only the processor.
    """
    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    return device.device_kind, device.platform != "gpu" or _capability() >= 8.0


def attention(tokens, queries, weights):
    """See `keras_kernels.attention`."""
    if accelerator() is None:
        attend = jax_cpu_kernels.attend
    else:
        attend = functools.partial(
            keras_kernels.attend, dot_product_attention=dot_product_attention
        )
    return keras_kernels.attention(tokens, queries, weights, attend)


def layer_norm(x, weights, epsilon):
    """See `keras_kernels.layer_norm`."""
    if accelerator() is None:
        return jax_cpu_kernels.layer_norm(x, *weights, epsilon)
    return keras_kernels.layer_norm(x, weights, epsilon)


def gelu(x):
    """See `keras_kernels.gelu`."""
    if accelerator() is None:
        return jax_cpu_kernels.gelu(x)
    return keras_kernels.gelu(x)


def dot_product_attention(query, key, value):
    """Computes attention, on NVIDIA's GPUs by cuDNN's kernel.

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
    # The limits are those of JAX's `check_is_flash_attention`.
    capability = _capability()
    widest = 256 if capability >= 9.0 else 128
    half = dtype in (jnp.bfloat16, jnp.float16)
    return (
        capability >= 8.0 and half and head_dim % 8 == 0 and head_dim <= widest
    )


def _capability():
    # A number on NVIDIA's, a name on other GPUs, none elsewhere.
    try:
        return float(getattr(jax.devices()[0], "compute_capability", 0))
    except ValueError:
        return 0.0
