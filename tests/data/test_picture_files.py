"""Picture files: formats, channels, orientation, levels."""

import importlib
import os
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_clmae.data import EvaluationTransform
from keras_clmae.data import PretrainTransform
from keras_clmae.data import image_folder
from tests.data.pictures import save_picture
from tests.data.pictures import smooth_picture
from tests.once import ONCE

pytestmark = ONCE


def read_one(path, size=(48, 64), **arguments):
    """Reads the only picture of a folder as it is."""
    transform = EvaluationTransform(size, crop_fraction=1.0)
    dataset = image_folder(path, size, 1, transform=transform, **arguments)
    (batch,) = list(dataset)
    return dataset.normalization.inverse(batch)[0]


@pytest.mark.parametrize(
    ("name", "mode", "options", "tolerance"),
    [
        ("picture.JPG", "RGB", {"quality": 95}, 0),
        ("picture.jpg", "CMYK", {"quality": 95}, 0),
        ("picture.png", "RGB", {}, 0),
        ("picture.png", "P", {}, 0),
        ("picture.gif", "P", {}, 0),
        ("picture.bmp", "RGB", {}, 0),
        ("picture.bmp", "P", {}, 0),
        ("picture.webp", "RGB", {"lossless": True}, 0),
        ("picture.jpg", "RGB", {"format": "PNG"}, 0),
        ("ein Bild von Zoë 写真.png", "RGB", {}, 0),
    ],
)
def test_formats(tmp_path, name, mode, options, tolerance):
    path = tmp_path / "a" / "b c" / name
    save_picture(path, mode, **options)
    pixels = read_one(tmp_path)
    assert pixels.shape == (48, 64, 3)
    with Image.open(path) as picture:
        expected = np.asarray(picture.convert("RGB"), "float32")
    assert np.abs(pixels - expected).max() <= tolerance


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(smooth_picture(seed=s)[..., 0]) for s in (1, 2)]
    frames[0].save(
        tmp_path / "animation.gif", save_all=True, append_images=frames[1:]
    )
    pixels = read_one(tmp_path)
    np.testing.assert_array_equal(pixels[..., 0], np.asarray(frames[0]))


@pytest.mark.parametrize(
    ("byte_order", "orientation"),
    [*(("<", number) for number in range(1, 9)), (">", 3), (">", 6)],
)
def test_exif_orientation(tmp_path, orientation, byte_order):
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x0110] = "A camera"
    exif[0x0112] = orientation
    save_picture(tmp_path / "p.jpg", quality=95, exif=exif)
    from PIL import ImageOps

    with Image.open(tmp_path / "p.jpg") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture), "float32")
    pixels = read_one(tmp_path, expected.shape[:2])
    assert np.abs(pixels - expected).mean() < 2


def test_channels_are_kept(tmp_path):
    gray = smooth_picture()[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    pixels = read_one(tmp_path)
    np.testing.assert_array_equal(pixels[..., 0], gray)
    assert read_one(tmp_path, channels=3).shape == (48, 64, 3)


def test_rgba_and_conversion(tmp_path):
    rgba = smooth_picture(channels=4)
    Image.fromarray(rgba, "RGBA").save(tmp_path / "p.png")
    statistics = ([0.5] * 4, [0.25] * 4)
    pixels = read_one(tmp_path, statistics=statistics)
    np.testing.assert_array_equal(pixels, rgba)
    pixels = read_one(tmp_path, channels=3)
    np.testing.assert_array_equal(pixels, rgba[..., :3])
    with pytest.raises(ValueError, match="`statistics"):
        read_one(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "white"), [("uint8", 255), ("uint16", 65535), ("float32", 1)]
)
def test_numpy_pictures_of_many_channels(tmp_path, dtype, white):
    pixels = smooth_picture(channels=6)
    scaled = pixels / 255 * white
    if dtype == "uint16":
        scaled = scaled.round()
    np.save(tmp_path / "p.npy", scaled.astype(dtype))
    read = read_one(tmp_path, statistics=([0.5] * 6, [0.25] * 6))
    np.testing.assert_array_equal(read, pixels)


def test_numpy_floats_beyond_black_and_white_are_refused(tmp_path):
    pixels = smooth_picture().astype("float32")
    np.save(tmp_path / "0.npy", pixels / 255)
    # Resizing overshoots a little; it is cut off.
    np.save(tmp_path / "1.npy", np.float16(1.2 * pixels / pixels.max() - 0.1))
    np.save(tmp_path / "2.npy", pixels)
    np.save(tmp_path / "3.npy", pixels / 127.5 - 1)
    np.save(tmp_path / "4.npy", np.full_like(pixels, np.nan))
    message = r"'.*(2|3|4).npy' cannot be read: its pixels are float32 from "
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        dataset = image_folder(tmp_path, 32, 2, transform="evaluation")
        assert sum(len(batch) for batch in dataset) == 2
    texts = [str(warning.message) for warning in caught]
    named = [text for text in texts if re.search(message, text)]
    assert len(named) == 3 and "from 0, black, to 1, white" in named[0]
    for name in ("0", "1"):
        (tmp_path / f"{name}.npy").unlink()
    with pytest.raises(ValueError, match="float32 from 0 to 255.*by 255"):
        image_folder(tmp_path, 32, 2, transform="evaluation")


