"""Name the weights that kernels take."""

from typing import Any
from typing import NamedTuple


class LinearWeights(NamedTuple):
    """Weights of a dense layer.

    Attributes:
        kernel: tensor of shape (width, units).
        bias: tensor of shape (units,).
    """

    kernel: Any
    bias: Any


class NormWeights(NamedTuple):
    """Weights of a layer normalization, in float32 under mixed precision.

    Attributes:
        gamma: tensor of shape (width,).
        beta: tensor of shape (width,).
    """

    gamma: Any
    beta: Any


class AttentionWeights(NamedTuple):
    """Weights of multi-head attention.

    Attributes:
        qkv: `LinearWeights` of the fused projection, with a kernel of shape
            (hidden_dim, 3, heads, head_dim) and a bias of shape (3, heads,
            head_dim).
        projection: `LinearWeights` of the last projection.
    """

    qkv: LinearWeights
    projection: LinearWeights


class BlockWeights(NamedTuple):
    """Weights of a transformer block, named as its layers.

    Attributes:
        attention_norm: `NormWeights`.
        attention: `AttentionWeights`.
        mlp_norm: `NormWeights`.
        mlp_expand: `LinearWeights` of the first layer of the MLP.
        mlp_contract: `LinearWeights` of the second.
    """

    attention_norm: NormWeights
    attention: AttentionWeights
    mlp_norm: NormWeights
    mlp_expand: LinearWeights
    mlp_contract: LinearWeights
