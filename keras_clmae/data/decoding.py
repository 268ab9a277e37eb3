"""Decode the bytes of image files to pixels, inside `tf.data`."""

import contextlib
import io

import numpy as np

from keras_clmae.data.orientation import exif_orientation
from keras_clmae.data.orientation import reverse
from keras_clmae.data.orientation import transpose
from keras_clmae.data.scientific import is_dicom
from keras_clmae.data.scientific import is_tiff
from keras_clmae.data.scientific import read_dicom
from keras_clmae.data.scientific import read_tiff
from keras_clmae.optional_imports import require

# The formats are told by their first bytes, whatever the file is called. These
# are read by TensorFlow and NumPy, all others by Pillow.
SIGNATURES = {
    "JPEG": b"\xff\xd8",
    "PNG": b"\x89PNG",
    "GIF": b"GIF8",
    "NumPy": b"\x93NUM",
}
# What Pillow reads without another program, NumPy's arrays, and DICOM.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".npy"),
    *(".bmp", ".dib", ".webp", ".tif", ".tiff", ".avif", ".avifs"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpc"),
    *(".jpf", ".jpx", ".tga", ".pcx", ".sgi", ".rgb", ".rgba", ".bw", ".dds"),
    *(".ico", ".icns", ".psd", ".qoi", ".xbm", ".xpm", ".im", ".msp", ".fli"),
    # By pydicom.
    ".dcm",
)

# For messages.
KINDS = "JPEG, PNG, TIFF and others that Pillow reads, DICOM, or `.npy`"

# Where a PNG file says how many bits a channel has.
_PNG_DEPTH_BYTE = 24
# 16 bits per channel become 0 to 255, with fractions.
_FROM_16_BITS = np.float32(1 / 257)

# How far floats may miss 0 and 1: resizing and float16 overshoot a little.
_ROUNDING = 0.25

# A JPEG decoder can make an image smaller by these factors almost for free.
REDUCTIONS = (1, 2, 4, 8)
# Gives the same pixels as Pillow; the faster one saves nothing to speak of.
_DCT_METHOD = "INTEGER_ACCURATE"

# Red, green and blue in the brightness of an image: ITU-R BT.601.
_LUMA = np.float32([[0.2989], [0.587], [0.114]])


