"""From what a model sees to what people see."""

import numpy as np

from keras_clmae.argument_validation import check_bands

# What stands where a patch was removed: a gray that pictures rarely have.
REMOVED = np.array([0.86, 0.88, 0.92], "float32")


def rgb_function(images, inverse=None, bands=None):
    """Makes the function that turns a model's images into pictures.

    The same function for all pictures of a page, so that equal pixels of the
    image and of its reconstruction look equal.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model sees them; their range is shown where `inverse` is missing.
        inverse: function from such images to uint8 pictures of as many
            channels, such as the `normalization.inverse` of a data set.
            Defaults to `None`: the darkest value is black, the brightest white.
        bands: sequence of one channel (shown gray) or of three (shown red,
            green and blue). Defaults to `None`: the first three, or the first
            if there are fewer.

    Returns:
        A function from an array of shape (..., channels) to a float32 array of
        shape (..., 3) in [0, 1].

    Raises:
        ValueError: if `bands` are not one or three channels of the images.

    Example:

    >>> images = np.random.normal(size=(2, 8, 8, 5)).astype("float32")
    >>> rgb = keras_clmae.visualization.rgb_function(images, bands=(4, 2, 0))
    >>> rgb(images).shape
    (2, 8, 8, 3)
    """
    images = np.asarray(images)
    channels = images.shape[-1]
    bands = check_bands("bands", bands, channels)
    low, high = float(images.min()), float(images.max())

    def stretched(values):
        values = (np.asarray(values, "float32") - low) / max(high - low, 1e-12)
        return np.clip(values, 0, 1)

    def rgb(values):
        if inverse is None:
            pictures = stretched(values)
        else:
            pictures = np.asarray(inverse(values), "float32") / 255
        pictures = pictures[..., list(bands)]
        if len(bands) == 1:
            pictures = np.repeat(pictures, 3, axis=-1)
        return pictures

    return rgb


def pixel_mask(mask, grid_size, height):
    """Spreads the mask of an image's patches over its pixels.

    Args:
        mask: array of shape (tokens,), 1 = removed.
        grid_size: (rows, columns) of patches.
        height: int. Height of the image in pixels.

    Returns:
        Boolean array of shape (height, width, 1).

    Example:

    >>> mask = keras_clmae.visualization.pictures.pixel_mask(
    ...     np.array([0, 1]), (1, 2), 4
    ... )
    >>> mask.shape, int(mask.sum())
    ((4, 8, 1), 16)
    """
    size = height // grid_size[0]
    mask = np.asarray(mask).reshape(grid_size)
    return mask.repeat(size, axis=0).repeat(size, axis=1)[..., None] > 0.5


def visible_picture(picture, mask, grid_size):
    """A picture with its removed patches painted over.

    Args:
        picture: float array of shape (height, width, 3) in [0, 1].
        mask: array of shape (tokens,), 1 = removed.
        grid_size: (rows, columns) of patches.

    Returns:
        Array of the shape of `picture`.
    """
    removed = pixel_mask(mask, grid_size, picture.shape[0])
    return np.where(removed, REMOVED, picture)
