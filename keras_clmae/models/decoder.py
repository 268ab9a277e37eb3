"""Decode latent tokens to the pixels of patches."""

import keras

from keras_clmae.argument_validation import check_heads
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.layers.linear import Linear
from keras_clmae.layers.position_embedding import PositionEmbedding
from keras_clmae.layers.token_selection import gather_tokens
from keras_clmae.layers.token_selection import restore_tokens
from keras_clmae.layers.transformer_block import TransformerBlock


@keras.saving.register_keras_serializable(package="keras_clmae")
class Decoder(keras.layers.Layer):
    """MAE's decoder, from latent tokens to the pixels of patches.

    After section 3 of https://arxiv.org/abs/2111.06377.

    Args:
        grid_size: tuple of int. (rows, columns) of patches in an image.
        patch_dim: int. Numbers in a patch: patch_size**2 * channels.
        hidden_dim: int. Width of the decoder's tokens, a multiple of 4.
        num_layers: int. Number of transformer blocks.
        num_heads: int. Must divide `hidden_dim`.
        mlp_dim: int. Hidden width of the MLPs. Defaults to `4 * hidden_dim`.
        layer_norm_epsilon: float. Defaults to `1e-6`, as in MAE.
        gradient_checkpointing: bool. Whether the backward pass recomputes the
            activations of the blocks to save memory. Same numbers, more time.
            Defaults to `False`.

    Call arguments:
        latent: tensor of shape (batch, visible + 1, encoder's hidden_dim),
            class token first.
        restore_indices: int tensor of shape (batch, tokens), as
            `keep_top_tokens` gives it. Left out when `latent` holds all tokens
            in their places.
        output_indices: int tensor of shape (batch, outputs). Positions of the
            patches to predict. All of them, in order, by default.

    Returns:
        Tensor of shape (batch, outputs, patch_dim).

    Raises:
        ValueError: If `num_heads` does not divide `hidden_dim`, or a size is no
            positive integer.

    Example:

    >>> decoder = keras_clmae.models.Decoder(
    ...     grid_size=(2, 3), patch_dim=48, hidden_dim=16, num_layers=2,
    ...     num_heads=2,
    ... )
    >>> decoder(keras.ops.zeros((1, 7, 32))).shape
    (1, 6, 48)
    """

    def __init__(
        self,
        grid_size,
        patch_dim,
        hidden_dim,
        num_layers,
        num_heads,
        mlp_dim=None,
        layer_norm_epsilon=1e-6,
        gradient_checkpointing=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # === Config ===
        check_positive_integer("patch_dim", patch_dim)
        check_positive_integer("num_layers", num_layers)
        check_heads(hidden_dim, num_heads)
        self.grid_size = tuple(grid_size)
        self.patch_dim = patch_dim
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.mlp_dim = 4 * hidden_dim if mlp_dim is None else mlp_dim
        self.layer_norm_epsilon = layer_norm_epsilon
        self.gradient_checkpointing = gradient_checkpointing

        # === Layers ===
        policy = {"dtype": self.dtype_policy}
        self.embedding = Linear(hidden_dim, name="embedding", **policy)
        self.position_embedding = PositionEmbedding(
            self.grid_size,
            num_prefix_tokens=1,
            name="position_embedding",
            **policy,
        )
        self.blocks = [
            TransformerBlock(
                num_heads,
                self.mlp_dim,
                layer_norm_epsilon=layer_norm_epsilon,
                gradient_checkpointing=gradient_checkpointing,
                name=f"transformer_block_{index}",
                **policy,
            )
            for index in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, name="norm", **policy
        )
        self.pixel_head = Linear(patch_dim, name="pixel_head", **policy)

    def build(self, latent_shape, *_):
        rows, columns = self.grid_size
        tokens_shape = (None, rows * columns + 1, self.hidden_dim)
        self.embedding.build(latent_shape)
        self.mask_token = self.add_weight(
            shape=(1, 1, self.hidden_dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="mask_token",
        )
        self.position_embedding.build(tokens_shape)
        for block in self.blocks:
            block.build(tokens_shape)
        self.norm.build(tokens_shape)
        self.pixel_head.build(tokens_shape)

    def call(self, latent, restore_indices=None, output_indices=None):
        tokens = self.embedding(latent)
        if restore_indices is not None:
            patches = restore_tokens(
                tokens[:, 1:], self.mask_token, restore_indices
            )
            tokens = keras.ops.concatenate([tokens[:, :1], patches], axis=1)
        tokens = self.position_embedding(tokens)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        # Only the patches asked for leave the last block; the class token, of
        # which nobody reads the output, never does.
        outputs = tokens[:, 1:]
        if output_indices is not None:
            outputs = gather_tokens(outputs, output_indices)
        outputs = self.blocks[-1](tokens, queries=outputs)
        return self.pixel_head(self.norm(outputs))

    def compute_output_shape(
        self,
        latent_shape,
        restore_indices_shape=None,
        output_indices_shape=None,
    ):
        if output_indices_shape is not None:
            num_outputs = output_indices_shape[1]
        else:
            num_outputs = self.grid_size[0] * self.grid_size[1]
        return (latent_shape[0], num_outputs, self.patch_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "grid_size": self.grid_size,
            "patch_dim": self.patch_dim,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
