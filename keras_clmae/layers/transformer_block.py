"""Compute a pre-norm transformer block."""

import functools

import keras
from keras import ops

from keras_clmae.argument_validation import check_fraction
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.kernels.bfloat16 import say_where_bfloat16_is_slow
from keras_clmae.kernels.block import BlockInputs
from keras_clmae.kernels.block import transformer_block
from keras_clmae.kernels.weights import BlockWeights
from keras_clmae.kernels.weights import NormWeights
from keras_clmae.layers.drop_path import DropPath
from keras_clmae.layers.linear import Linear
from keras_clmae.layers.self_attention import SelfAttention


@keras.saving.register_keras_serializable(package="keras_clmae")
class TransformerBlock(keras.layers.Layer):
    """Pre-norm transformer block of ViT (https://arxiv.org/abs/2010.11929).

    `x + attention(norm(x))`, then `x + mlp(norm(x))` with the exact (erf) GELU.
    Encoder, decoder and masking module are made of it.

    Args:
        num_heads: int. Must divide the width of the tokens.
        mlp_dim: int. Width of the hidden layer of the MLP.
        layer_norm_epsilon: float. Defaults to `1e-6`, as in MAE.
        drop_path_rate: float in [0, 1). Probability with which the whole branch
            is dropped for an image in training (stochastic depth,
            https://arxiv.org/abs/1603.09382). Defaults to `0.0`.
        gradient_checkpointing: bool. Whether the backward pass recomputes the
            activations of the block to save memory
            (https://arxiv.org/abs/1604.06174). Same numbers, more time.
            Defaults to `False`.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim).
        queries: optional tensor of shape (batch, queries, hidden_dim), some of
            the `tokens`. When given, only these are computed, each as it would
            be among all tokens: the saving of a last block whose other outputs
            nobody reads.

    Returns:
        Tensor of the shape of `queries`, or of `tokens`.

    Raises:
        ValueError: If `num_heads` does not divide the width of the tokens, or
            an argument is out of range.

    Example:

    >>> block = keras_clmae.layers.TransformerBlock(num_heads=2, mlp_dim=64)
    >>> tokens = keras.random.normal((1, 6, 16))
    >>> block(tokens).shape
    (1, 6, 16)
    >>> block(tokens, queries=tokens[:, :1]).shape
    (1, 1, 16)
    """

    def __init__(
        self,
        num_heads,
        mlp_dim,
        layer_norm_epsilon=1e-6,
        drop_path_rate=0.0,
        gradient_checkpointing=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive_integer("mlp_dim", mlp_dim)
        check_fraction("drop_path_rate", drop_path_rate)
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.layer_norm_epsilon = layer_norm_epsilon
        self.drop_path_rate = drop_path_rate
        self.gradient_checkpointing = gradient_checkpointing

    def build(self, tokens_shape, queries_shape=None):
        if self.compute_dtype == "bfloat16":
            say_where_bfloat16_is_slow()
        hidden_dim = tokens_shape[-1]
        shape = (None, None, hidden_dim)

        def add(layer, input_shape=shape):
            layer.build(input_shape)
            return layer

        policy = {"dtype": self.dtype_policy}
        self.attention_norm = add(
            keras.layers.LayerNormalization(
                epsilon=self.layer_norm_epsilon, name="attention_norm", **policy
            )
        )
        self.attention = add(
            SelfAttention(self.num_heads, name="attention", **policy)
        )
        self.mlp_norm = add(
            keras.layers.LayerNormalization(
                epsilon=self.layer_norm_epsilon, name="mlp_norm", **policy
            )
        )
        self.mlp_expand = add(Linear(self.mlp_dim, name="mlp_expand", **policy))
        self.mlp_contract = add(
            Linear(hidden_dim, name="mlp_contract", **policy),
            (None, None, self.mlp_dim),
        )
        self.drop_path = DropPath(
            self.drop_path_rate, name="drop_path", **policy
        )

    def call(self, tokens, queries=None, training=None):
        inputs = (tokens,) if queries is None else (tokens, queries)
        scales = (None, None)
        if self.drop_path_rate:
            # Drawn outside of what is computed twice: it would be drawn anew,
            # and JAX cannot carry the state of a draw out.
            one = ops.ones_like(inputs[-1][:, :1, :1])
            scales = [self.drop_path(one, training=training) for _ in range(2)]
        compute = functools.partial(self._compute, scales)
        if self.gradient_checkpointing:
            compute = keras.remat(compute)
        return compute(*inputs)

    def _compute(self, scales, tokens, queries=None):
        return transformer_block(
            BlockInputs(tokens, queries, *scales),
            BlockWeights(
                attention_norm=_norm_tensors(self.attention_norm),
                attention=self.attention.weight_tensors(),
                mlp_norm=_norm_tensors(self.mlp_norm),
                mlp_expand=self.mlp_expand.weight_tensors(),
                mlp_contract=self.mlp_contract.weight_tensors(),
            ),
            epsilon=self.layer_norm_epsilon,
        )

    def compute_output_shape(self, tokens_shape, queries_shape=None):
        return tokens_shape if queries_shape is None else queries_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "drop_path_rate": self.drop_path_rate,
            "gradient_checkpointing": self.gradient_checkpointing,
        }


def _norm_tensors(norm):
    return NormWeights(
        ops.convert_to_tensor(norm.gamma), ops.convert_to_tensor(norm.beta)
    )
