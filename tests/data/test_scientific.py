"""DICOM files made with pydicom, TIFF files made with tifffile."""

import io
import sys

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.dataset import FileDataset
from pydicom.dataset import FileMetaDataset

from keras_clmae.data.scientific import read_dicom
from keras_clmae.data.scientific import read_scientific
from keras_clmae.data.scientific import read_tiff
from tests.once import ONCE

pytestmark = ONCE

RAMP = np.arange(0, 4096, 64, "uint16").reshape(8, 8)


def dicom(pixels, bits=12, kind="MONOCHROME2", **elements):
    """Bytes of a DICOM file of these pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = pixels.shape[:2]
    file.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.ndim == 3:
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = kind
    file.BitsAllocated = 8 * pixels.dtype.itemsize
    file.BitsStored, file.HighBit = bits, bits - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(file, name, value)
    contents = io.BytesIO()
    file.save_as(contents, enforce_file_format=True)
    return contents.getvalue()


def test_dicom_without_a_window_is_what_its_bits_hold(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(RAMP))
    levels = read_scientific(path)
    assert levels.shape == (8, 8, 1) and levels.dtype == np.float32
    np.testing.assert_allclose(levels[..., 0], RAMP / 4095, rtol=1e-6)
    inverted = read_dicom(dicom(RAMP, kind="MONOCHROME1"))
    np.testing.assert_allclose(inverted, 1 - levels, atol=1e-6)
    signed = (RAMP.astype("int16") - 2048).astype("int16")
    shifted = read_dicom(dicom(signed, RescaleSlope=2, RescaleIntercept=-7))
    np.testing.assert_allclose(shifted, levels, atol=1e-6)


def test_dicom_windows():
    rescaled = RAMP.astype("float64") - 1024
    hounsfield = {"RescaleSlope": 1, "RescaleIntercept": -1024}

    def expected(center, width):
        # DICOM PS3.3, C.11.2.1.2.1.
        levels = (rescaled - (center - 0.5)) / (width - 1) + 0.5
        return np.clip(levels, 0, 1)

    own = {"WindowCenter": [40, 500], "WindowWidth": [400, 2000]}
    levels = read_dicom(dicom(RAMP, **hounsfield, **own))[..., 0]
    np.testing.assert_allclose(levels, expected(40, 400), atol=1e-6)
    assert levels.min() == 0 and levels.max() == 1
    for elements in ({}, own, {**own, "VOILUTFunction": "SIGMOID"}):
        contents = dicom(RAMP, **hounsfield, **elements)
        given = read_scientific(contents, window=(-600, 1500))[..., 0]
        np.testing.assert_allclose(given, expected(-600, 1500), atol=1e-6)
    sigmoid = read_dicom(
        dicom(RAMP, **hounsfield, **own, VOILUTFunction="SIGMOID")
    )[..., 0]
    curve = 1 / (1 + np.exp(-4 * (rescaled - 40) / 400))
    np.testing.assert_allclose(sigmoid, curve, atol=1e-5)


def test_dicom_colors_and_frames():
    colors = np.arange(8 * 8 * 3, dtype="uint8").reshape(8, 8, 3)
    levels = read_dicom(dicom(colors, bits=8, kind="RGB"))
    np.testing.assert_allclose(levels, colors / 255, rtol=1e-6)
    frames = dicom(np.concatenate([RAMP, RAMP[::-1]]), Rows=8, NumberOfFrames=2)
    np.testing.assert_allclose(
        read_dicom(frames)[..., 0], RAMP / 4095, rtol=1e-6
    )


def tiff(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [2, 5, 13])
@pytest.mark.parametrize("layout", ["contig", "separate", "pages", "imagej"])
def test_tiff_of_many_channels(channels, layout):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (9, 7, channels)).astype("uint16")
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    contents = {
        "contig": lambda: tiff(
            pixels, photometric="minisblack", planarconfig="contig"
        ),
        "separate": lambda: tiff(
            planes, photometric="minisblack", planarconfig="separate"
        ),
        "pages": lambda: tiff(planes, photometric="minisblack"),
        "imagej": lambda: tiff(planes, imagej=True, metadata={"axes": "CYX"}),
    }[layout]()
    levels = read_scientific(contents)
    assert levels.dtype == np.float32
    np.testing.assert_allclose(levels, pixels / 65535, rtol=1e-6)


def test_tiff_types():
    ramp = np.arange(64).reshape(8, 8)

    def gray(pixels, **options):
        return read_tiff(tiff(pixels, **options))[..., 0]

    np.testing.assert_allclose(gray(ramp.astype("uint8")), ramp / 255, 1e-6)
    deep = (ramp * 1000).astype("uint16")
    np.testing.assert_allclose(gray(deep), deep / 65535, 1e-6)
    assert len(np.unique(gray(deep))) == 64
    np.testing.assert_allclose(
        gray(deep, photometric="miniswhite"), 1 - deep / 65535, atol=1e-6
    )
    signed = (ramp - 32).astype("int16") * 1024
    np.testing.assert_allclose(
        gray(signed), (signed.astype(int) + 32768) / 65535, 1e-6
    )
    floats = (ramp / 63).astype("float32")
    np.testing.assert_array_equal(gray(floats), floats)
    np.testing.assert_array_equal(
        gray(ramp > 9, photometric="minisblack"), ramp > 9
    )
    colormap = np.stack([np.arange(256) * 257] * 3).astype("uint16")
    colormap[1] = 0
    colors = read_tiff(
        tiff(ramp.astype("uint8"), photometric="palette", colormap=colormap)
    )
    np.testing.assert_allclose(
        colors, np.stack([ramp, 0 * ramp, ramp], -1) / 255, rtol=1e-6
    )
    lying = tiff(deep, extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_allclose(
        read_tiff(lying)[..., 0], np.rot90(deep, -1) / 65535, 1e-6
    )
    # Of a stack in time, the first image.
    stack = tiff(
        np.stack([deep, deep * 0]), imagej=True, metadata={"axes": "TYX"}
    )
    np.testing.assert_allclose(read_tiff(stack)[..., 0], deep / 65535, 1e-6)
    # As photographs are saved.
    photograph = np.stack([ramp] * 3, -1).astype("uint8")
    np.testing.assert_allclose(
        read_tiff(tiff(photograph, photometric="rgb")), photograph / 255, 1e-6
    )


def test_damaged_files():
    with pytest.raises(ValueError, match="neither a DICOM nor a TIFF"):
        read_scientific(b"\x89PNG")
    with pytest.raises(ValueError, match="DICOM data cannot be read"):
        read_scientific(dicom(RAMP)[:-9])
    with pytest.raises(ValueError, match="TIFF data cannot be read"):
        read_scientific(tiff(RAMP)[:9])
    for name in ("complex64", "uint32", "float32"):
        with pytest.raises(ValueError, match=f"{name} from .*not known"):
            read_scientific(tiff(RAMP.astype(name)))


def test_missing_packages_name_the_extra(monkeypatch):
    contents = [dicom(RAMP), tiff(RAMP)]
    for module in ("pydicom", "tifffile"):
        monkeypatch.setitem(sys.modules, module, None)
    for content in contents:
        with pytest.raises(ImportError, match=r"keras-clmae\[sources\]"):
            read_scientific(content)