def sixteen_bits():
    """4,096 gray levels."""
    return (np.arange(4096, dtype="uint16") * 16).reshape(64, 64)


@pytest.mark.parametrize(
    "name", ["p.png", "p.tif", "p.pgm", "p.npy", "big-endian.tif"]
)
def test_sixteen_bits_keep_their_levels(tmp_path, name):
    pixels = sixteen_bits()
    if name.endswith(".npy"):
        np.save(tmp_path / name, pixels)
    elif name.startswith("big"):
        Image.fromarray(pixels.astype(">u2")).save(tmp_path / name)
    else:
        Image.fromarray(pixels).save(tmp_path / name)
    for transform in (
        EvaluationTransform(64, crop_fraction=1.0),
        PretrainTransform(
            64, scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0), flip=False
        ),
    ):
        dataset = image_folder(tmp_path, 64, 1, transform=transform)
        (images,) = np.asarray(list(dataset))
        assert len(np.unique(images)) == 4096
        normalization = dataset.normalization
        read = (images * normalization.std + normalization.mean) * 65535
        np.testing.assert_allclose(read[0, ..., 0], pixels, atol=0.1)


def test_sixteen_bit_colors(tmp_path):
    # Three colors of 16 bits, which Pillow cannot write: rows of a PNG.
    pixels = np.stack([sixteen_bits()] * 3, axis=-1)
    pixels[..., 1] //= 2
    import tensorflow as tf

    (tmp_path / "p.png").write_bytes(tf.io.encode_png(pixels).numpy())
    dataset = image_folder(
        tmp_path, 64, 1, transform=EvaluationTransform(64, crop_fraction=1.0)
    )
    (images,) = np.asarray(list(dataset))
    assert len(np.unique(images[..., 0])) == 4096


@pytest.mark.parametrize(
    "name", ["p.tif", "p.TIFF", "p.ppm", "p.jp2", "p.tga", "p.pcx", "p.ico"]
)
def test_what_pillow_reads(tmp_path, name):
    pixels = smooth_picture(48, 48)
    options = {"sizes": [(48, 48)]} if name == "p.ico" else {}
    Image.fromarray(pixels).save(tmp_path / name, **options)
    read = read_one(tmp_path, (48, 48), channels=3)
    np.testing.assert_array_equal(read, pixels)


def test_jfif_and_the_first_page(tmp_path):
    saved = Image.fromarray(smooth_picture())
    saved.save(tmp_path / "a.jfif", format="JPEG", quality=95)
    assert np.abs(read_one(tmp_path) - smooth_picture().astype(int)).max() < 40
    os.remove(tmp_path / "a.jfif")
    pages = [Image.fromarray(smooth_picture(seed=seed)) for seed in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_one(tmp_path), smooth_picture(seed=1))


def test_files_of_other_kinds_are_told_once(picture_folder):
    for name in ("b.heic", "a.svg", ".hidden.svg"):
        (picture_folder / name).write_text("no image")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = image_folder(picture_folder, 16, 4)
    assert dataset.num_examples == 12
    (warning,) = caught
    assert "Left out 2 file(s)" in str(warning.message)
    assert "example 'a.svg'" in str(warning.message)


def test_pixels_without_a_known_white_are_named(tmp_path):
    save_picture(tmp_path / "a.tif", "L")
    Image.fromarray(np.ones((8, 8), "int32")).save(tmp_path / "b.tif")
    with pytest.warns(UserWarning, match="'.*b.tif'.*32 bits"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipped 1 of 2")
            image_folder(tmp_path, 8, 1, transform="evaluation")


def test_picture_of_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (10, 200, 30)).save(tmp_path / "p.png")
    pixels = read_one(tmp_path, (8, 8))
    np.testing.assert_array_equal(pixels, np.full((8, 8, 3), (10, 200, 30)))
    for _ in image_folder(tmp_path, 8, 1):
        pass


def test_gray_among_color_becomes_rgb(picture_folder, monkeypatch):
    save_picture(picture_folder / "class 0" / "gray.png", "L")
    message = "to RGB.*3 in '.*00.jpg', 1 in '.*gray.png'.*`channels`"
    with pytest.warns(UserWarning, match=message):
        dataset = image_folder(picture_folder, 32, 13, transform="evaluation")
    (images,) = list(dataset)
    assert images.shape == (13, 32, 32, 3)
    gray = dataset.normalization.inverse(images)[4]
    np.testing.assert_array_equal(gray[..., 0], gray[..., 2])
    dataset = image_folder(picture_folder, 32, 13, channels=1)
    assert next(iter(dataset)).shape == (13, 32, 32, 1)
    # One that is not among those that are looked at.
    module = importlib.import_module("keras_clmae.data.folder_source")
    monkeypatch.setattr(module, "_CHANNEL_SAMPLES", 2)
    dataset = image_folder(picture_folder, 32, 13, transform="evaluation")
    assert [len(batch) for batch in dataset] == [13]
    monkeypatch.undo()
    np.save(picture_folder / "class 0" / "00.npy", np.zeros((8, 8, 6), "uint8"))
    with pytest.raises(ValueError, match="`path`.*6 in '.*00.npy'"):
        image_folder(picture_folder, 32, 4)
