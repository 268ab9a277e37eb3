"""Folders of pictures: classes, splits, order, caches, damaged files."""

import importlib
import os
import shutil
import tempfile
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_clmae.data import EvaluationTransform
from keras_clmae.data import ImageDataset
from keras_clmae.data import image_folder
from keras_clmae.trainers.progress import progress_for_fit
from tests.data.pictures import epoch_numbers
from tests.data.pictures import save_picture
from tests.data.pictures import smooth_picture
from tests.once import ONCE

pytestmark = ONCE


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
