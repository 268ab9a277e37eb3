"""Records by number: sequences, the order of shards, classes, splits."""

import io

import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image

from keras_clmae.data import EvaluationTransform
from keras_clmae.data import load
from keras_clmae.data import record_dataset
from keras_clmae.data.sources.image_bytes import image_bytes
from keras_clmae.data.sources.records import class_numbers
from keras_clmae.data.sources.window_sampler import WindowSampler
from tests.once import ONCE

pytestmark = ONCE

WHOLE = EvaluationTransform(8, crop_fraction=1.0)


def gray(number):
    return np.full((8, 8, 1), 10 * number, "uint8")


class TorchPairs(torch.utils.data.Dataset):
    """Pairs of a tensor (channels, height, width) and a label."""

    def __len__(self):
        return 10

    def __getitem__(self, number):
        return torch.full((3, 8, 8), number / 10), number % 2


def values(dataset):
    """Gray levels of the images of an epoch, labels after them if any."""
    std, mean = dataset.normalization.std[0], dataset.normalization.mean[0]
    batches = list(dataset)
    images = [b[0] if isinstance(b, tuple) else b for b in batches]
    levels = np.concatenate([i[:, 0, 0, 0] for i in images]) * std + mean
    return np.rint(levels * 255).astype(int).tolist()


def test_shuffled_sequence_resumes_and_is_shared():
    images = [gray(number) for number in range(22)]

    def make(**arguments):
        arguments = {"shuffle": True, "drop_remainder": False, **arguments}
        return record_dataset(images, 8, 4, WHOLE, seed=3, **arguments)

    dataset = make()
    assert dataset.num_examples == 22
    assert dataset.batch_size == 4 and len(dataset) == 6
    epochs = [values(dataset) for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[1]) == list(range(0, 220, 10))
    resumed = make()
    resumed.set_epoch(1)
    assert values(resumed) == epochs[1]
    shares = [
        values(make(process_index=index, process_count=3)) for index in range(3)
    ]
    assert sorted(sum(shares, [])) == sorted(epochs[0])


def test_torch_dataset_brings_labels():
    dataset = record_dataset(TorchPairs(), 8, 5, WHOLE, labels=True)
    (images, labels), _ = list(dataset)
    assert images.shape == (5, 8, 8, 3)
    assert labels.numpy().tolist() == [0, 1, 0, 1, 0]
    assert values(dataset)[3] == round(0.3 * 255)
    with pytest.raises(ValueError, match="`num_classes` must be given"):
        record_dataset(TorchPairs(), 8, 5, WHOLE, labels=True, one_hot=True)
    dataset = record_dataset(
        TorchPairs(), 8, 5, WHOLE, labels=True, one_hot=True, num_classes=2
    )
    assert next(iter(dataset))[1].shape == (5, 2)
    with pytest.warns(UserWarning, match="label is 1, not below 1|5 of 10"):
        arguments = {"labels": True, "num_classes": 1, "shuffle": False}
        dataset = record_dataset(TorchPairs(), 8, 5, WHOLE, **arguments)
    assert dataset.num_examples == 5


@pytest.mark.parametrize("shuffle", [False, True])
def test_damaged_records_are_skipped_and_counted(shuffle):
    images = [gray(number) for number in range(12)]
    images[4] = b"\x89PNG and no more"
    images[7] = np.zeros((8, 8), "int64")
    with pytest.warns(UserWarning) as caught:
        dataset = record_dataset(
            images, 8, 5, WHOLE, shuffle=shuffle, drop_remainder=False
        )
        found = values(dataset)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 3 and "2 of 12" in texts[2]
    assert any("list: record 4" in text and "PNG" in text for text in texts)
    assert any("int64 of shape (8, 8)" in text for text in texts)
    assert len(dataset.skipped) == 2
    good = [10 * n for n in range(12) if n not in (4, 7)]
    if shuffle:
        assert len(found) == 12 and set(found) == set(good)
    else:
        assert found == good and dataset.num_examples == 10
        assert len(dataset.records.names) == 10
    with pytest.raises((ValueError, tf.errors.OpError), match="record [47]"):
        list(record_dataset(images, 8, 5, WHOLE, on_error="raise"))


def test_record_without_label_is_damaged():
    pairs = [(gray(number), number - 1) for number in range(4)]
    with pytest.warns(UserWarning, match="no label|1 of 4"):
        dataset = record_dataset(pairs, 8, 3, WHOLE, labels=True)
    assert [label.tolist() for _, label in dataset.as_numpy_iterator()] == [
        [0, 1, 2]
    ]
    assert len(values(record_dataset(pairs, 8, 2, WHOLE))) == 4


