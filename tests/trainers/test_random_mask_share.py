"""A share of each batch under random masks."""

import keras
import numpy as np
import pytest

from tests.once import ONCE
from tests.tiny_models import QUICK
from tests.tiny_models import compiled_clmae
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images
from tests.tiny_models import to_numpy


@pytest.mark.parametrize(
    "batch", [7, *(pytest.param(n, marks=ONCE) for n in (2, 1))]
)
def test_shares_of_batches_of_any_size(batch):
    model = compiled_clmae(random_mask_share=0.5)
    logs = model.train_on_batch(tiny_images(batch), return_dict=True)
    assert set(logs) == set(model.log_terms)
    assert np.isfinite([float(value) for value in logs.values()]).all()
    drawn = {7: 4, 2: 1, 1: 0}[batch]
    loss = (
        drawn * logs["random_mask_loss"]
        + (batch - drawn) * logs["learned_mask_loss"]
    ) / batch
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)


def test_the_share_is_masked_at_random_and_the_rest_is_learned_from():
    model = compiled_clmae(model=tiny_clmae(seed=0), random_mask_share=0.5)
    images = tiny_images(8)
    fresh = tiny_clmae(seed=0)
    fresh.set_weights(model.get_weights())
    # What the two halves give by themselves, under the same weights.
    random_loss = fresh.autoencoder.compute_loss(
        x=images[:4], y_pred=fresh.autoencoder(images[:4])
    )
    learned_loss, _ = fresh.autoencoder_loss(images[4:])
    logs = model.train_on_batch(images, return_dict=True)
    np.testing.assert_allclose(
        [logs["random_mask_loss"], logs["learned_mask_loss"]],
        to_numpy([random_loss, learned_loss]),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        logs["mask_difficulty"],
        logs["learned_mask_loss"] / logs["random_mask_loss"],
        rtol=1e-5,
    )
    # The masking phase has the second half alone.
    again = compiled_clmae(
        optimizer=keras.optimizers.SGD(0.0),
        model=fresh,
        random_mask_share=0.5,
        **QUICK,
    )
    expected = again.masking_loss(images[4:], 1.0)[0]
    logs = again.train_on_batch(images, return_dict=True)
    np.testing.assert_allclose(
        logs["masking_loss"], *to_numpy([expected]), rtol=1e-5
    )
