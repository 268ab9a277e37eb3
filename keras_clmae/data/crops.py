"""Choose the part of an image that is shown, and resize it."""

import math

import numpy as np

from keras_clmae.data.decoding import REDUCTIONS
from keras_clmae.optional_imports import require

# Tries to fit a window into the image before it falls back to a central one.
ATTEMPTS = 10


def random_window(shape, seed, scale, aspect_ratio):
    """Draws the window of a random resized crop.

    The share of the image's area is uniform in `scale` and the logarithm
    of width / height uniform in `aspect_ratio` (Szegedy et al., "Going Deeper
    with Convolutions", CVPR 2015, section 6). A pair that does not fit into
    the image is drawn again; after ten of them the largest central window
    within `aspect_ratio` is taken.

    Args:
        shape: int tensor `(height, width)` of the image.
        seed: int tensor of shape `(2,)`.
        scale: pair of float in (0, 1]. The least and the largest area.
        aspect_ratio: pair of float. Least and largest width / height.

    Returns:
        An int32 tensor `(top, left, height, width)`.
    """
    tf = require("tensorflow", "Cropping images")
    size = tf.cast(shape, "float32")
    draws = tf.random.stateless_uniform((ATTEMPTS + 1, 2), seed)
    # Of each attempt the logarithms of the area and of width / height; the
    # area is uniform.
    low, high = (math.log(ratio) for ratio in aspect_ratio)
    areas = draws[1:, 0] * (scale[1] - scale[0]) + scale[0]
    areas = tf.math.log(areas * (size[0] * size[1]))
    ratios = draws[1:, 1] * (high - low) + low
    sizes = tf.exp(tf.stack([areas - ratios, areas + ratios], axis=1) / 2)
    sizes = tf.maximum(tf.round(sizes), 1)
    fits = tf.reduce_all(sizes <= size, axis=1)
    largest = tf.round(size[::-1] * (1 / aspect_ratio[0], aspect_ratio[1]))
    # The window of the first pair that fits; behind them all, the central one.
    sizes = tf.concat([sizes, [tf.clip_by_value(largest, 1, size)]], axis=0)
    fits = tf.concat([fits, [True]], axis=0)
    first = tf.argmax(fits)
    chosen = sizes[first]
    place = tf.where(first < ATTEMPTS, draws[0], 0.5)
    room = size - chosen + tf.where(first < ATTEMPTS, 1.0, 0.0)
    return tf.cast(tf.concat([tf.floor(place * room), chosen], 0), "int32")


def covering_size(shape, image_size, crop_fraction):
    """Computes the size of an image that covers a frame, in its proportions.

    Args:
        shape: int tensor `(height, width)` of the image.
        image_size: pair of int. Height and width of the frame's middle.
        crop_fraction: float in (0, 1]. The middle's share of the frame's
            sides.

    Returns:
        An int32 tensor `(height, width)`.
    """
    tf = require("tensorflow", "Cropping images")
    frame = [round(size / crop_fraction) for size in image_size]
    shape = tf.cast(shape, "float32")
    factor = tf.reduce_max(tf.constant(frame, "float32") / shape)
    # The small term keeps a product that should be whole from rounding down.
    size = tf.cast(tf.floor(shape * factor + 1e-3), "int32")
    return tf.maximum(size, frame)


def central_resize(pixels, image_size, size, shape, reduction, missing):
    """Resizes an image, and cuts out the middle.

    Bicubic, with the wider kernel that keeps an image clean when it is made
    smaller.

    Args:
        pixels: float32 tensor of shape `(height, width, channels)`.
        image_size: pair of int. Height and width of the result.
        size: int32 tensor `(height, width)` that the whole image is resized to.
        shape: int tensor `(height, width)` of the image before it was reduced.
        reduction: scalar int32 tensor. How many pixels of the image a side of
            one of `pixels` stands for.
        missing: int tensor `(rows, columns)` that the first row and column of
            `pixels` lack of `reduction`.

    Returns:
        A float32 tensor of shape `(*image_size, channels)`.
    """
    tf = require("tensorflow", "Cropping images")
    scale = tf.cast(size, "float32") / tf.cast(shape, "float32")
    start = tf.cast((size - tf.constant(image_size)) // 2, "float32")
    resized = tf.raw_ops.ScaleAndTranslate(
        images=pixels[tf.newaxis],
        size=image_size,
        scale=scale * tf.cast(reduction, "float32"),
        translation=-start - scale * tf.cast(missing, "float32"),
        kernel_type="keyscubic",
        antialias=True,
    )
    return resized[0]


def resize_window(pixels, image_size, window=None):
    """Resizes a window of an image, bicubic, as fast as TensorFlow can.

    A window at least twice as large as the result gets the wider kernel that
    is slower and keeps fine patterns from turning into coarse ones.

    Args:
        pixels: float32 tensor of shape `(height, width, channels)`; from
            bytes the kernel is slower, by more than the cast takes.
        image_size: pair of int. Height and width of the result.
        window: float32 tensor `(top, left, height, width)` in `pixels`, not
            whole where these have been reduced, which leaves a window at least
            twice as large as the result. Defaults to `None`: all `pixels`.

    Returns:
        A float32 tensor of shape `(*image_size, channels)`.
    """
    tf = require("tensorflow", "Cropping images")
    if window is None:
        shape = tf.cast(tf.shape(pixels)[:2], "float32")
        window = tf.concat([[0.0, 0.0], shape], axis=0)

    def resize():
        resized = tf.raw_ops.ResizeBicubic(
            images=pixels[tf.newaxis], size=image_size, half_pixel_centers=True
        )
        return resized[0]

    def reduce():
        scale = image_size / window[2:]
        reduced = tf.raw_ops.ScaleAndTranslate(
            images=pixels[tf.newaxis],
            size=image_size,
            scale=scale,
            translation=-scale * window[:2],
            kernel_type="keyscubic",
            antialias=True,
        )
        return reduced[0]

    is_large = tf.reduce_all(window[2:] >= 2 * np.array(image_size, "float32"))
    return tf.cond(is_large, reduce, resize)


def reduction_index(window_size, image_size):
    """Chooses how far a JPEG may be reduced while it is decoded.

    Args:
        window_size: int tensor `(height, width)` of the window.
        image_size: pair of int, or int tensor. Height and width it is resized
            to, or must at least keep.

    Returns:
        Scalar int32 tensor, index into `REDUCTIONS`: the largest one that
        leaves the window at least as large as the result.
    """
    tf = require("tensorflow", "Cropping images")
    factor = tf.reduce_min(window_size // tf.cast(image_size, "int32"))
    return tf.reduce_sum(tf.cast(factor >= REDUCTIONS[1:], "int32"))
