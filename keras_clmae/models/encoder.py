"""Encode images to tokens: the Vision Transformer."""

import keras

from keras_clmae.argument_validation import check_fraction
from keras_clmae.argument_validation import check_heads
from keras_clmae.argument_validation import check_image_shape
from keras_clmae.argument_validation import check_images
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.layers.class_token import ClassToken
from keras_clmae.layers.patch_embedding import PatchEmbedding
from keras_clmae.layers.position_embedding import PositionEmbedding
from keras_clmae.layers.transformer_block import TransformerBlock
from keras_clmae.models.presets import PresetModel


@keras.saving.register_keras_serializable(package="keras_clmae")
class ViTEncoder(PresetModel):
    """Vision Transformer: the part that people keep after pretraining.

    Calling it on images masks nothing and is deterministic. Masked
    autoencoders call its two halves themselves: `embed` and `encode`.
    After https://arxiv.org/abs/2010.11929, with MAE's fixed sine-cosine
    positions (https://arxiv.org/abs/2111.06377).

    Args:
        image_shape: tuple of int. (height, width, channels), in pixels.
        patch_size: int. Side of a patch; must divide height and width.
        hidden_dim: int. Width of the tokens, a multiple of 4.
        num_layers: int. Number of transformer blocks.
        num_heads: int. Must divide `hidden_dim`.
        mlp_dim: int. Hidden width of the MLPs. Defaults to `4 * hidden_dim`.
        layer_norm_epsilon: float. Defaults to `1e-6`, as in MAE.
        drop_path_rate: float in [0, 1). Stochastic depth of the last block; it
            grows linearly from 0 in the first. For fine-tuning. Defaults to
            `0.0`.
        learned_positions: bool. Whether training moves the position table, as
            in ViT; MAE's stays as it is. Defaults to `False`.
        gradient_checkpointing: bool. Whether the backward pass recomputes the
            activations of the blocks to save memory. Same numbers, more time.
            Defaults to `False`.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).
        training: bool. Only matters with `drop_path_rate`.
        normalize: bool. Whether the final layer normalization is applied.
            Defaults to `True`.

    Returns:
        Tensor of shape (batch, tokens + 1, hidden_dim), class token first.

    Raises:
        ValueError: If a size is no positive integer or the sizes do not fit
            each other; from a call, if images are not float or of another
            shape.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder(
    ...     image_shape=(32, 32, 3), patch_size=8, hidden_dim=32,
    ...     num_layers=2, num_heads=2,
    ... )
    >>> encoder(keras.ops.zeros((2, 32, 32, 3))).shape
    (2, 17, 32)
    """

    preset_prefix = "vit_"

    def __init__(
        self,
        image_shape,
        patch_size,
        hidden_dim,
        num_layers,
        num_heads,
        mlp_dim=None,
        layer_norm_epsilon=1e-6,
        drop_path_rate=0.0,
        learned_positions=False,
        gradient_checkpointing=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # === Config ===
        self.image_shape = check_image_shape(image_shape, patch_size)
        check_heads(hidden_dim, num_heads)
        check_positive_integer("num_layers", num_layers)
        check_fraction("drop_path_rate", drop_path_rate)
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.mlp_dim = 4 * hidden_dim if mlp_dim is None else mlp_dim
        self.layer_norm_epsilon = layer_norm_epsilon
        self.drop_path_rate = drop_path_rate
        self.learned_positions = learned_positions
        self.gradient_checkpointing = gradient_checkpointing

        # === Layers ===
        policy = {"dtype": self.dtype_policy}
        self.patch_embedding = PatchEmbedding(
            patch_size, hidden_dim, name="patch_embedding", **policy
        )
        self.position_embedding = PositionEmbedding(
            self.grid_size,
            learned=learned_positions,
            name="position_embedding",
            **policy,
        )
        self.class_token = ClassToken(name="class_token", **policy)
        self.blocks = [
            TransformerBlock(
                num_heads,
                self.mlp_dim,
                layer_norm_epsilon=layer_norm_epsilon,
                drop_path_rate=drop_path_rate * index / max(num_layers - 1, 1),
                gradient_checkpointing=gradient_checkpointing,
                name=f"transformer_block_{index}",
                **policy,
            )
            for index in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, name="norm", **policy
        )
        self.build((None, *self.image_shape))

    @property
    def grid_size(self):
        """(rows, columns) of patches in an image."""
        height, width, _ = self.image_shape
        return (height // self.patch_size, width // self.patch_size)

    @property
    def num_tokens(self):
        """Number of patches in an image; the class token does not count."""
        rows, columns = self.grid_size
        return rows * columns

    def build(self, input_shape):
        if self.built:
            return
        check_image_shape(input_shape[1:], self.patch_size)
        tokens_shape = (None, self.num_tokens, self.hidden_dim)
        self.patch_embedding.build(input_shape)
        self.position_embedding.build(tokens_shape)
        self.class_token.build(tokens_shape)
        for block in self.blocks:
            block.build(tokens_shape)
        self.norm.build(tokens_shape)
        self.built = True

    def embed(self, images):
        """Turns images into tokens with positions, before any block.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            Tensor of shape (batch, tokens, hidden_dim), no class token yet.
        """
        check_images(images, self.image_shape)
        return self.position_embedding(self.patch_embedding(images))

    def encode(self, tokens, training=None, normalize=True):
        """Puts the class token in front and runs the transformer.

        Args:
            tokens: tensor of shape (batch, any number, hidden_dim), all tokens
                that `embed` gives or some of them.
            training: bool. Only matters with `drop_path_rate`.
            normalize: bool. Whether the final layer normalization is applied.

        Returns:
            Tensor of shape (batch, any number + 1, hidden_dim), class token
            first.
        """
        latent = self.class_token(tokens)
        for block in self.blocks:
            latent = block(latent, training=training)
        return self.norm(latent) if normalize else latent

    def call(self, images, training=None, normalize=True):
        return self.encode(
            self.embed(images), training=training, normalize=normalize
        )

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_tokens + 1, self.hidden_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "drop_path_rate": self.drop_path_rate,
            "learned_positions": self.learned_positions,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
