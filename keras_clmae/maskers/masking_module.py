"""Learn which patches to hide: the paper's masking module."""

import keras
from keras import ops

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_heads
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.layers.class_token import ClassToken
from keras_clmae.layers.linear import Linear
from keras_clmae.layers.transformer_block import TransformerBlock
from keras_clmae.maskers.masker import Masker


@keras.saving.register_keras_serializable(package="keras_clmae")
class MaskingModule(Masker):
    """The paper's learnable masking module.

    A small transformer over the encoder's tokens, before any masking. It has a
    class token of its own. After https://arxiv.org/abs/2308.16572; sizes and
    epsilon are those of the paper's published code.

    Args:
        num_layers: int. Number of transformer blocks. Defaults to `5`.
        num_heads: int. Must divide the width. Defaults to `4`.
        mlp_dim: int. Hidden width of the MLPs. Defaults to 4 times the width.
        layer_norm_epsilon: float. Defaults to `1e-5`.
        head: str. `"class_token"` (the paper's: one layer maps the class token
            to the scores of all positions, which ties the weights to one image
            size) or `"per_token"` (each token is mapped to its own score, for
            any image size). Defaults to `"class_token"`.
        gradient_checkpointing: bool. Whether the backward pass recomputes the
            activations of the blocks instead of keeping them: less memory, more
            time. Defaults to `False`.
        width: int. Width of the blocks, to which the tokens are projected.
            Defaults to `None`: the width of the tokens, without a projection,
            as published.
        activation: str. `"sigmoid"` (the paper's: scores in (0, 1)) or
            `"linear"` (scores without bounds, for objectives that predict a
            quantity, such as `PatchErrorObjective`). Defaults to `"sigmoid"`.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim), as
            `ViTEncoder.embed` gives them.

    Returns:
        `keep_scores`: float32 tensor of shape (batch, tokens), high = stays
        visible; in (0, 1) with the sigmoid.

    Raises:
        ValueError: If an argument does not fit.

    Example:

    >>> masking_module = keras_clmae.maskers.MaskingModule(num_layers=2)
    >>> masking_module(keras.ops.ones((2, 16, 32))).shape
    (2, 16)
    """

    def __init__(
        self,
        num_layers=5,
        num_heads=4,
        mlp_dim=None,
        layer_norm_epsilon=1e-5,
        head="class_token",
        gradient_checkpointing=False,
        width=None,
        activation="sigmoid",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive_integer("num_layers", num_layers)
        check_choice("head", head, ("class_token", "per_token"))
        check_choice("activation", activation, ("sigmoid", "linear"))
        if width is not None:
            check_positive_integer("width", width)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.layer_norm_epsilon = layer_norm_epsilon
        self.head = head
        self.gradient_checkpointing = gradient_checkpointing
        self.width = width
        self.activation = activation

    def build(self, tokens_shape):
        num_tokens, hidden_dim = tokens_shape[1:]
        policy = {"dtype": self.dtype_policy}
        if self.width is not None:
            self.projection = Linear(self.width, name="projection", **policy)
            self.projection.build(tokens_shape)
            hidden_dim = self.width
            tokens_shape = (None, num_tokens, hidden_dim)
        check_heads(hidden_dim, self.num_heads)
        self.class_token = ClassToken(name="class_token", **policy)
        self.class_token.build(tokens_shape)
        self.blocks = []
        for index in range(self.num_layers):
            block = TransformerBlock(
                self.num_heads,
                self.mlp_dim or 4 * hidden_dim,
                layer_norm_epsilon=self.layer_norm_epsilon,
                gradient_checkpointing=self.gradient_checkpointing,
                name=f"transformer_block_{index}",
                **policy,
            )
            block.build(tokens_shape)
            self.blocks.append(block)
        self.norm = keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon, name="norm", **policy
        )
        self.norm.build(tokens_shape)
        # In float32 under any policy: equal scores would be ranked by position.
        self.score_head = keras.layers.Dense(
            num_tokens if self.head == "class_token" else 1,
            activation=self.activation,
            dtype="float32",
            name="score_head",
        )
        self.score_head.build(tokens_shape)

    def call(self, tokens):
        if self.width is not None:
            tokens = self.projection(tokens)
        tokens = self.class_token(tokens)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        # The head reads the class token or the patches, never both: the last
        # block computes no other output.
        reads_class_token = self.head == "class_token"
        read = tokens[:, :1] if reads_class_token else tokens[:, 1:]
        scores = self.score_head(
            self.norm(self.blocks[-1](tokens, queries=read))
        )
        return ops.squeeze(scores, axis=1 if reads_class_token else 2)

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "head": self.head,
            "gradient_checkpointing": self.gradient_checkpointing,
            "width": self.width,
            "activation": self.activation,
        }
