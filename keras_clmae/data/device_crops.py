"""Crop, resize and flip whole batches by matrix products, on the device."""

import numpy as np
from keras import ops


def windows_of_draws(draws, shape, scale, aspect_ratio):
    """Computes the windows of random resized crops, as `crops.random_window`.

    Args:
        draws: float array of shape `(batch, attempts + 1, 2)`, uniform in
            [0, 1): first the place, then the area and the proportions of each
            attempt.
        shape: pair of int. Height and width of the images.
        scale: pair of float in (0, 1]. The least and the largest area.
        aspect_ratio: pair of float. Least and largest width / height.

    Returns:
        An int32 array of shape `(batch, 4)`: top, left, height, width.

    Example:

    >>> from keras_clmae.data.device_crops import windows_of_draws
    >>> draws = np.full((1, 11, 2), 0.5)
    >>> windows_of_draws(draws, (32, 32), (0.25, 0.25), (1.0, 1.0)).tolist()
    [[8, 8, 16, 16]]
    """
    shape = np.array(shape, "float64")
    low, high = np.log(aspect_ratio)
    areas = draws[:, 1:, 0] * (scale[1] - scale[0]) + scale[0]
    areas = np.log(areas * shape.prod())
    ratios = draws[:, 1:, 1] * (high - low) + low
    sizes = np.exp(np.stack([areas - ratios, areas + ratios], axis=-1) / 2)
    sizes = np.maximum(np.rint(sizes), 1)
    # Where no attempt fits, the largest central window.
    largest = np.rint(shape[::-1] * (1 / aspect_ratio[0], aspect_ratio[1]))
    largest = np.clip(largest, 1, shape)
    fits = (sizes <= shape).all(axis=-1)
    drawn = fits.any(axis=1, keepdims=True)
    first = sizes[np.arange(len(sizes)), fits.argmax(axis=1)]
    chosen = np.where(drawn, first, largest)
    place = np.where(drawn, draws[:, 0], 0.5)
    start = np.floor(place * (shape - chosen + drawn))
    return np.concatenate([start, chosen], axis=1).astype("int32")


def crop_batch(images, windows, mirror, image_size):
    """Cuts a window out of each image, resizes it, and mirrors some.

    Bicubic (Keys, a = -0.5), within the window only. As in
    `crops.resize_window` a window at least twice as large as the result gets
    the wider kernel. Along each side the result is a weighted sum of pixels,
    so that a batch is two matrix products.

    Args:
        images: tensor of shape `(batch, height, width, channels)`, 0 is black
            and 255 white.
        windows: int tensor of shape `(batch, 4)`: top, left, height, width.
        mirror: bool tensor of shape `(batch,)`: from left to right.
        image_size: pair of int. Height and width of the result.

    Returns:
        float32 tensor of shape `(batch, *image_size, channels)`.

    Example:

    >>> from keras_clmae.data.device_crops import crop_batch
    >>> images = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> cropped = crop_batch(images, [[1, 1, 2, 2]], [True], (2, 2))
    >>> keras.ops.convert_to_numpy(cropped)[0, :, :, 0].tolist()
    [[6.0, 5.0], [10.0, 9.0]]
    """
    images = ops.cast(images, "float32")
    windows = ops.cast(windows, "float32")
    target = ops.convert_to_tensor(image_size, "float32")
    is_large = ops.all(windows[:, 2:] >= 2 * target, axis=-1)
    rows, columns = (
        _weights(
            windows[:, side],
            windows[:, side + 2],
            images.shape[1 + side],
            image_size[side],
            is_large,
        )
        for side in (0, 1)
    )
    mirror = ops.convert_to_tensor(mirror)[:, None, None]
    columns = ops.where(mirror, ops.flip(columns, axis=1), columns)
    pixels = ops.einsum("bth,bhwc->btwc", rows, images)
    pixels = ops.einsum("buw,btwc->btuc", columns, pixels)
    # Bicubic interpolation overshoots at edges.
    return ops.clip(pixels, 0.0, 255.0)


def _weights(start, size, length, target, is_large):
    """Weights (batch, target, length) of the pixels along one side."""
    step = (size / target)[:, None]
    centers = (ops.arange(target, dtype="float32") + 0.5) * step - 0.5
    positions = ops.arange(length, dtype="float32") - start[:, None]
    distance = ops.abs(positions[:, None] - centers[..., None])
    widening = ops.where(is_large[:, None], ops.maximum(step, 1.0), 1.0)
    weights = _keys_cubic(distance / widening[..., None])
    inside = (positions >= 0) & (positions < size[:, None])
    weights *= ops.cast(inside, "float32")[:, None]
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def _keys_cubic(x):
    """The kernel of Keys, "Cubic Convolution Interpolation", 1981, eq. 15."""
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return ops.where(x < 1.0, near, ops.where(x < 2.0, far, 0.0))
