"""Logistic probe and few-shot: against scikit-learn, balance, errors."""

import sys

import numpy as np
import pytest

from keras_clmae.evaluation import draw_few_shot
from keras_clmae.evaluation import few_shot_accuracy
from keras_clmae.evaluation import logistic_regression_accuracy
from tests.once import ONCE

pytest.importorskip("sklearn")
# scikit-learn computes it.
pytestmark = ONCE


def clusters(num_images, seed, width=12, num_classes=4):
    centers = np.random.default_rng(7).normal(size=(num_classes, width))
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_images)
    noise = random.normal(scale=1.5, size=(num_images, width))
    return (centers[labels] + noise).astype("float32"), labels


TRAIN = clusters(400, seed=0)
TEST = clusters(200, seed=1)


@pytest.mark.parametrize("regularization", [0.01, 1.0])
def test_agrees_with_scikit_learn(regularization):
    from sklearn.linear_model import LogisticRegression

    mean, std = TRAIN[0].mean(axis=0), TRAIN[0].std(axis=0)
    reference = LogisticRegression(C=regularization, max_iter=1000)
    reference.fit((TRAIN[0] - mean) / std, TRAIN[1])
    expected = reference.score((TEST[0] - mean) / std, TEST[1])
    assert 0.4 < expected < 1
    got = logistic_regression_accuracy(
        *TRAIN, *TEST, regularization=regularization
    )
    assert got == expected


def test_standardization_makes_scale_and_constants_harmless():
    scale = np.geomspace(1e-3, 1e3, 12)
    rescaled = [
        np.concatenate([features * scale, np.ones((len(features), 1))], axis=1)
        for features in (TRAIN[0], TEST[0])
    ]
    got = logistic_regression_accuracy(
        rescaled[0], TRAIN[1], rescaled[1], TEST[1]
    )
    expected = logistic_regression_accuracy(*TRAIN, *TEST)
    assert got == pytest.approx(expected, abs=0.01)


def test_draws_are_balanced_reproducible_and_nested():
    labels = TRAIN[1]
    drawn = draw_few_shot(labels, shots=8, seed=3)
    assert np.bincount(labels[drawn]).tolist() == [8, 8, 8, 8]
    assert len(np.unique(drawn)) == 32
    np.testing.assert_array_equal(drawn, draw_few_shot(labels, 8, seed=3))
    assert set(drawn) != set(draw_few_shot(labels, 8, seed=4))
    assert set(draw_few_shot(labels, 2, seed=3)) < set(drawn)


def test_few_shot_statistics():
    results = few_shot_accuracy(*TRAIN, *TEST, shots=(1, 16), num_draws=4)
    assert list(results) == [1, 16]
    for result in results.values():
        assert len(result["accuracies"]) == 4
        assert result["mean"] == pytest.approx(np.mean(result["accuracies"]))
        assert result["std"] == pytest.approx(
            np.std(result["accuracies"], ddof=1)
        )
    assert results[16]["mean"] > results[1]["mean"]
    again = few_shot_accuracy(*TRAIN, *TEST, shots=(1, 16), num_draws=4)
    assert again == results


def test_few_shot_uses_the_drawn_images_only():
    drawn = draw_few_shot(TRAIN[1], 4, seed=0)
    features = np.full_like(TRAIN[0], 1e6)
    features[drawn] = TRAIN[0][drawn]
    expected = logistic_regression_accuracy(
        TRAIN[0][drawn], TRAIN[1][drawn], *TEST
    )
    results = few_shot_accuracy(features, TRAIN[1], *TEST, shots=[4])
    assert results[4]["accuracies"][0] == expected


def test_errors_of_the_probe():
    with pytest.raises(ValueError, match=r"`train_labels`.*\[0, 3\).*0 to 3"):
        logistic_regression_accuracy(*TRAIN, *TEST, num_classes=3)
    with pytest.raises(ValueError, match="at least two classes.*class 5"):
        logistic_regression_accuracy(TRAIN[0], np.full(400, 5), *TEST)
    with pytest.raises(ValueError, match="`regularization`"):
        logistic_regression_accuracy(*TRAIN, *TEST, regularization=0)
    with pytest.raises(ValueError, match="same width"):
        logistic_regression_accuracy(TRAIN[0][:, :3], TRAIN[1], *TEST)


def test_errors_of_the_draws():
    with pytest.raises(ValueError, match="0 images of class 4"):
        few_shot_accuracy(*TRAIN, *TEST, num_classes=5)
    with pytest.raises(ValueError, match="at least 3 .*2 images of class 1"):
        draw_few_shot(np.array([0, 0, 0, 1, 1]), shots=3, seed=0)
    with pytest.raises(ValueError, match="`shots`.*shots=0"):
        draw_few_shot(TRAIN[1], shots=0, seed=0)
    with pytest.raises(ValueError, match="`num_draws`.*num_draws=1"):
        few_shot_accuracy(*TRAIN, *TEST, num_draws=1)


def test_a_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"keras-clmae\[evaluation\]"):
        logistic_regression_accuracy(*TRAIN, *TEST)
