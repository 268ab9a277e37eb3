"""From the bytes of a picture file to pixels, inside `tf.data`."""

import io
import struct

import numpy as np

from keras_clmae.optional_imports import require

# The formats are told by their first bytes, whatever the file is called.
SIGNATURES = {
    "JPEG": b"\xff\xd8",
    "PNG": b"\x89PNG",
    "GIF": b"GIF8",
    "BMP": b"BM",
    "WebP": b"RIFF",
    "NumPy": b"\x93NUM",
}
EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".npy")

# Gives the same pixels as Pillow; the faster one saves nothing to speak of.
_DCT_METHOD = "INTEGER_ACCURATE"

# The Exif block of a photograph comes first in the file, or after a short JFIF
# block, and the list that holds the orientation comes first in the block.
_EXIF_START_BYTES = 64
_EXIF_SEARCH_BYTES = 4096

# By Exif orientation (0 is none): what is exchanged, after rows and columns
# have been from 5 on. Exif 2.32, tag 0x0112.
_UPSIDE_DOWN = np.isin(np.arange(9), (3, 4, 7, 8))
_LEFT_RIGHT = np.isin(np.arange(9), (2, 3, 6, 7))

# Red, green and blue in the brightness of a picture: ITU-R BT.601.
_LUMA = np.float32([[0.2989], [0.587], [0.114]])


class PictureDecoder:
    """Decodes JPEG, PNG, GIF (first frame), BMP, WebP and NumPy pictures.

    A JPEG's Exif orientation is applied. 16 bits a channel become 8. NumPy
    arrays of shape `(height, width)` or `(height, width, channels)` may be
    uint8, uint16 (65535 is white) or floats (1 is white).

    Args:
        channels: Positive integer, channels of the result.
        convert: Boolean, whether to convert pictures that have another
            number of channels (to grey, to RGB, alpha left out or opaque)
            instead of failing on them.
    """

    def __init__(self, channels, convert):
        if convert and channels not in (1, 3, 4):
            raise ValueError(
                "`channels` must be 1, 3 or 4 where pictures are to "
                "be converted, or `None` to take them as they are. "
                f"Received: channels={channels}"
            )
        self.channels = channels
        self.convert = convert
        self._tf = require("tensorflow", "Reading picture files")

    def is_jpeg(self, contents):
        """Tells whether the bytes are those of a JPEG file.

        Args:
            contents: Scalar string tensor.

        Returns:
            Scalar boolean tensor.
        """
        start = self._tf.strings.substr(contents, 0, 2)
        return self._tf.equal(start, SIGNATURES["JPEG"])

    def decode(self, contents):
        """Decodes a whole picture, turned upright.

        Args:
            contents: Scalar string tensor, a file of any of the formats.

        Returns:
            A float32 tensor of shape `(height, width, channels)`, 0 is black
            and 255 white.
        """
        tf = self._tf

        def jpeg():
            pixels = tf.io.decode_jpeg(
                contents, self._jpeg_channels, dct_method=_DCT_METHOD
            )
            orientation = exif_orientation(contents)
            pixels = reverse(transpose(pixels, orientation), orientation)
            return tf.cast(self._from_jpeg(pixels), "float32")

        return tf.cond(
            self.is_jpeg(contents),
            jpeg,
            lambda: self.decode_other(contents),
        )

    def decode_jpeg_window(self, contents, window, reduction):
        """Decodes a part of a JPEG picture, not turned upright.

        Args:
            contents: Scalar string tensor, a JPEG file.
            window: Integer tensor `(top, left, height, width)` in pixels of
                the reduced picture.
            reduction: 1, 2, 4 or 8: the picture is made smaller by this
                factor while it is decoded, which is cheap.

        Returns:
            A uint8 tensor of shape `(height, width, channels)`.
        """
        pixels = self._tf.raw_ops.DecodeAndCropJpeg(
            contents=contents,
            crop_window=window,
            channels=self._jpeg_channels,
            ratio=reduction,
            dct_method=_DCT_METHOD,
        )
        return self._from_jpeg(pixels)

    @property
    def _jpeg_channels(self):
        if not self.convert:
            return 0
        return min(self.channels, 3)

    def _from_jpeg(self, pixels):
        tf = self._tf
        if self.convert and self.channels == 4:
            alpha = tf.fill(
                tf.shape(pixels[..., :1]), tf.constant(255, "uint8")
            )
            pixels = tf.concat([pixels, alpha], axis=-1)
        # Fails where a grey picture comes among coloured ones.
        return tf.ensure_shape(pixels, (None, None, self.channels))

    def decode_other(self, contents):
        """Decodes a picture that is not a JPEG file.

        Args:
            contents: Scalar string tensor.

        Returns:
            A float32 tensor of shape `(height, width, channels)`.
        """
        # One node of the graph: the many that it stands for would be visited
        # for JPEG files too, which takes a fifth of their time.
        pixels = self._tf.numpy_function(
            self._decode_other, [contents], "float32", stateful=False
        )
        return self._tf.ensure_shape(pixels, (None, None, self.channels))

    def _decode_other(self, contents):
        # TensorFlow passes bytes in a graph, an array of them outside of one.
        contents = contents if isinstance(contents, bytes) else contents.item()
        pixels = _read_pixels(self._tf, contents)
        if self.convert:
            pixels = _convert(pixels, self.channels)
        return np.ascontiguousarray(pixels, "float32")


