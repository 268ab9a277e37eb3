"""Let tokens attend to each other."""

import keras
from keras import ops

from keras_clmae.argument_validation import check_heads
from keras_clmae.kernels import attention
from keras_clmae.kernels.weights import AttentionWeights
from keras_clmae.kernels.weights import LinearWeights
from keras_clmae.layers.linear import Linear


def _fused_glorot_uniform(shape, dtype=None):
    """Draws the three projections as one matrix by Glorot's uniform rule.

    MAE initializes its fused (hidden_dim, 3 * hidden_dim) kernel as a whole,
    so the bound is that of the fused matrix.
    """
    hidden_dim = shape[0]
    draw = keras.initializers.GlorotUniform()
    return ops.reshape(draw((hidden_dim, 3 * hidden_dim), dtype), shape)


@keras.saving.register_keras_serializable(package="keras_clmae")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention with one fused projection and biases.

    Args:
        num_heads: int. Must divide the width of the tokens.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim).
        queries: optional tensor of shape (batch, queries, hidden_dim). When
            given, only these attend to `tokens`; all `tokens` by default.

    Returns:
        Tensor of the shape of `queries`, or of `tokens`.

    Raises:
        ValueError: If `num_heads` does not divide the width of the tokens.

    Example:

    >>> layer = keras_clmae.layers.SelfAttention(num_heads=2)
    >>> layer(keras.ops.ones((1, 6, 16))).shape
    (1, 6, 16)
    """

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, tokens_shape, queries_shape=None):
        hidden_dim = tokens_shape[-1]
        check_heads(hidden_dim, self.num_heads)
        head_dim = hidden_dim // self.num_heads
        # Query, key and value are an axis of their own and so are the heads:
        # a model-parallel layout can shard the heads.
        self.qkv_kernel = self.add_weight(
            shape=(hidden_dim, 3, self.num_heads, head_dim),
            initializer=_fused_glorot_uniform,
            name="qkv_kernel",
        )
        self.qkv_bias = self.add_weight(
            shape=(3, self.num_heads, head_dim),
            initializer="zeros",
            name="qkv_bias",
        )
        self.projection = Linear(
            hidden_dim, dtype=self.dtype_policy, name="projection"
        )
        self.projection.build((None, None, hidden_dim))

    def call(self, tokens, queries=None):
        return attention(tokens, queries, self.weight_tensors())

    def weight_tensors(self):
        """Returns the `AttentionWeights`, in the type that is computed in."""
        qkv = LinearWeights(
            ops.convert_to_tensor(self.qkv_kernel),
            ops.convert_to_tensor(self.qkv_bias),
        )
        return AttentionWeights(qkv, self.projection.weight_tensors())

    def compute_output_shape(self, tokens_shape, queries_shape=None):
        return tokens_shape if queries_shape is None else queries_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
