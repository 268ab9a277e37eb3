import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae.layers import keep_top_tokens
from keras_clmae.layers import patchify
from keras_clmae.layers import unpatchify
from keras_clmae.losses import normalize_patches
from keras_clmae.models import Decoder
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from tests.once import ONCE
from tests.tiny_models import SIZES
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_images


def test_loss_is_the_mean_over_removed_patches():
    model = tiny_autoencoder(normalize_targets=True)
    images = tiny_images(3)
    scores = np.random.default_rng(0).uniform(size=(3, 6)).astype("float32")
    outputs = model(images, keep_scores=scores)
    loss = model.compute_loss(x=images, y_pred=outputs)
    # By the definition: predict everything, weight by the mask.
    selection = keep_top_tokens(ops.convert_to_tensor(scores), 3)
    visible = ops.take_along_axis(
        model.encoder.embed(images),
        ops.expand_dims(selection.keep_indices, -1),
        axis=1,
    )
    prediction = model.decoder(
        model.encoder.encode(visible), selection.restore_indices
    )
    targets = normalize_patches(patchify(images, 4))
    errors = ops.convert_to_numpy(
        ops.mean(ops.square(prediction - targets), axis=-1)
    )
    mask = ops.convert_to_numpy(outputs["mask"])
    expected = (errors * mask).sum() / mask.sum()
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


def test_ratio_of_random_masks_and_that_they_differ():
    model = tiny_autoencoder(seed=1)
    masks = [
        ops.convert_to_numpy(model(tiny_images(40))["mask"]) for _ in range(2)
    ]
    np.testing.assert_array_equal(masks[0].sum(axis=1), np.full(40, 3))
    # New masks each step and each image; every position is removed at times.
    assert (masks[0] != masks[1]).any()
    assert len(np.unique(masks[0], axis=0)) > 5
    share = np.concatenate(masks).mean(axis=0)
    assert np.abs(share - 0.5).max() < 5 * np.sqrt(0.25 / 80)


def test_trains_with_plain_keras():
    model = tiny_autoencoder(seed=0)
    model.compile(keras.optimizers.Adam(1e-2))
    images = tiny_images(16)
    history = model.fit(
        images, batch_size=8, epochs=6, validation_data=(images,), verbose=0
    ).history
    assert sorted(history) == ["loss", "val_loss"]
    assert history["loss"][-1] < history["loss"][0]
    outputs = model.predict(images, verbose=0)
    assert outputs["prediction"].shape == (16, 3, 32)


def test_reconstruction_pastes_the_visible_patches_and_restores_statistics():
    model = tiny_autoencoder(normalize_targets=True)
    images = 3 + 2 * tiny_images(4)
    scores = np.random.default_rng(0).uniform(size=(4, 6)).astype("float32")
    outputs = {
        name: ops.convert_to_numpy(value)
        for name, value in model.reconstruct(images, scores).items()
    }
    removed = ops.convert_to_numpy(
        unpatchify(
            np.repeat(outputs["mask"][..., None], 32, axis=-1), (2, 3), 4
        )
    ).astype(bool)
    np.testing.assert_array_equal(outputs["images"][~removed], images[~removed])
    np.testing.assert_array_equal(
        outputs["visible"], np.where(removed, 0, images)
    )
    # Each removed patch is the prediction for this very place.
    prediction = model(images, keep_scores=scores)
    indices = ops.convert_to_numpy(prediction["removed_indices"])
    patches = ops.convert_to_numpy(patchify(images, 4))
    shown = ops.convert_to_numpy(patchify(outputs["images"], 4))
    for image in range(4):
        for row, index in enumerate(indices[image]):
            patch = patches[image, index]
            expected = (
                ops.convert_to_numpy(prediction["prediction"])[image, row]
                * np.sqrt(patch.var(ddof=1) + 1e-6)
                + patch.mean()
            )
            np.testing.assert_allclose(shown[image, index], expected, atol=1e-4)


@ONCE
@pytest.mark.parametrize(
    "ratio", [0.0, 1.0, -0.5, 1.5, "0.75", None, True, 0.99, 0.05]
)
def test_mask_ratio_must_leave_tokens_on_both_sides(ratio):
    # 0.05 of six tokens removes one: int(6 * 0.95) is 5.
    if ratio == 0.05:
        assert tiny_autoencoder(mask_ratio=ratio).num_visible == 5
        return
    with pytest.raises(ValueError, match="`mask_ratio` must"):
        tiny_autoencoder(mask_ratio=ratio)


@ONCE
def test_parts_must_fit():
    encoder = ViTEncoder((8, 12, 2), 4, 8, 1, 2)
    decoder = Decoder((2, 2), 32, 8, 1, 2)
    with pytest.raises(ValueError, match="`decoder` must have the encoder's"):
        MaskedAutoencoder(encoder, decoder)
    with pytest.raises(ValueError, match="`encoder` must be a ViTEncoder"):
        MaskedAutoencoder(decoder, decoder)


@ONCE
def test_sizes_are_counted():
    # A test that the tiny sizes are what the other tests think they are.
    assert SIZES["mask_ratio"] == 0.5
    assert tiny_autoencoder().num_visible == 3


def test_a_loss_that_is_not_finite_stops_with_term_and_step():
    images = tiny_images()
    images[9] = np.nan
    model = tiny_autoencoder()
    model.compile("adam")
    with pytest.raises(FloatingPointError, match="`loss` is nan at step 2 of"):
        model.fit(images, batch_size=4, shuffle=False, verbose=0)
