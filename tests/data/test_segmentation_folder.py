"""Folders of images and masks: pairs, labels, windows, damage and errors."""

import numpy as np
import pytest
from PIL import Image

from keras_clmae.data import SegmentationTransform
from keras_clmae.data import segmentation_folder
from tests.once import ONCE

pytestmark = ONCE

pytest.importorskip("tensorflow")

SIZE = (16, 24)


def write_pair(root, stem, mode="L", size=SIZE, labels=(0, 1, 2, 255), seed=0):
    """An image whose red channel is ten times the label of the mask."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(labels, size=(size[0] // 4, size[1] // 4))
    mask = np.kron(coarse, np.ones((4, 4), int)).astype("uint8")
    pixels = np.stack([mask % 250 * 10, mask * 0, mask * 0 + 255], axis=-1)
    for folder, array in (("images", pixels), ("masks", mask)):
        path = root / folder / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(array)
        if folder == "masks" and mode == "P":
            image.putpalette(np.arange(768)[::-1] % 256)
        image.save(path)
    return mask


def read(root, **arguments):
    defaults = {
        "image_size": SIZE,
        "batch_size": 2,
        "num_classes": 3,
        "transform": "evaluation",
        "statistics": ([0.0] * 3, [1 / 255] * 3),
    }
    return segmentation_folder(
        root / "images", root / "masks", **{**defaults, **arguments}
    )


@pytest.mark.parametrize("mode", ["L", "P"])
def test_indices_stay_as_they_are(tmp_path, mode):
    expected = [
        write_pair(tmp_path, f"deep/er/{n}", mode, seed=n) for n in range(3)
    ]
    dataset = read(tmp_path)
    assert dataset.steps_per_epoch == len(dataset) == 2
    images, masks = (
        np.concatenate(parts)
        for parts in zip(*dataset.as_numpy_iterator(), strict=True)
    )
    np.testing.assert_array_equal(masks, expected)
    assert images.dtype == "float32" and masks.dtype == "int32"
    np.testing.assert_allclose(
        images[..., 0], np.array(expected) % 250 * 10, atol=1e-3
    )
    assert dataset.num_classes == 3 and dataset.ignore_label == 255


def test_masks_are_resized_by_nearest_neighbors(tmp_path):
    mask = np.array([[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2], [0, 1, 2, 0]])
    for folder, array in (("images", mask * 10), ("masks", mask)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "a.png"
        Image.fromarray(array.astype("uint8")).save(path)
    arguments = {"batch_size": 1, "statistics": ([0.0], [1.0])}
    ((_, smaller),) = read(tmp_path, image_size=2, **arguments)
    # The center of a pixel of two by two lies on the corner of four; the
    # next is taken.
    np.testing.assert_array_equal(smaller[0], mask[1::2, 1::2])
    ((_, larger),) = read(tmp_path, image_size=8, **arguments)
    np.testing.assert_array_equal(
        larger[0], np.kron(mask, np.ones((2, 2), int))
    )
    # The largest window of two by one in the middle: columns 1 and 2.
    ((_, cut),) = read(tmp_path, image_size=(4, 2), **arguments)
    np.testing.assert_array_equal(cut[0], mask[:, 1:3])


def test_image_and_mask_are_cropped_and_flipped_alike(tmp_path):
    for number in range(8):
        # Vertical stripes: interpolation blurs no more than their edges.
        write_pair(tmp_path, str(number), size=(32, 48), seed=number)
    dataset = read(
        tmp_path,
        transform=SegmentationTransform(SIZE, scale=(0.2, 0.6)),
        batch_size=8,
        seed=3,
    )
    ((images, masks),) = dataset.as_numpy_iterator()
    shown = np.rint(images[..., 0] / 10)
    # 255 was drawn as 5.
    agree = shown == np.where(masks == 255, 5, masks)
    assert 0.7 < agree.mean() < 1
    flipped = shown[:, :, ::-1] == np.where(masks == 255, 5, masks)
    assert flipped.mean() < 0.5
    (again,) = dataset.as_numpy_iterator()
    assert not np.array_equal(again[1], masks)
    dataset.set_epoch(0)
    (first,) = dataset.as_numpy_iterator()
    np.testing.assert_array_equal(first[1], masks)


def test_mirrored_pairs(tmp_path):
    mask = write_pair(tmp_path, "a")
    transform = SegmentationTransform(
        SIZE, scale=(1, 1), aspect_ratio=(1.5, 1.5)
    )
    dataset = read(tmp_path, transform=transform, batch_size=1)
    seen = set()
    for _ in range(12):
        ((images, masks),) = dataset.as_numpy_iterator()
        assert np.array_equal(images[0, ..., 0], masks[0] % 250 * 10)
        seen.add(np.array_equal(masks[0], mask))
        assert (
            seen <= {True}
            or np.array_equal(masks[0][:, ::-1], mask)
            or (np.array_equal(masks[0], mask))
        )
    assert seen == {True, False}


def test_split_depends_on_stems(tmp_path):
    for number in range(8):
        write_pair(tmp_path, str(number), seed=number)
    train, validation = read(tmp_path, validation_split=0.25, subset="both")
    parts = [{p[-5] for p in each.file_paths} for each in (train, validation)]
    assert [len(part) for part in parts] == [6, 2]
    assert not parts[0] & parts[1]
    for each in (train, validation):
        masks = [path.replace("images", "masks") for path in each.file_paths]
        assert masks == each.mask_paths
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".bmp"))
        Image.open(path.with_suffix(".bmp")).save(path.with_suffix(".bmp"))
    _, again = read(tmp_path, validation_split=0.25, subset="both")
    assert again.mask_paths == validation.mask_paths


def test_classes_are_counted_and_named(tmp_path):
    write_pair(tmp_path, "a", labels=(0, 4, 255))
    assert read(tmp_path, num_classes=None).num_classes == 5
    names = list("abcde")
    named = read(tmp_path, num_classes=None, class_names=names)
    assert named.class_names == names and named.num_classes == 5


def test_suffixes_and_files_without_a_partner(tmp_path):
    for number in range(2):
        write_pair(tmp_path, str(number))
        path = tmp_path / "masks" / f"{number}.png"
        path.rename(path.with_stem(f"{number}_mask"))
    (tmp_path / "images" / "0.png").unlink()
    with pytest.warns(UserWarning, match="1 mask.s. without an image.*'0'"):
        dataset = read(tmp_path, mask_suffix="_mask")
    assert dataset.num_examples == 1


def test_16_bit_and_numpy_masks(tmp_path):
    mask = write_pair(tmp_path, "a").astype("uint16")
    mask[mask == 2] = 700
    path = tmp_path / "masks" / "a.png"
    Image.fromarray(mask).save(path)
    ((_, masks),) = read(tmp_path, num_classes=701, ignore_label=None)
    np.testing.assert_array_equal(masks[0], mask)
    path.unlink()
    np.save(path.with_suffix(".npy"), mask)
    ((_, masks),) = read(tmp_path, num_classes=701, ignore_label=None)
    np.testing.assert_array_equal(masks[0], mask)


def test_statistics_are_of_the_images(tmp_path):
    write_pair(tmp_path, "a", size=(16, 16))
    path = tmp_path / "images" / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    Image.fromarray(pixels.astype("uint8")).save(path)
    dataset = read(tmp_path, image_size=16, statistics="from_data")
    np.testing.assert_allclose(
        dataset.normalization.mean, pixels.mean(axis=(0, 1)) / 255, rtol=1e-5
    )


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_damaged_files_are_skipped(tmp_path, folder):
    for number in range(4):
        write_pair(tmp_path, str(number), seed=number)
    path = tmp_path / folder / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.warns(UserWarning) as caught:
        dataset = read(tmp_path, batch_size=3)
        batches = list(dataset.as_numpy_iterator())
    assert any("2.png" in str(warning.message) for warning in caught)
    assert [len(masks) for _, masks in batches] == [3]
    with pytest.raises(Exception, match="2.png.*on_error"):
        list(read(tmp_path, batch_size=3, on_error="raise"))


def test_masks_that_do_not_fit_are_errors(tmp_path):
    write_pair(tmp_path, "a")
    path = tmp_path / "masks" / "a.png"
    with pytest.raises(ValueError, match=r"`masks_dir`.*\[0, 2\).*others?.*2"):
        read(tmp_path, num_classes=2)
    with pytest.raises(ValueError, match=r"`masks_dir`.*`ignore_label`, None"):
        read(tmp_path, ignore_label=None)
    mask = Image.open(path).copy()
    mask.convert("RGB").save(path)
    with pytest.raises(ValueError, match="`masks_dir`.*one class.*mode RGB"):
        read(tmp_path)
    mask.resize((8, 8), Image.NEAREST).save(path)
    with pytest.raises(ValueError, match="`masks_dir`.*8 by 8.*16 by 24"):
        read(tmp_path)


def test_a_mask_found_late_that_does_not_fit_stops(tmp_path):
    for number in range(18):
        write_pair(tmp_path, f"{number:02}")
    # Every second pair is looked at beforehand.
    write_pair(tmp_path, "03", labels=(9,))
    dataset = read(tmp_path, transform="fine_tune", batch_size=18)
    with pytest.raises(Exception, match="`masks_dir`.*03.png.*: 9"):
        list(dataset)
    with pytest.raises(ValueError, match="`masks_dir`.*03.png.*: 9"):
        read(tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"subset": "test"}, "`subset`"),
        ({"subset": "both"}, "`validation_split`"),
        ({"transform": "pretrain"}, "`transform`"),
        ({"class_names": ["a"]}, "`class_names`"),
        ({"ignore_label": 1}, "`ignore_label`"),
        ({"mask_suffix": "_mask"}, "`mask_suffix`"),
        ({"num_classes": 0}, "`num_classes`"),
        ({"statistics": "mine"}, "`statistics`"),
    ],
)
def test_errors(tmp_path, arguments, message):
    write_pair(tmp_path, "a")
    with pytest.raises(ValueError, match=message):
        read(tmp_path, **arguments)


def test_masks_of_0_and_255(tmp_path):
    """Black and white, as many write masks: white is the ignored label."""
    write_pair(tmp_path, "a", labels=(0, 255))
    with pytest.raises(ValueError, match="`masks_dir`.*two.*must become 0 and"):
        read(tmp_path, num_classes=None)
    assert read(tmp_path, num_classes=1).num_classes == 1


def test_errors_of_folders(tmp_path):
    write_pair(tmp_path, "a")
    with pytest.raises(FileNotFoundError, match="`masks_dir`"):
        segmentation_folder(tmp_path / "images", tmp_path / "none", 8, 1)
    with pytest.raises(ValueError, match="`masks_dir` must hold a mask for"):
        other = tmp_path / "other"
        write_pair(other, "b")
        segmentation_folder(tmp_path / "images", other / "masks", 8, 1)
    source = tmp_path / "images" / "a.png"
    source.with_suffix(".gif").write_bytes(source.read_bytes())
    with pytest.raises(ValueError, match="`images_dir`.*one file per stem"):
        read(tmp_path)
