"""Folders of pictures: formats, classes, splits, order, damaged files."""

import importlib
import os
import re
import shutil
import tempfile
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_clmae.data import EvaluationTransform
from keras_clmae.data import ImageDataset
from keras_clmae.data import PretrainTransform
from keras_clmae.data import image_folder
from keras_clmae.trainers.progress import progress_for_fit
from tests.data.pictures import epoch_numbers
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


def test_labels_and_lengths(picture_folder):
    dataset = image_folder(
        picture_folder, 32, 5, transform="evaluation", labels=True
    )
    labels = np.concatenate([labels for _, labels in dataset])
    np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], 4))
    assert dataset.class_names == ["class 0", "class 1", "class 2"]
    assert dataset.num_examples == 12 and dataset.steps_per_epoch == 3

    dataset = image_folder(picture_folder, 32, 5)
    assert isinstance(dataset, ImageDataset)
    assert len(dataset) == dataset.steps_per_epoch == 2
    # From here `fit` knows how many images it trains on in a second.
    (shown,), _ = progress_for_fit([], 1, dataset, None)
    assert shown.batch_size == 5
    dataset = image_folder(picture_folder, 32, 5, drop_remainder=False)
    assert len(dataset) == 3 and len(epoch_numbers(dataset)) == 12
    dataset = image_folder(
        picture_folder, 32, 5, transform="evaluation", on_error="raise"
    )
    assert len(dataset) == 3

    dataset = image_folder(
        picture_folder, 32, 4, labels=True, one_hot=True, num_classes=5
    )
    assert next(iter(dataset))[1].shape == (4, 5)


def test_classes_are_numbered_as_in_other_data(picture_folder):
    shutil.rmtree(picture_folder / "class 0")
    names = ["class 0", "class 1", "class 2"]

    def labels(class_names):
        dataset = image_folder(
            picture_folder,
            16,
            8,
            transform="evaluation",
            labels=True,
            class_names=class_names,
        )
        assert dataset.class_names == class_names
        assert dataset.num_classes == len(class_names)
        ((_, labels),) = list(dataset)
        np.testing.assert_array_equal(labels, dataset.labels)
        return list(labels)

    assert labels(names) == [1] * 4 + [2] * 4
    assert labels(names[::-1]) == [1] * 4 + [0] * 4
    with pytest.raises(ValueError, match="`class_names`.*'class 2'"):
        labels(names[:2])
    # One class is enough beside others.
    shutil.rmtree(picture_folder / "class 2")
    assert labels(names) == [1] * 4


