"""Copy models: for another image size or precision, or with drop path."""

import keras
import numpy as np


def copy_encoder(encoder, image_shape=None, drop_path_rate=None, dtype=None):
    """Copies an encoder, for instance to another image size.

    Args:
        encoder: `ViTEncoder`.
        image_shape: tuple of int. (height, width, channels) of the copy. Where
            the grid of patches differs, the position table is interpolated.
            Defaults to `None`: as it is.
        drop_path_rate: float in [0, 1), of the copy. Defaults to `None`: as it
            is.
        dtype: str or `keras.DTypePolicy`, of the copy, such as
            `"mixed_bfloat16"`. Defaults to `None`: as it is.

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
                "`image_shape` must keep the encoder's number of "
                f"channels, {encoder.image_shape[-1]}. Received: "
                f"image_shape={image_shape}"
            )
        config["image_shape"] = tuple(image_shape)
    if drop_path_rate is not None:
        config["drop_path_rate"] = drop_path_rate
    if dtype is not None:
        config["dtype"] = dtype
    copy = type(encoder).from_config(config)
    _copy_weights(copy, encoder, copy.position_embedding)
    return copy


def copy_autoencoder(autoencoder, image_shape=None):
    """Copies a masked autoencoder, for instance to another image size.

    Both position tables, the encoder's and the decoder's, are interpolated in
    two dimensions where the grid of patches differs.

    Args:
        autoencoder: `MaskedAutoencoder`.
        image_shape: tuple of int. (height, width, channels) of the copy.
            Defaults to `None`: as it is.

    Returns:
        A `MaskedAutoencoder`. Its random masks start anew from its seed.

    Raises:
        ValueError: If the number of channels differs, or the new sides are no
            multiples of the patch size.

    Example:

    >>> autoencoder = keras_clmae.models.MaskedAutoencoder.from_sizes(
    ...     image_shape=(8, 8, 1), patch_size=2, hidden_dim=16, num_layers=1,
    ...     num_heads=2, decoder_hidden_dim=16, decoder_num_layers=1,
    ...     decoder_num_heads=2,
    ... )
    >>> larger = keras_clmae.models.copy_autoencoder(autoencoder, (12, 16, 1))
    >>> larger.reconstruct(np.zeros((1, 12, 16, 1)))["images"].shape
    (1, 12, 16, 1)
    """
    encoder = copy_encoder(autoencoder.encoder, image_shape)
    decoder = autoencoder.decoder
    decoder_copy = type(decoder).from_config(
        decoder.get_config() | {"grid_size": encoder.grid_size}
    )
    decoder_copy.build((None, encoder.num_tokens + 1, encoder.hidden_dim))
    _copy_weights(decoder_copy, decoder, decoder_copy.position_embedding)
    config = autoencoder.get_config()
    config |= {"encoder": encoder, "decoder": decoder_copy}
    return type(autoencoder).from_config(config)


def _copy_weights(copy, original, position_embedding):
    """Copies weights; the table of `position_embedding` is interpolated."""
    before = original.position_embedding
    for target, source in zip(copy.weights, original.weights, strict=True):
        value = keras.ops.convert_to_numpy(source)
        if (
            target is position_embedding.position_table
            and position_embedding.grid_size != before.grid_size
        ):
            prefix, patches = np.split(value, [before.num_prefix_tokens])
            patches = interpolate_position_table(
                patches, before.grid_size, position_embedding.grid_size
            )
            value = np.concatenate([prefix, patches])
        target.assign(value)


def interpolate_position_table(table, grid_size, new_grid_size):
    """Interpolates a position table to another grid of patches, bicubically.

    The kernel is the one that MAE's `interpolate_pos_embed` uses (a = -0.75,
    borders repeated, half-pixel centers, no antialiasing), on every backend.

    Args:
        table: float array of shape (rows * columns, hidden_dim).
        grid_size: tuple of int. (rows, columns) of `table`.
        new_grid_size: tuple of int. (rows, columns) to interpolate to.

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
    """Makes the matrix (new_size, size) that interpolates along one axis."""
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
