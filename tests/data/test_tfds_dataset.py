"""TensorFlow Datasets, with made-up examples and with a local folder."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from keras_clmae.data import EvaluationTransform
from keras_clmae.data import tfds_dataset
from tests.data.pictures import epoch_numbers
from tests.once import ONCE

pytestmark = ONCE


class Squares(tfds.core.GeneratorBasedBuilder):
    """A small data set of pictures in two classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(10, 12, 3)),
                    "label": tfds.features.ClassLabel(names=["even", "odd"]),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        rng = np.random.default_rng(0)
        for number in range(22):
            pixels = rng.integers(0, 256, (3, 3, 3)).astype("uint8")
            picture = np.asarray(Image.fromarray(pixels).resize((12, 10)))
            yield number, {"image": picture, "label": number % 2}


class Deep(tfds.core.GeneratorBasedBuilder):
    """Images of 16 bits, some without a label."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(64, 64, 1),
                        dtype=np.uint16,
                        encoding_format="png",
                    ),
                    "label": tfds.features.ClassLabel(names=["a", "b"]),
                }
            )
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        pixels = np.arange(4096, dtype="uint16").reshape(64, 64, 1) * 16
        for number in range(3):
            yield number, {"image": pixels, "label": number - 1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Folder of a small data set, prepared in four shards."""
    builder = Squares(data_dir=tmp_path_factory.mktemp("prepared"))
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(num_shards=4)
    )
    return builder.data_dir


def test_imagenet_examples():
    with tfds.testing.mock_data(num_examples=10):
        dataset = tfds_dataset(
            "imagenet2012", "train", 32, 4, labels=True, channels=None
        )
        assert len(dataset) == 2
        batches = list(dataset)
    assert [images.shape for images, _ in batches] == [(4, 32, 32, 3)] * 2
    assert len(dataset.class_names) == dataset.num_classes == 1000
    assert dataset.batch_size == 4
    with tfds.testing.mock_data(num_examples=4):
        dataset = tfds_dataset(
            "imagenet2012", "train", 32, 4, transform="fine_tune", labels=True
        )
        ((images, labels),) = list(dataset)
    assert images.shape == (4, 32, 32, 3) and labels.shape == (4, 1000)


def test_data_set_without_labels():
    with tfds.testing.mock_data(num_examples=4):
        dataset = tfds_dataset("stl10", "unlabelled", 32, 4)
        (images,) = list(dataset)
    assert images.shape == (4, 32, 32, 3)


def test_gray_images():
    with tfds.testing.mock_data(num_examples=4):
        images = next(iter(tfds_dataset("mnist", "train", 28, 4)))
        assert images.shape == (4, 28, 28, 1)
        images = next(iter(tfds_dataset("mnist", "train", 28, 4, channels=3)))
        assert images.shape == (4, 28, 28, 3)


def test_prepared_folder(prepared):
    def make(split="train", **arguments):
        transform = EvaluationTransform((10, 12), crop_fraction=1.0)
        arguments = {"transform": transform, **arguments}
        return tfds_dataset(str(prepared), split, (10, 12), 4, **arguments)

    everything = epoch_numbers(make())
    assert len(everything) == 22
    assert len(epoch_numbers(make("train[:50%]"))) == 11
    dataset = make(shuffle=True, drop_remainder=False, seed=3)
    assert dataset.num_examples == 22 and len(dataset) == 6
    epochs = [epoch_numbers(dataset) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert all(sorted(epoch) == sorted(everything) for epoch in epochs)
    resumed = make(shuffle=True, drop_remainder=False, seed=3)
    resumed.set_epoch(2)
    assert epoch_numbers(resumed) == epochs[2]
    cached = make(shuffle=True, drop_remainder=False, cache="memory")
    for _ in range(2):
        assert sorted(epoch_numbers(cached)) == sorted(everything)

    folder = str(prepared) + "_cache"
    for split, number in (("train", 22), ("train[:50%]", 11)):
        cached = make(split, cache=folder)
        for _ in range(2):
            assert len(epoch_numbers(cached)) == number
    # Files that have changed since are not taken from the cache.
    kept = set(os.listdir(folder))
    (record, *_) = pathlib.Path(prepared).rglob("*.tfrecord*")
    os.utime(record, (0, 0))
    assert len(epoch_numbers(make(cache=folder))) == 22
    assert set(os.listdir(folder)) > kept

    for arguments in ({}, {"shuffle": True, "drop_remainder": False}):
        shares = [
            epoch_numbers(
                make(process_index=index, process_count=3, **arguments)
            )
            for index in range(3)
        ]
        assert sorted(sum(shares, [])) == sorted(everything)
    measured = make(statistics="from_data").normalization
    assert measured.mean.shape == (3,) and (measured.std > 0).all()


def test_image_folder_of_tfds(picture_folder, tmp_path):
    picture_folder.rename(tmp_path / "train")
    (tmp_path / "train" / "class 1" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        dataset = tfds_dataset(
            str(tmp_path), "train", 16, 5, transform="evaluation", labels=True
        )
        labels = np.concatenate([labels for _, labels in dataset])
    assert sorted(labels) == [0] * 4 + [1] * 4 + [2] * 4
    assert len(caught) == 2 and "1 of 13" in str(caught[1].message)
    dataset = tfds_dataset(
        str(tmp_path), "train", 16, 4, transform="evaluation"
    )
    # The fixed order promised a fourth batch.
    with pytest.warns(UserWarning, match="cannot be read"):
        with pytest.raises(tf.errors.OpError, match="3 of 4 batches"):
            list(dataset)
    with pytest.raises(ValueError, match="`split`"):
        tfds_dataset(str(tmp_path), "test", 16, 4)


def test_bad_arguments(prepared):
    with pytest.raises(ValueError, match="`split`"):
        tfds_dataset(str(prepared), "validation", 16, 4)
    with pytest.raises(ValueError, match="`labels`"):
        tfds_dataset(str(prepared), "train", 16, 4, transform="fine_tune")
    with pytest.raises(ValueError, match="`num_classes`.*2 classes"):
        tfds_dataset(str(prepared), "train", 16, 4, labels=True, num_classes=1)
    with pytest.raises(ValueError, match="`batch_size`"):
        tfds_dataset(str(prepared), "train", 16, 23)


def test_16_bits_and_images_without_a_label(tmp_path):
    builder = Deep(data_dir=tmp_path)
    builder.download_and_prepare()
    arguments = {
        "transform": EvaluationTransform(64, crop_fraction=1.0),
        "statistics": ([0.0], [1.0]),
        "labels": True,
    }
    dataset = tfds_dataset(builder, "train", 64, 3, **arguments)
    ((images, labels),) = dataset.as_numpy_iterator()
    np.testing.assert_allclose(
        images[0].ravel() * 65535, np.arange(4096) * 16, atol=0.1
    )
    # -1 stays for whoever takes labels as they are; one-hot, it would be 0.
    assert sorted(labels.tolist()) == [-1, 0, 1]
    with pytest.raises(
        tf.errors.OpError, match=r"`labels` must be in \[0, 2\).*-1"
    ):
        list(tfds_dataset(builder, "train", 64, 3, one_hot=True, **arguments))
