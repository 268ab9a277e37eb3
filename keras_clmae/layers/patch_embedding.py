"""Cut images into patches, and embed patches as tokens."""

import keras
from keras import ops

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.layers.linear import Linear


def patchify(images, patch_size):
    """Cuts images into flattened square patches, row by row.

    Args:
        images: float tensor of shape (batch, height, width, channels). Height
            and width must be multiples of `patch_size`.
        patch_size: int. Side of a patch in pixels.

    Returns:
        Tensor of shape (batch, tokens, patch_size**2 * channels). Inside a
        patch the order is (row, column, channel), as in MAE.

    Example:

    >>> keras_clmae.layers.patchify(keras.ops.ones((2, 8, 12, 3)), 4).shape
    (2, 6, 48)
    """
    height, width, channels = images.shape[1:]
    rows, columns = height // patch_size, width // patch_size
    patches = ops.reshape(
        images, (-1, rows, patch_size, columns, patch_size, channels)
    )
    patches = ops.transpose(patches, (0, 1, 3, 2, 4, 5))
    return ops.reshape(
        patches, (-1, rows * columns, patch_size * patch_size * channels)
    )


def unpatchify(patches, grid_size, patch_size):
    """Puts patches back into images: the inverse of `patchify`.

    Args:
        patches: tensor of shape (batch, tokens, patch_size**2 * channels).
        grid_size: tuple of int. (rows, columns) of patches in an image.
        patch_size: int. Side of a patch in pixels.

    Returns:
        Tensor of shape (batch, height, width, channels).

    Example:

    >>> patches = keras_clmae.layers.patchify(keras.ops.ones((2, 8, 12, 3)), 4)
    >>> keras_clmae.layers.unpatchify(patches, (2, 3), 4).shape
    (2, 8, 12, 3)
    """
    rows, columns = grid_size
    channels = patches.shape[-1] // (patch_size * patch_size)
    images = ops.reshape(
        patches, (-1, rows, columns, patch_size, patch_size, channels)
    )
    images = ops.transpose(images, (0, 1, 3, 2, 4, 5))
    return ops.reshape(
        images, (-1, rows * patch_size, columns * patch_size, channels)
    )


@keras.saving.register_keras_serializable(package="keras_clmae")
class PatchEmbedding(keras.layers.Layer):
    """Linear projection of image patches to tokens.

    The same map as the strided convolution of ViT
    (https://arxiv.org/abs/2010.11929), written as one matrix product.

    Args:
        patch_size: int. Side of a patch in pixels.
        hidden_dim: int. Width of the tokens.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).

    Returns:
        Tensor of shape (batch, tokens, hidden_dim).

    Raises:
        ValueError: If an argument is no positive integer.

    Example:

    >>> layer = keras_clmae.layers.PatchEmbedding(patch_size=4, hidden_dim=16)
    >>> layer(keras.ops.ones((2, 8, 12, 3))).shape
    (2, 6, 16)
    """

    def __init__(self, patch_size, hidden_dim, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("patch_size", patch_size)
        check_positive_integer("hidden_dim", hidden_dim)
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.projection = Linear(
            hidden_dim, dtype=self.dtype_policy, name="projection"
        )

    def build(self, input_shape):
        channels = input_shape[-1]
        self.projection.build((None, None, self.patch_size**2 * channels))

    def call(self, images):
        return self.projection(patchify(images, self.patch_size))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        tokens = (height // self.patch_size) * (width // self.patch_size)
        return (batch, tokens, self.hidden_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
        }
