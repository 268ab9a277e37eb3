"""Turn the image of a record into the bytes of an image file."""

import io
import os

import numpy as np

_WHITE_OF_16_BITS = 65535
_ARRAY_TYPES = "uint8, uint16 (65535 is white) or floats (1 is white)"


def image_bytes(value):
    """Turns the image of a record into the bytes of an image file.

    Encoded images stay as they are, so that the random crop decodes the
    window of a JPEG only. Everything else becomes the bytes of a `.npy` file,
    which the decoder knows.

    Args:
        value: bytes of an image file; a path; a dictionary with `bytes` or
            `path`, as Hugging Face stores images; a Pillow image; or an array
            of shape `(height, width)` or `(height, width, channels)` of
            uint8, uint16 or floats. A PyTorch tensor of three axes is
            `(channels, height, width)`, as torchvision has it.

    Returns:
        Bytes.

    Raises:
        ValueError: If the value is no image.
        OSError: If the file of a path cannot be read.
    """
    if isinstance(value, dict):
        found = value.get("bytes")
        value = value.get("path") if found is None else found
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (str, os.PathLike)):
        with open(value, "rb") as file:
            return file.read()
    if value is None:
        raise ValueError("the record has no image")
    is_torch = type(value).__module__.partition(".")[0] == "torch"
    if hasattr(value, "getbands"):
        value = _upright_pillow(value)
    pixels = np.asarray(value)
    if is_torch and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    is_float = np.issubdtype(pixels.dtype, np.floating)
    if pixels.ndim not in (2, 3) or not (
        is_float or pixels.dtype in (np.uint8, np.uint16)
    ):
        raise ValueError(
            "the record is not an image of two or three axes of "
            f"{_ARRAY_TYPES}, but {pixels.dtype} of shape {pixels.shape}"
        )
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    return file.getvalue()


def _upright_pillow(image):
    """Turns an open Pillow image upright, in a mode whose array is pixels."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I"):
        # What Pillow holds in 32 bits comes from files of 16, but for some.
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > _WHITE_OF_16_BITS:
            raise ValueError(
                f"its pixels have 32 bits, from {pixels.min()} to "
                f"{pixels.max()}, whose black and white are not told"
            )
        return pixels.astype("uint16")
    if image.mode in ("L", "LA", "RGB", "RGBA", "F"):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
