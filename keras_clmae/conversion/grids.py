"""Find the grid of patches that a file's position table was made for."""

import math

import numpy as np

from keras_clmae.argument_validation import check_image_shape
from keras_clmae.layers.position_embedding import sincos_position_table

# Half precision rounds by less.
_TOLERANCE = 1e-3


def fixed_grid(table):
    """Recognizes the grid of MAE's fixed sine-cosine table by its numbers.

    Args:
        table: float array of shape (tokens, hidden_dim), without the class
            token's row.

    Returns:
        (rows, columns), or `None` where the table is another, such as a trained
        one.
    """
    num_tokens, hidden_dim = table.shape
    if hidden_dim % 4 or not num_tokens:
        return None
    # The first half says the column: it comes back where a row is over.
    half = table[:, : hidden_dim // 2]
    repeats = np.abs(half[1:] - half[:1]).max(axis=1) <= _TOLERANCE
    columns = int(np.argmax(repeats)) + 1 if repeats.any() else num_tokens
    if num_tokens % columns:
        return None
    grid = (num_tokens // columns, columns)
    expected = sincos_position_table(grid, hidden_dim)
    return grid if np.abs(table - expected).max() <= _TOLERANCE else None


def native_grid(num_tokens, patch_size, image_shape, grid_size, fixed):
    """Finds the grid that a position table was made for.

    Args:
        num_tokens: int. Rows of the table, less the class token's.
        patch_size: int.
        image_shape: What the user asked for, or `None`.
        grid_size: tuple of int. (rows, columns) that the source or the user
            names, or `None`.
        fixed: What `fixed_grid` returned.

    Returns:
        (rows, columns).

    Raises:
        ValueError: If the grid is not known, or `grid_size` does not fit.
    """
    asked = None
    if image_shape is not None:
        height, width, _ = check_image_shape(image_shape, patch_size)
        asked = (height // patch_size, width // patch_size)
    if grid_size is not None:
        if (
            len(grid_size) != 2
            or min(grid_size) < 1
            or math.prod(grid_size) != num_tokens
        ):
            raise ValueError(
                "`grid_size` must be the (rows, columns) of the "
                f"{num_tokens} patches in the position table. Received: "
                f"grid_size={grid_size}"
            )
        return tuple(grid_size)
    if fixed is not None:
        return fixed
    side = math.isqrt(max(num_tokens, 0))
    square = (side, side) if side and side * side == num_tokens else None
    fits = asked is not None and math.prod(asked) == num_tokens
    if fits and square and asked != square:
        raise ValueError(
            "`grid_size` must say which grid of patches the learned positions "
            f"are of: {square}, then they are interpolated, or {asked}. "
            f"Received: grid_size=None, image_shape={tuple(image_shape)}"
        )
    if fits:
        return asked
    if square:
        return square
    raise ValueError(
        "`image_shape` must be given: the positions are not those of a "
        f"square image. Received: {num_tokens} tokens, "
        f"image_shape={image_shape}"
    )
