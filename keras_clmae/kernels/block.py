"""Compute a transformer block over the kernels of a backend."""

from typing import Any
from typing import NamedTuple

from keras_clmae.kernels import backend_kernels


class BlockInputs(NamedTuple):
    """Activations that a transformer block takes.

    Attributes:
        tokens: tensor of shape (batch, tokens, hidden_dim).
        queries: tensor of shape (batch, queries, hidden_dim), some of the
            tokens, or `None`: all of them.
        attention_scale: tensor of shape (batch, 1, 1), a factor on the
            attention branch of each image, or `None`.
        mlp_scale: the same for the MLP branch.
    """

    tokens: Any
    queries: Any = None
    attention_scale: Any = None
    mlp_scale: Any = None


def make_transformer_block(kernels):
    """Binds the body of a transformer block to kernels.

    Args:
        kernels: module with `linear`, `attention`, `layer_norm`, `gelu` and
            `region`, as each backend has one.

    Returns:
        The function `transformer_block(inputs, weights, epsilon)`.
    """

    def transformer_block(inputs, weights, epsilon):
        """Computes a pre-norm block: attention, then an MLP with erf GELU.

        `x + scale * attention(norm(x))`, then `x + scale * mlp(norm(x))`.

        Args:
            inputs: `BlockInputs`.
            weights: `BlockWeights`.
            epsilon: float. Of both norms.

        Returns:
            Tensor of the shape of the queries, or of the tokens.
        """
        tokens, queries, attention_scale, mlp_scale = inputs

        def attention_norm(x):
            return kernels.layer_norm(x, weights.attention_norm, epsilon)

        branch = kernels.attention(
            attention_norm(tokens),
            None if queries is None else attention_norm(queries),
            weights.attention,
        )
        x = tokens if queries is None else queries
        x = _add(x, branch, attention_scale)
        hidden = kernels.layer_norm(x, weights.mlp_norm, epsilon)
        hidden = kernels.gelu(kernels.linear(hidden, weights.mlp_expand))
        branch = kernels.linear(hidden, weights.mlp_contract)
        return _add(x, branch, mlp_scale)

    return kernels.region(transformer_block)


def _add(x, branch, scale):
    return x + (branch if scale is None else scale * branch)


transformer_block = make_transformer_block(backend_kernels)
