"""Change the colors of images, and apply functions of the user's own."""

import numpy as np

from keras_clmae.optional_imports import require

# Between the seeds of draws for one image. Its epoch is in the seed, too.
_SEED_STEP = 2**24


def jitter_colors(pixels, strength, seed):
    """Draws brightness, contrast and, of RGB images, saturation anew.

    Each is multiplied by a number that is uniform in 1 - `strength` to
    1 + `strength`. Contrast is the distance from the mean of the channel.

    Args:
        pixels: float32 tensor of shape `(height, width, channels)`, 0 is black
            and 255 white.
        strength: float in (0, 1].
        seed: int64 tensor of shape `(2,)`.

    Returns:
        A tensor of the same shape, from 0 to 255.
    """
    tf = require("tensorflow", "Transforming images")
    low, high = 1 - strength, 1 + strength
    seeds = [seed + (number * _SEED_STEP, 0) for number in (1, 2, 3)]
    pixels *= tf.random.stateless_uniform((), seeds[0], low, high)
    pixels = tf.clip_by_value(pixels, 0.0, 255.0)
    pixels = tf.image.stateless_random_contrast(pixels, low, high, seeds[1])
    pixels = tf.clip_by_value(pixels, 0.0, 255.0)
    if pixels.shape[-1] == 3:
        pixels = tf.image.stateless_random_saturation(
            pixels, low, high, seeds[2]
        )
    return pixels


def augment_batch(function, images, seed):
    """Applies a function of the user's own to each image of a batch.

    Args:
        function: callable. See `PretrainTransform`.
        images: float32 tensor of shape `(batch, height, width, channels)`.
        seed: int64 tensor of shape `(2,)`.

    Returns:
        A tensor of the same shape.
    """
    tf = require("tensorflow", "Transforming images")

    def augment(images, seed):
        generator = np.random.default_rng(seed.view("uint64"))
        return np.stack(
            [augment_image(function, image, generator) for image in images]
        )

    # Stateful: nothing is known of the function.
    augmented = tf.numpy_function(augment, [images, seed], "float32")
    return tf.ensure_shape(augmented, images.shape)


def augment_image(function, image, generator):
    """Applies a function of the user's own, and checks its result.

    Args:
        function: callable. See `PretrainTransform`.
        image: float32 array of shape `(height, width, channels)`.
        generator: `numpy.random.Generator`.

    Returns:
        A float32 array of the same shape.

    Raises:
        ValueError: If the function fails, or its result is no such image.
    """
    try:
        # The function may write into what it gets.
        result = np.asarray(function(image.copy(), generator), "float32")
    except Exception as error:
        raise ValueError(
            "`augmentation` must take an image of shape (height, width, "
            "channels) and a `numpy.random.Generator`, and return an image. "
            f"Received: {function!r}, which raised {type(error).__name__}: "
            f"{error}"
        ) from error
    if result.shape != image.shape or not np.isfinite(result).all():
        raise ValueError(
            "`augmentation` must return an image of the shape that it gets, "
            f"{image.shape}, of finite numbers. Received: {function!r}, which "
            f"returned shape {result.shape}"
        )
    return result
