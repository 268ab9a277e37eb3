"""Turn what a model sees into RGB images, and paint masks over them."""

import numpy as np

from keras_clmae.argument_validation import check_shown_channels

# Color of removed patches: a gray that images rarely have.
REMOVED = np.array([0.86, 0.88, 0.92], "float32")

# Of 255: images that are darker all over are stretched.
_NEARLY_BLACK = 64


def rgb_function(images, inverse=None, shown_channels=None):
    """Makes the function that turns a model's images into RGB images.

    One function serves all panels of a figure, so that equal pixels of the
    image and of its reconstruction look equal.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model sees them; their range is shown where `inverse` is missing.
        inverse: callable. Maps such images to uint8 images of as many
            channels, such as the `normalization.inverse` of a data set.
            Defaults to `None`: the darkest value is black, the brightest white,
            as it is where no pixel of `images` is a quarter as bright as white.
        shown_channels: sequence of one channel (shown gray) or of three (shown
            red, green and blue). Defaults to `None`: the first three, or the
            first if there are fewer.

    Returns:
        A function from an array of shape (..., channels) to a float32 array of
        shape (..., 3) in [0, 1].

    Raises:
        ValueError: If `shown_channels` are not one or three channels of the
            images.

    Example:

    >>> images = np.random.normal(size=(2, 8, 8, 5)).astype("float32")
    >>> rgb = keras_clmae.visualization.rgb_function(
    ...     images, shown_channels=(4, 2, 0)
    ... )
    >>> rgb(images).shape
    (2, 8, 8, 3)
    """
    images = np.asarray(images)
    channels = images.shape[-1]
    shown_channels = check_shown_channels(
        "shown_channels", shown_channels, channels
    )
    low, high = float(images.min()), float(images.max())
    if inverse is not None and np.max(inverse(images)) < _NEARLY_BLACK:
        # 12 bits in files of 16, say: black, and few levels of it.
        inverse = None

    def stretched(values):
        values = (np.asarray(values, "float32") - low) / max(high - low, 1e-12)
        return np.clip(values, 0, 1)

    def rgb(values):
        if inverse is None:
            colors = stretched(values)
        else:
            colors = np.asarray(inverse(values), "float32") / 255
        colors = colors[..., list(shown_channels)]
        if len(shown_channels) == 1:
            colors = np.repeat(colors, 3, axis=-1)
        return colors

    return rgb


def pixel_mask(mask, grid_size, height):
    """Spreads the mask of an image's patches over its pixels.

    Args:
        mask: array of shape (tokens,), 1 = removed.
        grid_size: tuple of int. (rows, columns) of patches.
        height: int. Height of the image in pixels.

    Returns:
        bool array of shape (height, width, 1).

    Example:

    >>> mask = keras_clmae.visualization.rgb.pixel_mask(
    ...     np.array([0, 1]), (1, 2), 4
    ... )
    >>> mask.shape, int(mask.sum())
    ((4, 8, 1), 16)
    """
    size = height // grid_size[0]
    mask = np.asarray(mask).reshape(grid_size)
    return mask.repeat(size, axis=0).repeat(size, axis=1)[..., None] > 0.5


def visible_image(image, mask, grid_size):
    """Paints over the removed patches of an image.

    Args:
        image: float array of shape (height, width, 3) in [0, 1].
        mask: array of shape (tokens,), 1 = removed.
        grid_size: tuple of int. (rows, columns) of patches.

    Returns:
        Array of the shape of `image`.
    """
    removed = pixel_mask(mask, grid_size, image.shape[0])
    return np.where(removed, REMOVED, image)
