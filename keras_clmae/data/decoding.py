"""From the bytes of a picture file to pixels, inside `tf.data`."""

import io

import numpy as np

from keras_clmae.data.dependencies import require

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
                "Argument `channels` must be 1, 3 or 4 where pictures are to "
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
            pixels = orient(pixels, exif_orientation(contents))
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
        tf = self._tf
        start = tf.strings.substr(contents, 0, 4)

        def is_format(name):
            return tf.equal(start, SIGNATURES[name])

        def in_python():
            return tf.numpy_function(
                _decode_in_python, [contents], "float32", stateful=False
            )

        def gif():
            return tf.cast(tf.io.decode_gif(contents)[0], "float32")

        def png():
            channels = self.channels if self.convert else 0
            return tf.cast(
                tf.io.decode_png(contents, channels=channels), "float32"
            )

        is_bitmap = tf.equal(tf.strings.substr(contents, 0, 2), b"BM")
        is_python = is_bitmap | is_format("WebP") | is_format("NumPy")
        # Anything else is given to the PNG decoder, which refuses it.
        pixels = tf.case(
            [(is_python, in_python), (is_format("GIF"), gif)], default=png
        )
        pixels = tf.ensure_shape(pixels, (None, None, None))
        if self.convert:
            pixels = self._convert(pixels)
        return tf.ensure_shape(pixels, (None, None, self.channels))

    def _convert(self, pixels):
        tf = self._tf
        received = tf.shape(pixels)[-1]
        # Grey (with alpha): one colour channel. Otherwise three come first.
        colour = tf.cond(
            received < 3,
            lambda: tf.repeat(pixels[..., :1], 3, axis=-1),
            lambda: pixels[..., :3],
        )
        if self.channels == 1:
            return tf.cond(
                received < 3,
                lambda: pixels[..., :1],
                lambda: tf.image.rgb_to_grayscale(colour),
            )
        if self.channels == 3:
            return colour
        alpha = tf.cond(
            tf.equal(received % 2, 0),
            lambda: pixels[..., -1:],
            lambda: tf.fill(tf.shape(pixels[..., :1]), 255.0),
        )
        return tf.concat([colour, alpha], axis=-1)


def exif_orientation(contents):
    """Reads how a photograph is to be turned.

    Args:
        contents: Scalar string tensor, a JPEG file.

    Returns:
        Scalar int32 tensor from 1 (upright, or not told) to 8.
    """
    tf = require("tensorflow", "Reading picture files")

    def split(text, separator):
        return tf.raw_ops.StringSplitV2(input=[text], sep=separator).values

    def after(text, separator):
        """Text after the first separator; a 1 where there is none."""
        parts = split(text, separator)
        return tf.cond(
            tf.size(parts) > 1,
            lambda: tf.strings.join([parts[1], b"\x01"]),
            lambda: tf.constant(b"\x01"),
        )

    def parse():
        head = tf.strings.substr(contents, 0, _EXIF_SEARCH_BYTES)
        block = after(head, b"Exif\x00\x00")
        little_endian = tf.equal(tf.strings.substr(block, 0, 2), b"II")
        # Tag 0x0112 (orientation), type 3 (short), one value.
        entry = tf.where(
            little_endian,
            b"\x12\x01\x03\x00\x01\x00\x00\x00",
            b"\x01\x12\x00\x03\x00\x00\x00\x01\x00",
        )
        first = tf.strings.substr(after(block, entry), 0, 1)
        value = tf.cast(tf.io.decode_raw(first, "uint8")[0], "int32")
        return tf.where((value >= 1) & (value <= 8), value, 1)

    start = tf.strings.substr(contents, 0, _EXIF_START_BYTES)
    has_exif = tf.strings.regex_full_match(start, r"(?s)\C*Exif\C*")
    return tf.cond(has_exif, parse, lambda: 1)


def orient(pixels, orientation):
    """Turns a picture upright.

    Args:
        pixels: Tensor of shape `(height, width, channels)`.
        orientation: Scalar int32 tensor, the Exif orientation, 1 to 8.

    Returns:
        A tensor of shape `(height, width, channels)`, or
        `(width, height, channels)` for orientations from 5 on.
    """
    tf = require("tensorflow", "Reading picture files")

    def turn():
        turned = tf.cond(
            orientation >= 5,
            lambda: tf.transpose(pixels, (1, 0, 2)),
            lambda: pixels,
        )
        flips = [
            tf.reduce_any(tf.equal(orientation, (3, 4, 7, 8))),
            tf.reduce_any(tf.equal(orientation, (2, 3, 6, 7))),
            False,
        ]
        return tf.raw_ops.Reverse(tensor=turned, dims=flips)

    return tf.cond(orientation > 1, turn, lambda: pixels)


def _decode_in_python(contents):
    """Decodes a BMP, WebP or NumPy file; TensorFlow reads none of them fully.

    Its BMP decoder takes the numbers of a palette for grey levels, and older
    releases know no WebP.
    """
    # TensorFlow passes bytes in a graph, an array of them outside of one.
    contents = contents if isinstance(contents, bytes) else contents.item()
    if contents.startswith(SIGNATURES["NumPy"]):
        pixels = np.load(io.BytesIO(contents), allow_pickle=False)
        if pixels.dtype == np.uint16:
            pixels = pixels / np.float32(257)
        elif np.issubdtype(pixels.dtype, np.floating):
            pixels = pixels * np.float32(255)
        elif pixels.dtype != np.uint8:
            raise ValueError(f"pixels of the type {pixels.dtype}")
    else:
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
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    return np.ascontiguousarray(pixels, "float32")