def _read_pixels(tf, contents):
    """Reads a file that is not a JPEG: (height, width, channels), 0 to 255."""
    if contents.startswith(SIGNATURES["NumPy"]):
        return _read_numpy(contents)
    if contents.startswith((SIGNATURES["BMP"], SIGNATURES["WebP"])):
        return _read_with_pillow(contents)
    if contents.startswith(SIGNATURES["GIF"]):
        return tf.io.decode_gif(contents)[0].numpy()
    # Anything else is given to the PNG decoder, which refuses it.
    return tf.io.decode_png(contents).numpy()


def _read_numpy(contents):
    pixels = np.load(io.BytesIO(contents), allow_pickle=False)
    if pixels.dtype == np.uint16:
        pixels = pixels / np.float32(257)
    elif np.issubdtype(pixels.dtype, np.floating):
        pixels = pixels * np.float32(255)
    elif pixels.dtype != np.uint8:
        raise ValueError(f"pixels of the type {pixels.dtype}")
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _read_with_pillow(contents):
    """Reads BMP and WebP, neither of which TensorFlow reads fully.

    Its BMP decoder takes the numbers of a palette for grey levels, and older
    releases know no WebP.
    """
    require("PIL", "Reading BMP and WebP pictures")
    from PIL import Image
    from PIL import ImageOps

    with Image.open(io.BytesIO(contents)) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in ("1", "I;16"):
            picture = picture.convert("L")
        elif picture.mode not in ("L", "LA", "RGB", "RGBA"):
            transparent = picture.has_transparency_data
            picture = picture.convert("RGBA" if transparent else "RGB")
        pixels = np.asarray(picture)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _convert(pixels, channels):
    """Grey (with alpha) or colour (with alpha) to another of these."""
    received = pixels.shape[-1]
    if received == channels:
        return pixels
    # Grey has one colour channel; otherwise three come first.
    colour = pixels[..., : 1 if received < 3 else 3]
    if channels == 1:
        return colour @ _LUMA if received >= 3 else colour
    colour = np.broadcast_to(colour, (*colour.shape[:2], 3))
    if channels == 3:
        return colour
    opaque = np.full_like(colour[..., :1], 255)
    alpha = pixels[..., -1:] if received % 2 == 0 else opaque
    return np.concatenate([colour, alpha], axis=-1)


def exif_orientation(contents):
    """Reads how a photograph is to be turned.

    Args:
        contents: Scalar string tensor, a JPEG file.

    Returns:
        Scalar int32 tensor from 1 (upright, or not told) to 8.
    """
    tf = require("tensorflow", "Reading picture files")

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
    """Exchanges rows and columns of a picture that lies on its side.

    With `reverse` after it the picture is upright.

    Args:
        pixels: Tensor of shape `(height, width, channels)`.
        orientation: Scalar int32 tensor, the Exif orientation, 1 to 8.

    Returns:
        A tensor of shape `(height, width, channels)`, or
        `(width, height, channels)` for orientations from 5 on.
    """
    tf = require("tensorflow", "Reading picture files")
    return tf.cond(
        orientation >= 5,
        lambda: tf.transpose(pixels, (1, 0, 2)),
        lambda: pixels,
    )


def reverse(pixels, orientation, mirror=False):
    """Exchanges top and bottom, left and right of a picture, as is due.

    Args:
        pixels: Tensor of shape `(height, width, channels)`.
        orientation: Scalar int32 tensor, the Exif orientation, 1 to 8.
        mirror: Scalar boolean tensor, whether to exchange left and right of
            the upright picture. Defaults to `False`.

    Returns:
        A tensor of the same shape.
    """
    tf = require("tensorflow", "Reading picture files")
    upside_down = tf.gather(_UPSIDE_DOWN, orientation)
    left_right = tf.gather(_LEFT_RIGHT, orientation) ^ mirror
    return tf.cond(
        upside_down | left_right,
        lambda: tf.raw_ops.Reverse(
            tensor=pixels, dims=[upside_down, left_right, False]
        ),
        lambda: pixels,
    )
