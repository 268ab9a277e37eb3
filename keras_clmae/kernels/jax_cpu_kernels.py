"""Compute on JAX on CPUs, with gradients written by hand.

XLA keeps and reads again many tensors for the gradient that JAX derives from
normalization, GELU and attention. These functions keep what their gradient
needs and no more; without a gradient they compute what JAX computes elsewhere.
"""

import functools
import math

import jax
from jax import lax
from jax import numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x, gamma, beta, epsilon):
    """Normalizes the last axis, in float32.

    Args:
        x: tensor of shape (..., width).
        gamma: tensor of shape (width,).
        beta: tensor of shape (width,).
        epsilon: float.

    Returns:
        Tensor of the shape and type of `x`.
    """
    return _normalize(x, gamma, beta, epsilon)[0]


def _normalize(x, gamma, beta, epsilon):
    wide = x.astype("float32")
    centered = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
    inverse = lax.rsqrt(variance + epsilon)
    normalized = centered * inverse
    outputs = normalized * gamma + beta
    return outputs.astype(x.dtype), (normalized, inverse)


def _layer_norm_forward(x, gamma, beta, epsilon):
    # XLA would compute the residual sum before the norm anew in every reader.
    x = lax.optimization_barrier(x)
    outputs, kept = _normalize(x, gamma, beta, epsilon)
    return outputs, (*kept, gamma, beta)


def _layer_norm_backward(epsilon, kept, gradient):
    normalized, inverse, gamma, beta = kept
    dtype = gradient.dtype
    gradient = lax.optimization_barrier(gradient).astype("float32")
    rows = tuple(range(gradient.ndim - 1))
    of_gamma = jnp.sum(gradient * normalized, axis=rows)
    of_beta = jnp.sum(gradient, axis=rows)
    gradient = gradient * gamma
    along = jnp.mean(gradient * normalized, axis=-1, keepdims=True)
    mean = jnp.mean(gradient, axis=-1, keepdims=True)
    of_x = inverse * (gradient - mean - normalized * along)
    return (
        of_x.astype(dtype),
        of_gamma.astype(gamma.dtype),
        of_beta.astype(beta.dtype),
    )


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@jax.custom_vjp
def gelu(x):
    """Computes the exact (erf) GELU of a tensor."""
    # By erfc, which TensorFlow reads in an exported model; it cannot read erf,
    # which is twice as fast.
    return jax.nn.gelu(x, approximate=False)


def _gelu_forward(x):
    wide = x.astype("float32")
    share = 0.5 * (1.0 + lax.erf(wide * math.sqrt(0.5)))
    density = jnp.exp(-0.5 * jnp.square(wide)) / math.sqrt(2 * math.pi)
    slope = share + wide * density
    return (wide * share).astype(x.dtype), slope.astype(x.dtype)


def _gelu_backward(slope, gradient):
    return (gradient * slope,)


gelu.defvjp(_gelu_forward, _gelu_backward)


def attend(*projected):
    """Computes attention of all heads.

    Args:
        *projected: queries, keys and values: tensors of shape (batch, tokens,
            parts, heads, head_dim) that hold the three in order, one of three
            parts, or one of one part and one of two.

    Returns:
        Tensor of shape (batch, queries, heads, head_dim).
    """
    parts = [part for tensor in projected for part in _heads_first(tensor)]
    return _attend(*parts).transpose(0, 2, 1, 3)


@jax.custom_vjp
def _heads_first(projected):
    # Of `unstack` the gradient would be a sum of padded tensors.
    return tuple(projected.transpose(2, 0, 3, 1, 4))


def _heads_first_forward(projected):
    return _heads_first(projected), None


def _heads_first_backward(_, gradients):
    tokens_first = [gradient.transpose(0, 2, 1, 3) for gradient in gradients]
    return (jnp.stack(tokens_first, axis=2),)


_heads_first.defvjp(_heads_first_forward, _heads_first_backward)


@jax.custom_vjp
def _attend(query, key, value):
    return _attend_forward(query, key, value)[0]


def _attend_forward(query, key, value):
    # The products of matrices as they lie; scores and softmax in float32.
    scores = _float32_product(query, key.swapaxes(2, 3))
    shares = jax.nn.softmax(scores * query.shape[-1] ** -0.5)
    shares = shares.astype(value.dtype)
    return shares @ value, (query, key, value, shares)


def _attend_backward(kept, gradient):
    query, key, value, shares = kept
    of_value = shares.swapaxes(2, 3) @ gradient
    of_shares = _float32_product(gradient, value.swapaxes(2, 3)) * shares
    mean = jnp.sum(of_shares, axis=-1, keepdims=True)
    of_scores = (of_shares - shares * mean) * query.shape[-1] ** -0.5
    of_scores = of_scores.astype(query.dtype)
    return of_scores @ key, of_scores.swapaxes(2, 3) @ query, of_value


_attend.defvjp(_attend_forward, _attend_backward)


def _float32_product(left, right):
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)
