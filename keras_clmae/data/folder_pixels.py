"""Read all images of a folder once."""

import os

import numpy as np

from keras_clmae.data.damage import diagnose
from keras_clmae.data.damage import display_name
from keras_clmae.data.damage import find_readable
from keras_clmae.optional_imports import require


def without_damaged(images, decoder):
    """Leaves out the images that cannot be read.

    Args:
        images: An `ImageList`.
        decoder: An `ImageDecoder`.

    Returns:
        A pair: an `ImageList`, and a dict of the others, names to reasons.

    Raises:
        ValueError: If no image can be read.
    """
    tf = require("tensorflow", "`image_folder`")
    paths = images.paths
    path_tensor = tf.constant([os.fsencode(path) for path in paths])

    @tf.autograph.experimental.do_not_convert
    def check(number):
        pixels = decoder.decode(tf.io.read_file(path_tensor[number]))
        # The size goes along, or else decoding would be optimized away.
        return number, tf.size(pixels)

    def describe(epoch, position):
        path = paths[position]
        return display_name(path), diagnose(path, decoder)

    checked = tf.data.Dataset.range(len(paths)).map(
        check, num_parallel_calls=tf.data.AUTOTUNE
    )
    is_readable, skipped = find_readable(
        checked, len(paths), images.root, describe
    )
    if not is_readable.any():
        raise ValueError(
            "`path` must be a folder with images that can be read. "
            f"Received: {images.root!r}, with not a single one"
        )
    return images.select(is_readable), skipped


def decode_all(images, decoder):
    """Decodes all images to one array.

    Args:
        images: An `ImageList`, of images of one size that can be read.
        decoder: An `ImageDecoder`.

    Returns:
        Array of shape `(images, height, width, channels)`, 0 is black and 255
        white: uint8, or float32 where an image has other levels.

    Raises:
        ValueError: If the sizes differ.
    """
    tf = require("tensorflow", "`image_folder`")
    paths = tf.constant([os.fsencode(path) for path in images.paths])

    @tf.autograph.experimental.do_not_convert
    def decode(number):
        return decoder.decode(tf.io.read_file(paths[number]))

    decoded = tf.data.Dataset.range(len(images)).map(
        decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    stacked = None
    for number, pixels in enumerate(decoded.as_numpy_iterator()):
        if stacked is None:
            stacked = np.empty((len(images), *pixels.shape), "uint8")
        if pixels.shape != stacked.shape[1:]:
            sizes = "{1} x {0} and {3} x {2}".format(
                *stacked.shape[1:3], *pixels.shape[:2]
            )
            raise ValueError(
                '`cache` must not be "device" for images of several sizes; '
                f'pass "memory". Received: images of {sizes} pixels, in '
                f"{display_name(images.paths[0])!r} and "
                f"{display_name(images.paths[number])!r}"
            )
        if stacked.dtype == "uint8" and (pixels != np.rint(pixels)).any():
            # More than 8 bits per channel, or colors turned into gray.
            stacked = stacked.astype("float32")
        stacked[number] = pixels
    return stacked
