"""Remove patches in blocks."""

import math

import keras
import numpy as np
from keras import ops

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.maskers.masker import DrawnMasker

# Height over width of a block, at most; its inverse at least: BEiT's
# (https://arxiv.org/abs/2106.08254, algorithm 1).
_MAX_ASPECT = 1 / 0.3


@keras.saving.register_keras_serializable(package="keras_clmae")
class BlockMasker(DrawnMasker):
    """Removes the patches in rectangular blocks, drawn for each image.

    The block-wise sampling of table 1f of https://arxiv.org/abs/2111.06377,
    with static shapes: centers and aspect ratios of `num_blocks` rectangles are
    drawn, and all grow until their union covers as many patches as the
    autoencoder removes. Of the patches that their edges reach last, some are
    drawn.

    Args:
        num_blocks: int. Blocks of an image; they may overlap. Defaults to `1`.
        grid_size: tuple of int. (rows, columns) of the patches. Defaults to
            `None`: the autoencoder sets its own; elsewhere the grid is taken as
            square.
        seed: int. Seed of the draws. Defaults to `None`: drawn.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim), of which only the
            sizes are read.

    Returns:
        `keep_scores`: float32 tensor of shape (batch, tokens): the distance
        from the nearest center, in sides of its block.

    Example:

    >>> masker = keras_clmae.maskers.BlockMasker(num_blocks=2)
    >>> masker(keras.ops.ones((2, 16, 8))).shape
    (2, 16)
    """

    def __init__(self, num_blocks=1, grid_size=None, seed=None, **kwargs):
        super().__init__(grid_size=grid_size, seed=seed, **kwargs)
        check_positive_integer("num_blocks", num_blocks)
        self.num_blocks = num_blocks

    def call(self, tokens):
        rows, columns = self.grid
        blocks = self.num_blocks
        draws = self.uniform(tokens, 3 * blocks + rows * columns)
        center_row, center_column, shape = (
            draws[:, index * blocks : (index + 1) * blocks, None]
            for index in range(3)
        )
        row, column = (
            ops.convert_to_tensor(places.reshape(1, 1, -1), dtype="float32")
            for places in np.mgrid[:rows, :columns]
        )
        # Patches are one apart, and a center lies anywhere in the image.
        vertical = ops.abs(row + 0.5 - rows * center_row)
        horizontal = ops.abs(column + 0.5 - columns * center_column)
        # The square root of the aspect ratio, even on a logarithmic scale.
        root = ops.exp((shape - 0.5) * math.log(_MAX_ASPECT))
        distance = ops.min(
            ops.maximum(vertical / root, horizontal * root), axis=1
        )
        # Equal distances in the order of the tokens would favor one corner.
        return distance + 1e-4 * draws[:, 3 * blocks :]

    def get_config(self):
        return {**super().get_config(), "num_blocks": self.num_blocks}
