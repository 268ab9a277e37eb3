"""Keep patches at regular distances."""

import keras
import numpy as np
from keras import ops

from keras_clmae.maskers.masker import DrawnMasker

# Rank of the four places of a cell, by the distance in rows and in columns from
# the place kept first: its diagonal neighbor comes second, so that half of the
# patches make a checkerboard.
_RANKS = np.array([[0.0, 2.0], [3.0, 1.0]], "float32")


@keras.saving.register_keras_serializable(package="keras_clmae")
class GridMasker(DrawnMasker):
    """Keeps the same place of every cell of 2 x 2 patches.

    The grid-wise sampling of table 1f of https://arxiv.org/abs/2111.06377: with
    a `mask_ratio` of 0.75 exactly one patch of four, at regular distances; of
    0.5, a checkerboard. The place is drawn for each image. Where the ratio, or
    a side that is odd, asks for a part of a lattice only, that part is drawn.

    Args:
        grid_size: tuple of int. (rows, columns) of the patches. Defaults to
            `None`: the autoencoder sets its own; elsewhere the grid is taken as
            square.
        seed: int. Seed of the draws. Defaults to `None`: drawn.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim), of which only the
            sizes are read.

    Returns:
        `keep_scores`: float32 tensor of shape (batch, tokens).

    Example:

    >>> masker = keras_clmae.maskers.GridMasker(grid_size=(4, 4), seed=0)
    >>> scores = masker(keras.ops.ones((1, 16, 8)))
    >>> mask = keras_clmae.layers.keep_top_tokens(scores, num_keep=4).mask
    >>> print(keras.ops.convert_to_numpy(mask).reshape(4, 4).sum(axis=0) % 4)
    [0. 2. 0. 2.]
    """

    def call(self, tokens):
        rows, columns = self.grid
        draws = self.uniform(tokens, 2 + rows * columns)
        # The place in a cell, (0 or 1, 0 or 1), that is kept first.
        offsets = ops.floor(2.0 * draws[:, :2])
        row, column = np.indices((rows, columns))
        ranks = ops.zeros_like(draws[:, 2:])
        for first_row in (0, 1):
            for first_column in (0, 1):
                table = ops.convert_to_tensor(
                    _RANKS[
                        (row + first_row) % 2, (column + first_column) % 2
                    ].reshape(1, -1)
                )
                chosen = ops.logical_and(
                    offsets[:, :1] == first_row, offsets[:, 1:] == first_column
                )
                ranks = ranks + ops.where(chosen, table, 0.0)
        # Below 1: they only order patches of one rank.
        return draws[:, 2:] - ranks
