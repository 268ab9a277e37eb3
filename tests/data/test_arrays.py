"""Batches from arrays, and the embedded digits."""

import math

import keras
import numpy as np
import pytest

from keras_clmae.data import ArrayDataset
from keras_clmae.data import digits
from keras_clmae.data import load_digits_arrays
from keras_clmae.data import remaining_steps
from tests.once import ONCE


def numbered(count=10):
    """Pictures whose pixels are their own numbers."""
    return np.tile(
        np.arange(count, dtype="float32")[:, None, None, None], (1, 4, 4, 1)
    )


def epoch_numbers(dataset):
    return np.concatenate([batch[:, 0, 0, 0] for batch in dataset])


@ONCE
def test_order_depends_on_seed_and_epoch_only():
    first = ArrayDataset(numbered(), batch_size=3, seed=5)
    orders = []
    for _ in range(3):
        first.on_epoch_begin()
        orders.append(epoch_numbers(first))
    assert not np.array_equal(orders[0], orders[1])
    assert sorted(orders[1]) == list(range(10))

    resumed = ArrayDataset(numbered(), batch_size=3, seed=5)
    resumed.set_epoch(2)
    np.testing.assert_array_equal(epoch_numbers(resumed), orders[2])
    resumed.on_epoch_begin()
    np.testing.assert_array_equal(epoch_numbers(resumed), orders[2])


@ONCE
def test_length_and_remainder():
    dataset = ArrayDataset(numbered(), batch_size=4, drop_remainder=True)
    assert len(dataset) == dataset.steps_per_epoch == 2
    assert dataset.num_examples == 10
    assert len(ArrayDataset(numbered(), batch_size=4)) == 3


@ONCE
@pytest.mark.parametrize("process_count", [1, 2, 3, 4])
def test_processes_share_an_epoch(process_count):
    seen = np.concatenate(
        [
            epoch_numbers(
                ArrayDataset(
                    numbered(),
                    batch_size=2,
                    process_index=index,
                    process_count=process_count,
                )
            )
            for index in range(process_count)
        ]
    )
    assert sorted(seen) == list(range(10))


@ONCE
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((0, 4, 4, 1))}, "`images`"),
        ({"images": np.zeros((4, 4))}, "`images`"),
        ({"labels": np.zeros(3)}, "`labels`"),
        ({"batch_size": 0}, "`batch_size`"),
        (
            # Commands show the message, and have no option `drop_remainder`.
            {"batch_size": 11, "drop_remainder": True},
            "^`batch_size` must be at most 10, as a last batch that is not "
            r"full is left out. Received: batch_size=11 for 10 examples on 1 "
            r"process\(es\)$",
        ),
        ({"process_index": 1}, "`process_count`"),
        ({"process_index": 2, "process_count": 2}, "`process_index`"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataset(**{"images": numbered(), **arguments})


@ONCE
def test_digits_splits_and_statistics():
    (train, train_labels), (test, test_labels) = load_digits_arrays()
    assert train.shape == (1438, 8, 8, 1) and train.dtype == "float32"
    assert len(test) + len(train) == 1797
    assert abs(train.mean()) < 1e-5 and abs(train.std() - 1) < 1e-5
    shares = np.bincount(test_labels) / np.bincount(train_labels)
    np.testing.assert_allclose(shares, 0.25, atol=0.01)


@ONCE
def test_digits_batches():
    dataset = digits(batch_size=100, split="test", labels=True)
    images, labels = dataset[0]
    np.testing.assert_array_equal(images, load_digits_arrays()[1][0][:100])
    assert labels.shape == (100,) and len(dataset) == 4
    pictures = dataset.normalization.inverse(images)
    assert pictures.min() == 0 and pictures.max() == 255
    assert len(digits(split="all", batch_size=1797)) == 1
    with pytest.raises(ValueError, match="`split`"):
        digits(split="valid")


def test_fit_evaluate_and_predict_take_it():
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    history = model.fit(
        digits(labels=True, batch_size=256), shuffle=False, verbose=0
    )
    assert math.isfinite(float(history.history["loss"][0]))
    model.evaluate(digits(split="test", labels=True), verbose=0)
    assert model.predict(digits(split="test"), verbose=0).shape == (359, 10)


class Recorder(keras.Model):
    """Keeps which images it was trained on, in order."""

    def __init__(self):
        super().__init__()
        self.seen = self.add_weight(
            shape=(36,), initializer="zeros", trainable=False
        )
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.dense = keras.layers.Dense(1)

    def call(self, images, training=False):
        if training:
            places = self.count + keras.ops.arange(2)
            self.seen.assign(
                keras.ops.scatter_update(
                    self.seen, places[:, None], images[:, 0, 0, 0]
                )
            )
            self.count.assign_add(2)
        return self.dense(keras.layers.Flatten()(images))


def fit_and_record(dataset, **arguments):
    model = Recorder()
    model.compile("sgd", "mse")
    model.fit(dataset, verbose=0, **arguments)
    return np.asarray(keras.ops.convert_to_numpy(model.seen)).astype(int)


@ONCE
@pytest.mark.parametrize("shuffle", [False, True])
def test_steps_per_epoch_shows_each_image_once_per_pass(shuffle):
    def make():
        return ArrayDataset(
            numbered(12), np.zeros((12, 1)), batch_size=2, seed=5
        )

    seen = fit_and_record(make(), epochs=9, steps_per_epoch=2, shuffle=shuffle)
    passes = seen.reshape(3, 12)
    for each in passes:
        assert sorted(each) == list(range(12))
    assert not np.array_equal(passes[0], passes[1])
    if not shuffle:
        whole = fit_and_record(make(), epochs=3, shuffle=False)
        np.testing.assert_array_equal(seen, whole)
        # What is left of a pass is followed by the next one.
        dataset = make()
        rest = remaining_steps(dataset, 4)
        fit_and_record(rest, epochs=1, shuffle=False)
        later = fit_and_record(dataset, epochs=1, shuffle=False)
        np.testing.assert_array_equal(later[:12], passes[1])
