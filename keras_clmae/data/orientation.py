"""Turn photographs upright, as their Exif block says."""

import struct

import numpy as np

from keras_clmae.optional_imports import require

# The Exif block of a photograph comes first in the file, or after a short JFIF
# block, and the list that holds the orientation comes first in the block.
_EXIF_START_BYTES = 64
_EXIF_SEARCH_BYTES = 4096

# By Exif orientation (0 is none): what is exchanged, after rows and columns
# have been from 5 on. Exif 2.32, tag 0x0112.
_UPSIDE_DOWN = np.isin(np.arange(9), (3, 4, 7, 8))
_LEFT_RIGHT = np.isin(np.arange(9), (2, 3, 6, 7))


def exif_orientation(contents):
    """Reads the Exif orientation of a photograph.

    Args:
        contents: scalar string tensor. A JPEG file.

    Returns:
        Scalar int32 tensor from 1 (upright, or not told) to 8.
    """
    tf = require("tensorflow", "Reading image files")

    def parse():
        orientation = tf.numpy_function(
            _parse_orientation,
            [tf.strings.substr(contents, 0, _EXIF_SEARCH_BYTES)],
            "int32",
            stateful=False,
        )
        return tf.ensure_shape(orientation, ())

    start = tf.strings.substr(contents, 0, _EXIF_START_BYTES)
    has_exif = tf.strings.regex_full_match(start, r"(?s)\C*Exif\C*")
    return tf.cond(has_exif, parse, lambda: 1)


def _parse_orientation(head):
    head = head if isinstance(head, bytes) else head.item()
    _, _, block = head.partition(b"Exif\0\0")
    order = "<" if block.startswith(b"II") else ">"
    # Tag 0x0112 (orientation), type 3 (short), one value.
    _, _, value = block.partition(struct.pack(f"{order}HHI", 0x0112, 3, 1))
    if len(value) < 2:
        return np.int32(1)
    (orientation,) = struct.unpack(f"{order}H", value[:2])
    return np.int32(orientation if 1 <= orientation <= 8 else 1)


def transpose(pixels, orientation):
    """Exchanges rows and columns of an image that lies on its side.

    With `reverse` after it the image is upright.

    Args:
        pixels: tensor of shape `(height, width, channels)`.
        orientation: scalar int32 tensor. The Exif orientation, 1 to 8.

    Returns:
        A tensor of shape `(height, width, channels)`, or
        `(width, height, channels)` for orientations from 5 on.
    """
    tf = require("tensorflow", "Reading image files")
    return tf.cond(
        orientation >= 5,
        lambda: tf.transpose(pixels, (1, 0, 2)),
        lambda: pixels,
    )


def reversed_axes(orientation):
    """Tells which axes `reverse` turns around.

    Args:
        orientation: scalar int32 tensor. The Exif orientation, 1 to 8.

    Returns:
        A pair of scalar boolean tensors: rows, columns.
    """
    tf = require("tensorflow", "Reading image files")
    return tf.gather(_UPSIDE_DOWN, orientation), tf.gather(
        _LEFT_RIGHT, orientation
    )


def reverse(pixels, orientation, mirror=False):
    """Mirrors an image vertically and horizontally, as its orientation says.

    Args:
        pixels: tensor of shape `(height, width, channels)`.
        orientation: scalar int32 tensor. The Exif orientation, 1 to 8.
        mirror: scalar boolean tensor. Whether to exchange left and right of
            the upright image. Defaults to `False`.

    Returns:
        A tensor of the same shape.
    """
    tf = require("tensorflow", "Reading image files")
    upside_down, left_right = reversed_axes(orientation)
    left_right ^= mirror
    return tf.cond(
        upside_down | left_right,
        lambda: tf.raw_ops.Reverse(
            tensor=pixels, dims=[upside_down, left_right, False]
        ),
        lambda: pixels,
    )