def test_cache_reads_each_record_once():
    read = []

    class Counted(list):
        def __getitem__(self, number):
            read.append(number)
            return super().__getitem__(number)

    images = Counted(gray(number) for number in range(6))
    dataset = record_dataset(
        images, 8, 3, WHOLE, channels=1, shuffle=True, cache="memory"
    )
    assert sorted(values(dataset)) == sorted(values(dataset))
    assert sorted(read) == list(range(6))
    with pytest.raises(ValueError, match="`cache`"):
        record_dataset(images, 8, 3, cache="folder")


def test_validation_split_and_statistics():
    images = [gray(number) for number in range(20)]
    train, validation = record_dataset(
        images,
        8,
        4,
        validation_split=0.2,
        subset="both",
        statistics="from_data",
        drop_remainder=False,
    )
    assert len(train.records) == 16 and len(validation.records) == 4
    assert train.normalization is validation.normalization
    assert not set(values(train)) & set(values(validation))
    kept = np.array(train.records.numbers) * 10 / 255
    np.testing.assert_allclose(train.normalization.mean, kept.mean(), 1e-5)
    np.testing.assert_allclose(train.normalization.std, kept.std(), 1e-4)


def test_window_sampler_reads_shards_in_turn():
    sizes = [5, 3, 7, 5]
    sampler = WindowSampler(sizes, 8, batch_size=2, seed=1)
    orders = [sampler.order(epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    shard_of = np.repeat(np.arange(4), sizes)
    # The first window is whole shards, and a part of one at most.
    first = np.bincount(shard_of[orders[0][:8]], minlength=4)
    assert np.sum((first > 0) & (first < sizes)) <= 1
    shares = [
        WindowSampler(
            sizes,
            8,
            batch_size=2,
            seed=1,
            drop_remainder=True,
            process_index=index,
            process_count=3,
        )
        for index in range(3)
    ]
    assert {share.steps_per_epoch for share in shares} == {3}
    parts = [share.order(2) for share in shares]
    np.testing.assert_array_equal(np.concatenate(parts), orders[2])
    assert all(
        len(part) >= share.examples_per_epoch
        for part, share in zip(parts, shares, strict=True)
    )
    with pytest.raises(ValueError, match="`shuffle_window`"):
        WindowSampler(sizes, 0, batch_size=2)


def test_image_bytes_of_pillow_images():
    def decoded(image):
        return np.load(io.BytesIO(image_bytes(image)))

    pixels = np.arange(64, dtype="uint8").reshape(8, 8)
    np.testing.assert_array_equal(decoded(Image.fromarray(pixels)), pixels)
    deep = pixels.astype("uint16") * 1000
    np.testing.assert_array_equal(decoded(Image.fromarray(deep)), deep)
    palette = Image.fromarray(pixels).convert("RGB").convert("P")
    assert decoded(palette).shape == (8, 8, 3)
    bits = Image.fromarray(pixels > 30)
    assert set(np.unique(decoded(bits))) == {0, 255}


def test_class_numbers():
    labels, names = class_numbers(["b", None, "a"])
    assert labels.tolist() == [1, -1, 0] and names == ["a", "b"]
    labels, names = class_numbers([3, None, -5])
    assert labels.tolist() == [3, -1, -1] and names is None
    with pytest.raises(ValueError, match="'a' of the type str"):
        class_numbers([1, "a"])


def test_gray_among_colors_becomes_color():
    images = [gray(1), np.zeros((8, 8, 3), "uint8")]
    with pytest.warns(UserWarning, match="to RGB.*1 in.*and 3 in"):
        dataset = record_dataset(images, 8, 2, WHOLE)
    assert next(iter(dataset)).shape == (2, 8, 8, 3)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`records` must hold at least one"):
        record_dataset([], 8, 4)
    with pytest.raises(ValueError, match="none can: 'list: record 0'"):
        record_dataset([b"", b"\x89PNG"], 8, 1)
    with pytest.raises(ValueError, match="channels 1 in.*record 0.*and 7 in"):
        record_dataset([gray(1), np.zeros((8, 8, 7), "uint8")], 8, 1)
    with pytest.raises(ValueError, match="`subset`"):
        record_dataset([gray(1)], 8, 1, subset="test")
    with pytest.raises(ValueError, match="`spec`.*parquet:PATH"):
        load("hdf5:file", image_size=8)


def test_pillow_images_of_32_bits():
    deep = Image.fromarray(np.full((8, 8), 40000, "int32"))
    contents = image_bytes(deep)
    assert np.load(io.BytesIO(contents)).max() == 40000
    # As 16 bits, these would wrap around.
    for value in (70000, -1):
        with pytest.raises(ValueError, match="32 bits.*not told"):
            image_bytes(Image.fromarray(np.full((8, 8), value, "int32")))
