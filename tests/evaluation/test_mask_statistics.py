"""Mask statistics against masks whose numbers are known."""

import warnings

import keras
import numpy as np
import pytest

from keras_clmae.evaluation import mask_statistics
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import mask_overlap
from keras_clmae.objectives import PatchErrorObjective
from tests.once import ONCE

SIZES = {
    "image_shape": (8, 8, 1),
    "patch_size": 2,
    "hidden_dim": 16,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_hidden_dim": 16,
    "decoder_num_layers": 1,
    "decoder_num_heads": 2,
}
IMAGES = np.random.default_rng(0).normal(size=(30, 8, 8, 1)).astype("float32")


class FixedScores(keras.layers.Layer):
    """Scores by position: the same for every image."""

    def __init__(self, scores):
        super().__init__()
        self.scores = np.asarray(scores, "float32")

    def call(self, tokens):
        batch = keras.ops.shape(tokens)[0]
        return keras.ops.broadcast_to(self.scores, (batch, len(self.scores)))


class VaryingScores(keras.layers.Layer):
    """Scores that differ from image to image and from token to token."""

    def call(self, tokens):
        return 0.5 + 0.49 * keras.ops.sin(9.0 * keras.ops.sum(tokens, axis=-1))


def make_model(masking_module):
    return CLMAE.from_sizes(masking_module=masking_module, **SIZES)


def test_numbers_by_hand():
    scores = np.where(np.arange(16) % 4 == 0, 0.9, 0.1)
    with pytest.warns(UserWarning, match="images share 100.0%"):
        statistics = mask_statistics(
            make_model(FixedScores(scores)), IMAGES, batch_size=8
        )
    entropy = -0.9 * np.log2(0.9) - 0.1 * np.log2(0.1)
    expected = {
        "mask_ratio": 0.75,
        "keep_score_mean": 0.3,
        "keep_score_std": scores.std(),
        "undecided_share": 0.0,
        "entropy": entropy,
        "mask_overlap": 1.0,
    }
    for name, value in expected.items():
        assert statistics[name] == pytest.approx(value, abs=1e-5), name
    # The first column of the 4 x 4 grid.
    np.testing.assert_array_equal(
        statistics["visible_share"], np.eye(4)[[0, 0, 0, 0]]
    )


@ONCE
def test_undecided_scores_warn():
    model = make_model(FixedScores(np.linspace(0.45, 0.55, 16)))
    with pytest.warns(UserWarning) as caught:
        statistics = mask_statistics(model, IMAGES)
    messages = [str(warning.message) for warning in caught]
    assert any("100.0% of the scores are undecided" in m for m in messages)
    assert statistics["undecided_share"] == 1.0
    assert statistics["entropy"] > 0.99


@ONCE
def test_masks_of_their_own_do_not_warn():
    model = make_model(VaryingScores())
    with warnings.catch_warnings():
        # Ours only: the backends have warnings of their own.
        warnings.simplefilter("error", UserWarning)
        statistics = mask_statistics(model, (IMAGES, np.arange(30)), 8)
    assert statistics["mask_overlap"] < 0.6
    assert statistics["visible_share"].sum() == pytest.approx(4)


@ONCE
def test_predicted_errors_are_not_undecided():
    model = CLMAE.from_sizes(objective=PatchErrorObjective(), **SIZES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        statistics = mask_statistics(model, IMAGES)
    assert "undecided_share" not in statistics
    assert "keep_score_mean" not in statistics
    assert statistics["visible_share"].sum() == pytest.approx(4)


@ONCE
def test_overlap_agrees_with_the_one_in_the_log():
    model = make_model(VaryingScores())
    statistics = mask_statistics(model, IMAGES)
    expected = mask_overlap(model(IMAGES)["mask"])
    assert statistics["mask_overlap"] == pytest.approx(
        float(expected), abs=1e-5
    )


def test_losses_are_those_of_validation():
    model = make_model(VaryingScores())
    expected = model.validation_losses(keras.ops.convert_to_tensor(IMAGES))
    statistics = mask_statistics(model, IMAGES)
    learned, random = (
        float(keras.ops.convert_to_numpy(expected[name]))
        for name in ("loss", "random_mask_loss")
    )
    assert statistics["learned_mask_loss"] == pytest.approx(learned, rel=1e-4)
    assert statistics["random_mask_loss"] == pytest.approx(random, rel=1e-4)
    assert statistics["difficulty"] == pytest.approx(learned / random, rel=1e-4)
    # Batches of 8, 8, 8 and 6 count by their images.
    batched = mask_statistics(model, IMAGES, batch_size=8)
    assert batched["learned_mask_loss"] == pytest.approx(learned, rel=1e-4)


@ONCE
def test_a_generator():
    model = make_model(VaryingScores())
    batches = (IMAGES[i : i + 8] for i in range(0, 30, 8))
    got = mask_statistics(model, batches)
    assert got["mask_overlap"] == pytest.approx(
        mask_statistics(model, IMAGES)["mask_overlap"]
    )


@ONCE
def test_errors():
    baseline = MaskedAutoencoder.from_sizes(**SIZES)
    with pytest.raises(ValueError, match="`model` must be a CLMAE"):
        mask_statistics(baseline, IMAGES)
    model = make_model(VaryingScores())
    with pytest.raises(ValueError, match="`dataset`.*two images.*Received: 1"):
        mask_statistics(model, IMAGES[:1])
