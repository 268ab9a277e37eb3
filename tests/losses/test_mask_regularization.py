import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae.losses import diversity_loss
from keras_clmae.losses import gaussian_loss
from keras_clmae.losses import kl_loss


def scores_of(shape=(6, 9), seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype("float32")


def test_gaussian_by_hand():
    scores = np.array([[0.5, 0.62, 0.0]], "float32")
    bumps = [1.0, math.exp(-0.5), math.exp(-0.25 / (2 * 0.0144))]
    expected = sum(bumps) / 3 * 0.12 * math.sqrt(2 * math.pi)
    assert abs(float(gaussian_loss(scores)) - expected) < 1e-6


def test_kl_by_hand():
    scores = np.array([[0.2, 0.4], [0.25, 0.25]], "float32")
    # Means 0.3 and 0.25; the second is the target of mask_ratio 0.75.
    expected = 0.3 * math.log(0.3 / 0.25) + 0.7 * math.log(0.7 / 0.75)
    assert abs(float(kl_loss(scores, 0.75)) - expected / 2) < 1e-6


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_kl_is_finite_at_the_ends(value):
    assert math.isfinite(float(kl_loss(np.full((2, 4), value), 0.75)))


def test_diversity_is_the_mean_over_pairs():
    scores = scores_of()
    pairs = itertools.combinations(scores.astype("float64"), 2)
    expected = np.mean(
        [math.exp(-0.1 * np.linalg.norm(a - b)) for a, b in pairs]
    )
    assert abs(float(diversity_loss(scores)) - expected) < 1e-6


def test_diversity_of_one_image_is_zero():
    assert float(diversity_loss(scores_of((1, 9)))) == 0.0


def test_diversity_of_equal_rows_is_one():
    equal = np.tile(scores_of((1, 9)), (4, 1))
    assert abs(float(diversity_loss(equal)) - 1.0) < 1e-4


def test_diversity_gradient_is_finite_where_rows_are_equal():
    class Scores(keras.Model):
        """Trains the scores themselves on the loss."""

        def __init__(self):
            super().__init__()
            self.scores = self.add_weight(
                shape=(3, 4),
                initializer=lambda shape, dtype=None: ops.convert_to_tensor(
                    [[0.5] * 4, [0.5] * 4, [0.1] * 4], dtype=dtype
                ),
            )
            self.built = True

        def call(self, x):
            return self.scores * 1.0

        def compute_loss(
            self,
            x=None,
            y=None,
            y_pred=None,
            sample_weight=None,
            training=True,
        ):
            return diversity_loss(y_pred)

    model = Scores()
    model.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    before = ops.convert_to_numpy(model.scores).copy()
    model.train_on_batch(np.zeros((1, 1), "float32"))
    after = ops.convert_to_numpy(model.scores)
    assert np.isfinite(after).all()
    # The third row is pushed away from the two others; they move together.
    assert (after[2] < before[2]).all()
    np.testing.assert_allclose(after[0], after[1])
    assert (after[0] > before[0]).all()


def test_losses_are_float32_under_bfloat16():
    scores = ops.cast(scores_of(), "bfloat16")
    for loss in (
        gaussian_loss(scores),
        kl_loss(scores, 0.75),
        diversity_loss(scores),
    ):
        assert ops.convert_to_numpy(loss).dtype == np.float32