def test_order_depends_on_seed_and_epoch_only(picture_folder):
    def make(seed=3):
        return image_folder(picture_folder, 16, 4, seed=seed)

    dataset = make()
    epochs = [epoch_numbers(dataset) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    resumed = make()
    resumed.set_epoch(2)
    assert epoch_numbers(resumed) == epochs[2]
    assert epoch_numbers(make(seed=4)) != epochs[0]


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_processes_share_an_epoch(picture_folder, drop_remainder):
    transform = EvaluationTransform(16)

    def read(index, count):
        dataset = image_folder(
            picture_folder,
            16,
            2,
            transform=transform,
            shuffle=True,
            drop_remainder=drop_remainder,
            process_index=index,
            process_count=count,
        )
        return epoch_numbers(dataset)

    everything = read(0, 1)
    shares = [read(index, 5) for index in range(5)]
    together = sum(shares, [])
    if drop_remainder:
        assert [len(share) for share in shares] == [2] * 5
        assert len(set(together)) == 10 and set(together) < set(everything)
    else:
        assert sorted(together) == sorted(everything)


def test_split_is_stable_under_renaming(picture_folder, tmp_path):
    def names(root, subset, **arguments):
        dataset = image_folder(
            root,
            16,
            1,
            labels=True,
            validation_split=0.25,
            subset=subset,
            **arguments,
        )
        return [os.path.relpath(path, root) for path in dataset.file_paths]

    validation = names(picture_folder, "validation")
    training = names(picture_folder, "training")
    assert len(validation) == 3 and len(set(validation + training)) == 12
    assert len({name.split(os.sep)[0] for name in validation}) == 3
    renamed = tmp_path / "elsewhere"
    shutil.move(picture_folder, renamed)
    assert names(renamed, "validation") == validation
    assert names(renamed, "validation", seed=1) != validation


def test_both_subsets(picture_folder):
    training, validation = image_folder(
        picture_folder,
        16,
        3,
        transform="fine_tune",
        labels=True,
        validation_split=0.25,
        subset="both",
    )
    (images, labels) = next(iter(training))
    assert images.shape == (3, 16, 16, 3) and labels.shape == (3, 3)
    np.testing.assert_allclose(np.sum(labels, axis=1), 1, rtol=1e-5)
    assert training.steps_per_epoch == 3
    (batch,) = list(validation)
    np.testing.assert_array_equal(batch[1], np.eye(3))


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_cache(picture_folder, tmp_path, kind):
    cache = "memory" if kind == "memory" else tmp_path / "cache"
    plain = image_folder(picture_folder, 16, 4)
    cached = image_folder(picture_folder, 16, 4, cache=cache)
    epochs = [epoch_numbers(plain) for _ in range(2)]
    # The second pass is served without the files.
    assert epoch_numbers(cached) == epochs[0]
    shutil.rmtree(picture_folder)
    assert epoch_numbers(cached) == epochs[1]


def test_a_cache_notices_changed_files(tmp_path):
    folder, cache = tmp_path / "images", tmp_path / "cache"
    names = ("a.bmp", "b.png", "c.jpg")

    def read():
        dataset = image_folder(
            folder, 16, 3, transform="evaluation", cache=cache
        )
        return epoch_numbers(dataset)

    def changed(before):
        pairs = zip(names, before, read(), strict=True)
        return [name for name, old, new in pairs if old != new]

    for number, name in enumerate(names):
        save_picture(folder / name, seed=number)
    first = read()
    assert changed(first) == []
    # A bitmap of the same size, at another time.
    save_picture(folder / "a.bmp", seed=10)
    os.utime(folder / "a.bmp", ns=(0, 10**9))
    # Another size, at the same time.
    times = (folder / "b.png").stat()
    save_picture(folder / "b.png", seed=11)
    os.utime(folder / "b.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changed(first) == ["a.bmp", "b.png"]
    # New copies take the places of the old ones.
    assert sum(path.is_file() for path in cache.rglob("*")) == 3


def test_statistics_from_data(picture_folder):
    dataset = image_folder(
        picture_folder,
        (48, 64),
        12,
        transform=EvaluationTransform((48, 64), crop_fraction=1.0),
        statistics="from_data",
    )
    (images,) = list(dataset)
    np.testing.assert_allclose(np.mean(images, (0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(np.std(images, (0, 1, 2)), 1, atol=1e-4)


def test_damaged_files_are_named_and_counted(picture_folder):
    folder = picture_folder / "class 1"
    whole = (folder / "01.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("This is not a picture.")
    (folder / "zz loop.jpg").symlink_to(folder / "zz loop.jpg")
    (folder / "nowhere.gif").symlink_to(folder / "nothing")
    (folder / "above").symlink_to(picture_folder)
    damaged = ["truncated", "empty", "text", "zz loop", "nowhere"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = image_folder(
            picture_folder, 16, 4, transform=EvaluationTransform(16)
        )
        first = epoch_numbers(dataset)
        second = epoch_numbers(dataset)
    messages = [str(warning.message) for warning in caught]
    assert len(first) == 12 and first == second
    for name in damaged:
        assert sum(name in message for message in messages) == 1, messages
    assert sum("leads back to a folder" in m for m in messages) == 1
    assert sum("Skipped 5 of 17" in message for message in messages) == 1
    assert len(messages) == 7
    assert len(dataset.skipped) == 5 and len(dataset) == 3
    assert len(dataset.file_paths) == 12
    reasons = " ".join(dataset.skipped.values())
    for reason in ("truncated", "empty", "known kind", "itself", "nowhere"):
        assert reason in reasons


def test_a_long_search_for_damaged_files_says_so(
    picture_folder, monkeypatch, capsys
):
    module = importlib.import_module("keras_clmae.data.damage")
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0)
    image_folder(picture_folder, 16, 4, transform="evaluation")
    assert "Looking for damaged images among the 12" in capsys.readouterr().err
    image_folder(picture_folder, 16, 4)
    assert not capsys.readouterr().err


def test_training_has_the_promised_steps(picture_folder):
    for number in range(4):
        (picture_folder / f"{number}.jpg").write_bytes(b"")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = image_folder(picture_folder, 16, 4)
        assert len(dataset) == 4
        batches = [batch.shape[0] for batch in dataset]
    assert batches == [4, 4, 4, 4]
    assert any("4 of 16" in str(warning.message) for warning in caught)


def test_stops_at_the_first_damaged_file(picture_folder):
    (picture_folder / "empty.jpg").write_bytes(b"")
    dataset = image_folder(
        picture_folder, 16, 4, transform="evaluation", on_error="raise"
    )
    with pytest.raises(Exception, match="empty.jpg.*it is empty"):
        list(dataset)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX")
def test_file_without_permission():
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        for name in ("a.png", "b.png"):
            Image.fromarray(smooth_picture()).save(os.path.join(root, name))
        os.chmod(os.path.join(root, "b.png"), 0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.warns(UserWarning) as caught:
                dataset = image_folder(root, 16, 2, transform="evaluation")
                assert len(epoch_numbers(dataset)) == 1
        finally:
            os.seteuid(user)
    assert "b.png" in str(caught[0].message)
    assert "no permission" in str(caught[0].message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "`image_size`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"batch_size": 13}, "`batch_size`"),
        ({"transform": "crop"}, "`transform`"),
        ({"transform": "fine_tune"}, "`labels`"),
        ({"channels": 2}, "`channels`"),
        ({"statistics": "cifar"}, "`statistics`"),
        ({"statistics": ([0.5], [0.5])}, "`statistics`"),
        ({"statistics": ([0.5] * 3, [0.0] * 3)}, "`std`"),
        ({"validation_split": 1.0}, "`validation_split`"),
        ({"validation_split": 0.01}, "`validation_split`"),
        ({"subset": "test"}, "`subset`"),
        ({"subset": "both"}, "`validation_split`"),
        ({"labels": True, "num_classes": 2}, "`num_classes`"),
        ({"seed": -1}, "`seed`"),
        ({"on_error": "ignore"}, "`on_error`"),
    ],
)
def test_bad_arguments(picture_folder, arguments, message):
    arguments = {"image_size": 16, "batch_size": 4, **arguments}
    with pytest.raises(ValueError, match=message):
        image_folder(picture_folder, **arguments)


def test_bad_folders(tmp_path):
    def make(path, **arguments):
        return image_folder(path, 16, 1, **arguments)

    with pytest.raises(FileNotFoundError, match="`path`"):
        make(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a single one"):
        make(tmp_path)
    save_picture(tmp_path / "one class" / "p.png")
    with pytest.raises(ValueError, match="two classes"):
        make(tmp_path, labels=True)
    with pytest.raises(NotADirectoryError, match="`path`"):
        make(tmp_path / "one class" / "p.png")
    (tmp_path / "without").mkdir()
    with pytest.raises(ValueError, match="'without'"):
        make(tmp_path, labels=True)
    for file in (tmp_path / "one class").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="it is empty"):
        make(tmp_path)