class ImageDecoder:
    """Decodes JPEG, PNG, GIF and NumPy images, and whatever else Pillow reads.

    Of files with several frames or pages the first one is taken. An Exif
    orientation is applied. 16 bits per channel keep all their levels (in
    TIFF, Pillow does so for gray images; colors come with 8 bits). NumPy
    arrays of shape `(height, width)` or `(height, width, channels)` may be
    uint8, uint16 (65535 is white) or floats (1 is white).

    Args:
        channels: int. Channels of the result.
        convert: bool. Whether to convert images that have another
            number of channels (to gray, to RGB, alpha left out or opaque)
            instead of failing on them.

    Raises:
        ValueError: If images are to be converted to another number of channels
            than 1, 3 or 4.
    """

    def __init__(self, channels, convert):
        if convert and channels not in (1, 3, 4):
            raise ValueError(
                "`channels` must be 1, 3 or 4 where images are to "
                "be converted, or `None` to take them as they are. "
                f"Received: channels={channels}"
            )
        self.channels = channels
        self.convert = convert
        self._tf = require("tensorflow", "Reading image files")

    def is_jpeg(self, contents):
        """Tells whether the bytes are those of a JPEG file.

        Args:
            contents: scalar string tensor.

        Returns:
            Scalar boolean tensor.
        """
        start = self._tf.strings.substr(contents, 0, 2)
        return self._tf.equal(start, SIGNATURES["JPEG"])

    def decode(self, contents):
        """Decodes a whole image, turned upright.

        Args:
            contents: scalar string tensor. A file of any of the formats.

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

    def decode_reduced_jpeg(self, contents, index):
        """Decodes a whole JPEG image at a smaller scale, not turned upright.

        Args:
            contents: scalar string tensor. A JPEG file.
            index: scalar int32 tensor, into `REDUCTIONS`.

        Returns:
            A float32 tensor of shape `(height, width, channels)`. Where the
            reduction does not divide a side, the last pixel reaches beyond it.
        """
        tf = self._tf

        def decode(reduction):
            return lambda: tf.io.decode_jpeg(
                contents,
                self._jpeg_channels,
                ratio=reduction,
                dct_method=_DCT_METHOD,
            )

        pixels = tf.switch_case(index, [decode(r) for r in REDUCTIONS])
        return tf.cast(self._from_jpeg(pixels), "float32")

    def decode_jpeg_window(self, contents, window, reduction):
        """Decodes a part of a JPEG image, not turned upright.

        Args:
            contents: scalar string tensor. A JPEG file.
            window: int tensor `(top, left, height, width)` in pixels of
                the reduced image.
            reduction: 1, 2, 4 or 8: the image is made smaller by this
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
        # Fails where a gray image comes among colored ones.
        return tf.ensure_shape(pixels, (None, None, self.channels))

    def decode_other(self, contents):
        """Decodes an image that is not a JPEG file.

        Args:
            contents: scalar string tensor.

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
        pixels = read_pixels(contents)
        if self.convert:
            pixels = _convert(pixels, self.channels)
        return np.ascontiguousarray(pixels, "float32")


def jpeg_channels(contents):
    """Reads how many channels a JPEG file is decoded to.

    Args:
        contents: bytes of the file, or scalar string tensor.

    Returns:
        int. A JPEG of four channels is CMYK, and is decoded to RGB.
    """
    tf = require("tensorflow", "Reading image files")
    return min(int(tf.io.extract_jpeg_shape(contents)[2]), 3)


def read_pixels(contents):
    """Reads an image file that is not a JPEG.

    Args:
        contents: bytes of the file.

    Returns:
        Array of shape `(height, width, channels)`, 0 is black and 255 white.

    Raises:
        UnsupportedPixels: If the pixels are of a type without a known white.
        Exception: Whatever the decoder raises for damaged data.
    """
    tf = require("tensorflow", "Reading image files")
    if contents.startswith(SIGNATURES["NumPy"]):
        return _read_numpy(contents)
    if contents.startswith(SIGNATURES["GIF"]):
        return tf.io.decode_gif(contents)[0].numpy()
    if contents.startswith(SIGNATURES["PNG"]):
        if contents[_PNG_DEPTH_BYTE : _PNG_DEPTH_BYTE + 1] != b"\x10":
            return tf.io.decode_png(contents).numpy()
        return tf.io.decode_png(contents, dtype="uint16").numpy() * (
            _FROM_16_BITS
        )
    if is_dicom(contents):
        return read_dicom(contents) * np.float32(255)
    if is_tiff(contents):
        # Many channels, 16 bits. Pillow reads the rest, and all of them where
        # tifffile is not installed.
        with contextlib.suppress(ImportError, ValueError):
            pixels = read_tiff(contents, pages_as_channels=False)
            return pixels * np.float32(255)
    return _read_with_pillow(contents)


class UnsupportedPixels(ValueError):
    """Error about pixels of a type whose black and white are not known."""


def _read_numpy(contents):
    pixels = np.load(io.BytesIO(contents), allow_pickle=False)
    if pixels.dtype == np.uint16:
        pixels = pixels * _FROM_16_BITS
    elif np.issubdtype(pixels.dtype, np.floating):
        low, high = pixels.min(), pixels.max()
        # Not a number compares as false, and is refused too.
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise UnsupportedPixels(
                f"its pixels are {pixels.dtype} from {low:.6g} to {high:.6g}, "
                "and floats must be from 0, black, to 1, white; divide them, "
                "for instance by 255"
            )
        pixels = pixels * np.float32(255)
    elif pixels.dtype != np.uint8:
        raise UnsupportedPixels(
            f"its pixels are {pixels.dtype}; uint8, uint16 and floats (1 is "
            "white) can be read"
        )
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _read_with_pillow(contents):
    """Reads the files that TensorFlow cannot read, or not fully.

    Its BMP decoder takes the numbers of a palette for gray levels, and older
    releases know no WebP.
    """
    require("PIL", "Reading image files")
    from PIL import Image
    from PIL import ImageOps

    with Image.open(io.BytesIO(contents)) as image:
        source_format = image.format
        image = ImageOps.exif_transpose(image)
        # Pillow scales the PGM files of more than 8 bits to 16 of 32.
        has_16_bits = image.mode.startswith("I;16") or (
            image.mode == "I" and source_format == "PPM"
        )
        if image.mode in ("I", "F") and not has_16_bits:
            raise UnsupportedPixels(
                "its pixels have 32 bits, whose black and white are not told; "
                "save them as floats from 0 to 1 in a `.npy` file"
            )
        if image.mode == "1":
            image = image.convert("L")
        elif not has_16_bits and image.mode not in ("L", "LA", "RGB", "RGBA"):
            transparent = image.has_transparency_data
            image = image.convert("RGBA" if transparent else "RGB")
        pixels = np.asarray(image)
    if has_16_bits:
        pixels = pixels * _FROM_16_BITS
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _convert(pixels, channels):
    """Converts between gray and color, each with or without alpha."""
    received = pixels.shape[-1]
    if received == channels:
        return pixels
    # Gray has one color channel; otherwise three come first.
    color = pixels[..., : 1 if received < 3 else 3]
    if channels == 1:
        return color @ _LUMA if received >= 3 else color
    color = np.broadcast_to(color, (*color.shape[:2], 3))
    if channels == 3:
        return color
    opaque = np.full_like(color[..., :1], 255)
    alpha = pixels[..., -1:] if received % 2 == 0 else opaque
    return np.concatenate([color, alpha], axis=-1)
