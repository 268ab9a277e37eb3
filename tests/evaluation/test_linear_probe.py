"""Linear probing: on features, on images, the protocol's parts, errors."""

import keras
import numpy as np
import pytest

from keras_clmae.evaluation import extract_features
from keras_clmae.evaluation import linear_probe
from keras_clmae.evaluation import linear_probe_accuracy
from keras_clmae.evaluation import linear_probe_images
from keras_clmae.evaluation import logistic_regression_accuracy
from keras_clmae.evaluation.schedule import probe_schedule
from keras_clmae.models import ViTEncoder
from keras_clmae.optimizers import LARS
from tests.once import ONCE


def clusters(num_images, seed, width=12, num_classes=4):
    centers = np.random.default_rng(7).normal(size=(num_classes, width))
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_images)
    noise = random.normal(scale=1.5, size=(num_images, width))
    # Features of very different sizes, which the batch norm has to even out.
    scale = np.geomspace(1e-2, 1e2, width)
    return ((centers[labels] + noise) * scale).astype("float32"), labels


TRAIN = clusters(1024, seed=0)
TEST = clusters(400, seed=1)


class Images(keras.utils.PyDataset):
    """Bright and dark images."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(0)
        self.labels = np.arange(32) % 2
        self.images = (
            random.normal(size=(32, 8, 8, 1))
            + 3 * self.labels[:, None, None, None]
        ).astype("float32")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return self.images[rows], self.labels[rows]


@pytest.mark.parametrize(
    "solver, arguments",
    [
        ("sgd", {"batch_size": 128, "epochs": 20, "warmup_epochs": 2}),
        # Its steps are small next to the weights: see the docstring.
        pytest.param(
            "lars",
            {"batch_size": 128, "epochs": 60, "base_learning_rate": 5.0},
            marks=ONCE,
        ),
    ],
)
def test_comes_close_to_the_closed_form(solver, arguments):
    expected = logistic_regression_accuracy(*TRAIN, *TEST)
    got = linear_probe_accuracy(*TRAIN, *TEST, solver=solver, **arguments)
    assert 0.4 < expected < 1
    assert got == pytest.approx(expected, abs=0.04)


@ONCE
def test_logistic_regression_is_a_solver():
    got = linear_probe_accuracy(*TRAIN, *TEST, solver="logistic_regression")
    assert got == logistic_regression_accuracy(*TRAIN, *TEST)


@ONCE
def test_the_same_seed_gives_the_same_accuracy():
    arguments = {"solver": "sgd", "epochs": 2, "warmup_epochs": 0}
    scores = [
        linear_probe_accuracy(
            *TRAIN, *TEST, batch_size=64, seed=seed, **arguments
        )
        for seed in (3, 3)
    ]
    assert scores[0] == scores[1]


@ONCE
def test_protocol_of_mae(monkeypatch):
    made = {}

    class Recorded(LARS):
        def __init__(self, learning_rate, **kwargs):
            super().__init__(learning_rate, **kwargs)
            made["optimizer"] = self

    monkeypatch.setattr(linear_probe, "LARS", Recorded)
    linear_probe_accuracy(*TRAIN, *TEST, batch_size=512)
    optimizer = made["optimizer"]
    assert optimizer.momentum == 0.9
    assert optimizer.trust_coefficient == 0.001
    assert optimizer.weight_decay is None
    # 90 epochs of two batches, the peak after 10: 0.1 * 512 / 256.
    assert int(optimizer.iterations) == 180
    schedule = optimizer._learning_rate
    rates = [float(schedule(step)) for step in (0, 10, 20, 100, 180)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.1, 0], abs=1e-6)


def test_on_images():
    encoder = ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    before = encoder.get_weights()
    dataset = Images()
    accuracy = linear_probe_images(
        encoder,
        dataset,
        (dataset.images, dataset.labels),
        num_classes=2,
        batch_size=16,
        solver="sgd",
        epochs=10,
        warmup_epochs=1,
    )
    assert accuracy > 0.9
    for old, new in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@ONCE
def test_errors():
    with pytest.raises(ValueError, match="`solver`.*solver='adam'"):
        linear_probe_accuracy(*TRAIN, *TEST, solver="adam")
    with pytest.raises(ValueError, match=r"`train_labels`.*\[0, 3\)"):
        linear_probe_accuracy(*TRAIN, *TEST, num_classes=3)
    with pytest.raises(ValueError, match=r"`train_labels`.*below 0"):
        linear_probe_accuracy(TRAIN[0], TRAIN[1] - 1, *TEST)


@ONCE
def test_a_short_training_has_a_short_warmup():
    for epochs, warmup in ((5, 1), (3, 0), (20, 10)):
        schedule = probe_schedule(1.0, 256, 4, epochs, 10)
        rates = [float(schedule(4 * epoch)) for epoch in range(epochs)]
        assert np.argmax(rates) == warmup
        assert rates[warmup] == pytest.approx(1.0)
    arguments = {"solver": "sgd", "batch_size": 128, "epochs": 1}
    assert 0 <= linear_probe_accuracy(*TRAIN, *TEST, **arguments) <= 1


@ONCE
def test_errors_on_images():
    encoder = ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    dataset = Images()
    arguments = {"num_classes": 2, "batch_size": 16}
    with pytest.raises(ValueError, match="`train_dataset` must know"):
        linear_probe_images(encoder, iter(()), dataset, **arguments)
    dataset.labels = dataset.labels + 1
    with pytest.raises(ValueError, match=r"`test_dataset`.*from 1 to 2"):
        linear_probe_images(encoder, dataset, dataset, **arguments)
    with pytest.raises(ValueError, match=r"`y`.*from 1 to 2"):
        linear_probe_images(encoder, dataset, Images(), **arguments)


@ONCE
def test_features_and_images_agree_without_augmentation():
    encoder = ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    dataset = Images()
    arguments = {"solver": "sgd", "epochs": 10, "warmup_epochs": 1}
    features = extract_features(encoder, dataset, "class_token", verbose=0)
    on_features = linear_probe_accuracy(
        *features, *features, batch_size=16, **arguments
    )
    on_images = linear_probe_images(
        encoder, dataset, dataset, num_classes=2, batch_size=16, **arguments
    )
    assert on_images == pytest.approx(on_features, abs=0.1)
