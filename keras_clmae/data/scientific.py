"""Read DICOM and TIFF images, of many bits and many channels."""

import io
import os

import numpy as np

from keras_clmae.optional_imports import require

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# After 128 bytes that mean nothing: DICOM PS3.10, 7.1.
_DICOM_SIGNATURE = (128, b"DICM")
# TIFF 6.0, tag 262: PhotometricInterpretation.
_MIN_IS_WHITE = 0
_PALETTE = 3
_ORIENTATION = 274
# Axes of `tifffile` that are channels: samples and channels, and pages to which
# a file gives no meaning. Of the others (time, depth, ...) the first is taken.
_CHANNEL_AXES = "SC"
_PAGE_AXES = "QI"


def is_dicom(contents):
    """Tells whether bytes are those of a DICOM file.

    Args:
        contents: bytes of a file.

    Returns:
        bool.
    """
    start, signature = _DICOM_SIGNATURE
    return contents[start : start + len(signature)] == signature


def is_tiff(contents):
    """Tells whether bytes are those of a TIFF file.

    Args:
        contents: bytes of a file.

    Returns:
        bool.
    """
    return contents.startswith(_TIFF_SIGNATURES)


def read_scientific(source, window=None):
    """Reads a DICOM or TIFF image as floats from 0, black, to 1, white.

    See `read_dicom` and `read_tiff` for how values become 0 to 1.

    Args:
        source: str or path object, or the bytes of a file.
        window: pair of float. See `read_dicom`; TIFF files have none.
            Defaults to `None`.

    Returns:
        A float32 array of shape `(height, width, channels)`.

    Raises:
        ImportError: If the package that reads the file is not installed.
        ValueError: If it is neither DICOM nor TIFF, or damaged.

    Example:

    ```python
    pixels = keras_clmae.data.read_scientific("slice.dcm", window=(40, 400))
    ```
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            source = file.read()
    if is_dicom(source):
        return read_dicom(source, window)
    if is_tiff(source):
        return read_tiff(source)
    raise ValueError("it is neither a DICOM nor a TIFF file")


def read_dicom(contents, window=None):
    """Reads the image of a DICOM file, the first of several frames.

    Stored values are rescaled (`RescaleSlope` and `RescaleIntercept`, or the
    modality's table: Hounsfield units for CT), and then windowed: by `window`
    if it is given, or else by the first window of the file, or else by its
    table (`VOILUTSequence`). The window's lower end becomes 0, its upper end
    1, and what lies beyond is cut off. Without any window, 0 to 1 is all that
    the file's bits can hold (`BitsStored`), the same for all files of a
    device. `MONOCHROME1`, where small values are bright, is inverted. Colors
    become RGB, are not windowed, and are divided by their largest value.

    Args:
        contents: bytes of a file.
        window: pair of float. Center and width in rescaled units, or `None`.
            Defaults to `None`.

    Returns:
        A float32 array of shape `(height, width, channels)`, one channel or
        three.

    Raises:
        ImportError: If the package `pydicom` is not installed.
        ValueError: If the file is damaged, or has no image that can be read.
    """
    pydicom = require("pydicom", "Reading DICOM images")
    pixels = require("pydicom.pixels", "Reading DICOM images")
    try:
        file = pydicom.dcmread(io.BytesIO(contents))
        values = pixels.pixel_array(file, index=0)
        kind = file.PhotometricInterpretation
        if kind == "PALETTE COLOR":
            values = pixels.apply_color_lut(values, file)
            return np.float32(values / np.iinfo(values.dtype).max)
        if values.ndim == 3:
            return np.float32(values / (2.0**file.BitsStored - 1))
        if window is not None:
            file.WindowCenter, file.WindowWidth = map(float, window)
            file.VOILUTFunction = "LINEAR"
        levels = _window(pixels, file, values)
    except ImportError:
        raise
    # pydicom raises errors of many kinds for what a damaged file lacks.
    except Exception as error:
        raise ValueError(f"the DICOM data cannot be read: {error}") from error
    if kind == "MONOCHROME1":
        levels = 1 - levels
    return np.float32(levels)[..., np.newaxis]


def _window(pixels, file, values):
    """Rescales and windows stored values, to floats from 0 to 1."""
    bits = file.BitsStored
    low = -(2 ** (bits - 1)) if file.PixelRepresentation else 0
    ends = np.array([low, low + 2**bits - 1])
    # The ends go through the same steps, and tell what black and white are.
    values = pixels.apply_modality_lut(values, file)
    ends = np.sort(pixels.apply_modality_lut(ends, file))
    if "WindowCenter" in file and "WindowWidth" in file:
        values = pixels.apply_windowing(values, file)
        # As far beyond any window as can be.
        with np.errstate(over="ignore"):
            ends = pixels.apply_windowing(np.array([-1e30, 1e30]), file)
    elif file.get("VOILUTSequence"):
        values = pixels.apply_voi(values, file)
        # The third number of a table's descriptor are its bits.
        ends = np.array([0, 2 ** file.VOILUTSequence[0].LUTDescriptor[2] - 1])
    levels = (values - ends[0]) / (ends[1] - ends[0])
    return np.clip(levels, 0, 1)


def read_tiff(contents, pages_as_channels=True):
    """Reads the first image of a TIFF file, with all of its channels.

    Channels may lie in the samples of each pixel, in planes, or in pages of
    one size. Of a stack in time or depth the first image is taken. Integers
    are divided by the largest value of their bits (65535 for 16), signed ones
    after they are shifted to begin at 0; floats must be from 0 to 1. Files
    where 0 is white are inverted, colors of a palette looked up, and images
    that lie on their side turned upright.

    Args:
        contents: bytes of a file.
        pages_as_channels: bool. Whether pages of one size are channels where
            the file does not say what they are; otherwise the first page is
            taken. Defaults to `True`.

    Returns:
        A float32 array of shape `(height, width, channels)`.

    Raises:
        ImportError: If the package `tifffile` is not installed.
        ValueError: If the file is damaged, or its white is not known: of
            integers of more than 16 bits, and of floats beyond 0 to 1.
    """
    tifffile = require("tifffile", "Reading TIFF images")
    try:
        with tifffile.TiffFile(io.BytesIO(contents)) as file:
            series = file.series[0]
            values, axes = series.asarray(), series.axes
            page = series.keyframe
            kind, bits = int(page.photometric), page.bitspersample
            palette = page.colormap
            turn = page.tags.get(_ORIENTATION)
            turn = 1 if turn is None else int(turn.value)
    except ImportError:
        raise
    # tifffile raises errors of many kinds for what a damaged file lacks.
    except Exception as error:
        raise ValueError(f"the TIFF data cannot be read: {error}") from error
    channel_axes = _CHANNEL_AXES + _PAGE_AXES * pages_as_channels
    values = _upright(_channels_last(values, axes, channel_axes), turn)
    if kind == _PALETTE and palette is not None:
        return np.float32(np.moveaxis(palette, 0, -1)[values[..., 0]] / 65535)
    levels = _unit_range(values, bits)
    return 1 - levels if kind == _MIN_IS_WHITE else levels


def _channels_last(values, axes, channel_axes):
    """Brings values to (height, width, channels), by the letters of axes."""
    order = []
    for position in reversed(range(len(axes))):
        letter = axes[position]
        if letter in "YX":
            continue
        if letter in channel_axes:
            order.insert(0, letter)
        else:
            values = np.take(values, 0, axis=position)
            axes = axes[:position] + axes[position + 1 :]
    if not {"Y", "X"} <= set(axes):
        raise ValueError(f"the TIFF data has the axes {axes!r}, no image")
    places = [axes.index(letter) for letter in ("Y", "X", *order)]
    values = np.transpose(values, places)
    return values.reshape(*values.shape[:2], -1)


def _upright(values, orientation):
    """Turns (height, width, channels) by the number of TIFF 6.0, tag 274."""
    if orientation >= 5:
        values = np.swapaxes(values, 0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


def _unit_range(values, bits):
    """Brings the values of a type to 0 to 1, as float32."""
    kind = values.dtype.kind
    if kind == "b":
        return np.float32(values)
    if kind == "u" and bits <= 16:
        # 1, 2, 4 or 12 bits come in types of more.
        return np.float32(values / (2.0**bits - 1))
    if kind == "i" and bits <= 16:
        return np.float32((values + 2.0 ** (bits - 1)) / (2.0**bits - 1))
    if kind == "f" and values.min() >= 0 and values.max() <= 1:
        return np.float32(values)
    raise ValueError(
        f"the TIFF data are {values.dtype} from {values.min()} to "
        f"{values.max()}, whose white is not known; save them as floats from "
        "0 to 1"
    )
