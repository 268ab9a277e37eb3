"""Copies of an encoder: for another image size, or with drop path."""

import keras
import numpy as np


def copy_encoder(encoder, image_shape=None, drop_path_rate=None):
    """An encoder of its own with the same weights.

    Args:
        encoder: `ViTEncoder`.
        image_shape: (height, width, channels) of the copy. Where the grid of
            patches differs, the position table is interpolated. Defaults to
            `None`: as it is.
        drop_path_rate: float in [0, 1), of the copy. Defaults to `None`: as it
            is.

    Returns:
        A `ViTEncoder`.

    Raises:
        ValueError: If the number of channels differs, or the new sides are no
            multiples of the patch size.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> larger = keras_clmae.models.copy_encoder(encoder, (12, 16, 1))
    >>> larger(keras.ops.zeros((1, 12, 16, 1))).shape
    (1, 49, 16)
    """
    config = encoder.get_config()
    if image_shape is not None:
        if image_shape[-1] != encoder.image_shape[-1]:
            raise ValueError(
                "Argument `image_shape` must keep the encoder's number of "
                f"channels, {encoder.image_shape[-1]}. Received: "
                f"image_shape={image_shape}"
            )
        config["image_shape"] = tuple(image_shape)
    if drop_path_rate is not None:
        config["drop_path_rate"] = drop_path_rate
    copy = type(encoder).from_config(config)
    table = copy.position_embedding.position_table
    for target, source in zip(copy.weights, encoder.weights, strict=True):
        value = keras.ops.convert_to_numpy(source)
        if target is table and copy.grid_size != encoder.grid_size:
            value = interpolate_position_table(
                value, encoder.grid_size, copy.grid_size
            )
        target.assign(value)
    return copy


def interpolate_position_table(table, grid_size, new_grid_size):
    """A position table for another grid of patches, by bicubic interpolation.

    The kernel is the one that MAE's `interpolate_pos_embed` uses (a = -0.75,
    borders repeated, half-pixel centres, no antialiasing), on every backend.

    Args:
        table: float array of shape (rows * columns, hidden_dim).
        grid_size: (rows, columns) of `table`.
        new_grid_size: (rows, columns) to interpolate to.

    Returns:
        float32 array of shape (new_rows * new_columns, hidden_dim).

    Example:

    >>> table = keras_clmae.layers.sincos_position_table((2, 3), 16)
    >>> keras_clmae.models.interpolate_position_table(
    ...     table, (2, 3), (4, 6)
    ... ).shape
    (24, 16)
    """
    rows, columns = (
        _cubic_weights(*sizes)
        for sizes in zip(grid_size, new_grid_size, strict=True)
    )
    grid = np.asarray(table, "float64").reshape(*grid_size, -1)
    resized = np.einsum("ri,cj,ijd->rcd", rows, columns, grid, optimize=True)
    return resized.reshape(-1, grid.shape[-1]).astype("float32")


def _cubic_weights(size, new_size):
    """Matrix (new_size, size) that interpolates along one axis."""
    # Cubic convolution: Keys, 1981, https://doi.org/10.1109/TASSP.1981.1163711,
    # with the slope that torch.nn.functional.interpolate has.
    slope = -0.75
    position = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    first = np.floor(position).astype("int64") - 1
    weights = np.zeros((new_size, size))
    for tap in range(4):
        x = np.abs(position - (first + tap))
        near = (slope + 2) * x**3 - (slope + 3) * x**2 + 1
        far = slope * (x**3 - 5 * x**2 + 8 * x - 4)
        column = np.clip(first + tap, 0, size - 1)
        np.add.at(
            weights,
            (np.arange(new_size), column),
            np.where(x <= 1, near, np.where(x < 2, far, 0.0)),
        )
    return weights
