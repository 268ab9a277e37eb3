"""`patch_error_maps`: every patch is hidden, and its own error comes out."""

import keras
import numpy as np
import pytest

from keras_clmae.data import load_digits_arrays
from keras_clmae.evaluation import PatchErrorMapper
from keras_clmae.evaluation import patch_error_maps
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.optimizers import AdamW
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images


def predict_zeros(model, monkeypatch):
    """Rebuilds every patch as zeros: its error is its mean square."""

    def predict_removed(tokens, selection, training=None):
        shape = (*selection.removed_indices.shape, 4 * 4 * 2)
        return keras.ops.zeros((keras.ops.shape(tokens)[0], *shape[1:]))

    monkeypatch.setattr(model, "predict_removed", predict_removed)
    return model


@pytest.mark.parametrize("mask_ratio", [0.3, 0.5, 0.8])
def test_error_of_every_patch_by_hand(monkeypatch, mask_ratio):
    images = tiny_images(5)
    model = predict_zeros(tiny_autoencoder(mask_ratio=mask_ratio), monkeypatch)
    # 8 x 12 pixels in patches of 4.
    patches = images.reshape(5, 2, 4, 3, 4, 2)
    expected = np.square(patches).mean(axis=(2, 4, 5))
    maps = patch_error_maps(model, images, num_masks=5, batch_size=3)
    assert maps.shape == (5, 2, 3)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


def test_masks_follow_the_seed_and_not_the_batches():
    model, images = tiny_clmae(), tiny_images(5)
    first = patch_error_maps(model, images, num_masks=3)
    again = patch_error_maps(model, images, num_masks=3, batch_size=2)
    np.testing.assert_allclose(first, again, rtol=1e-5)
    assert np.abs(first - patch_error_maps(model, images, 3, seed=1)).max() > 0


@ONCE
def test_too_few_masks():
    with pytest.raises(ValueError, match="`num_masks` must be at least 3"):
        PatchErrorMapper(tiny_autoencoder(mask_ratio=0.3), num_masks=2)


@ONCE
def test_a_pasted_square_stands_out():
    pytest.importorskip("sklearn")
    (images, _), (held_out, _) = load_digits_arrays()
    model = MaskedAutoencoder.from_sizes(
        image_shape=(8, 8, 1),
        patch_size=2,
        hidden_dim=16,
        num_layers=1,
        num_heads=2,
        decoder_hidden_dim=16,
        decoder_num_layers=1,
        decoder_num_heads=2,
        mask_ratio=0.5,
    )
    model.compile(AdamW(3e-3, weight_decay=0.05, beta_2=0.95))
    model.fit(images, batch_size=64, epochs=5, verbose=0)
    digits = held_out[:60]
    # White corners, where digits are black.
    pasted = digits.copy()
    pasted[:, :3, :3] = digits.max()
    scores = []
    for batch in (digits, pasted):
        by_seed = [patch_error_maps(model, batch, seed=seed) for seed in (0, 1)]
        maps = np.mean(by_seed, axis=0)
        scores.append(maps.max(axis=(1, 2)))
    assert scores[1].mean() > 1.3 * scores[0].mean()
    worst = maps.reshape(len(maps), -1).argmax(axis=1)
    # The four patches of the corner.
    assert np.isin(worst, [0, 1, 4, 5]).mean() > 0.6
