import numpy as np
import pytest
from keras import ops

from keras_clmae.losses import diversity_loss
from keras_clmae.losses import gaussian_loss
from keras_clmae.losses import kl_loss
from keras_clmae.losses import patch_errors
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskingModule
from keras_clmae.models import mask_overlap
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images


@pytest.mark.parametrize("head", ["class_token", "per_token"])
def test_keep_scores_are_in_the_unit_interval(head):
    scores = ops.convert_to_numpy(tiny_clmae(head).keep_scores(tiny_images()))
    assert scores.shape == (12, 6)
    assert ((scores > 0) & (scores < 1)).all()


def test_per_token_head_fits_any_number_of_tokens():
    module = MaskingModule(num_layers=1, num_heads=2, head="per_token")
    tokens = np.random.default_rng(0).normal(size=(2, 6, 8)).astype("float32")
    module.build(tokens.shape)
    assert tuple(module(tokens[:, :4]).shape) == (2, 4)
    # Nothing but the class token's attention tells positions apart.
    order = [2, 0, 1, 5, 4, 3]
    np.testing.assert_allclose(
        ops.convert_to_numpy(module(tokens[:, order])),
        ops.convert_to_numpy(module(tokens))[:, order],
        atol=1e-6,
    )


def test_the_last_block_for_the_class_token_alone_changes_nothing():
    module = MaskingModule(num_layers=2, num_heads=2)
    tokens = np.random.default_rng(0).normal(size=(2, 6, 8)).astype("float32")
    scores = ops.convert_to_numpy(module(tokens))
    everything = module.class_token(ops.convert_to_tensor(tokens))
    for block in module.blocks:
        everything = block(everything)
    expected = module.score_head(module.norm(everything[:, 0]))
    np.testing.assert_allclose(
        scores, ops.convert_to_numpy(expected), atol=1e-5
    )


def number(scalar):
    return float(ops.convert_to_numpy(scalar))


def test_masking_loss_is_the_weighted_sum_of_its_terms():
    model = tiny_clmae(
        gaussian_loss_weight=0.5, kl_loss_weight=3.0, diversity_loss_weight=4.0
    )
    images = tiny_images()
    loss, logs = model.masking_loss(images, -0.7)
    scores = model.keep_scores(images)
    tokens = model.encoder.embed(images)
    latent = model.encoder.encode(tokens * ops.expand_dims(scores, -1))
    errors = ops.convert_to_numpy(
        patch_errors(
            model.autoencoder.decoder(latent), model.autoencoder.targets(images)
        )
    )
    removed = 1 - ops.convert_to_numpy(scores)
    reconstruction = (errors * removed).sum() / removed.sum()
    np.testing.assert_allclose(
        number(logs["masking_reconstruction_loss"]), reconstruction, rtol=1e-5
    )
    expected = (
        -0.7 * reconstruction
        + 0.5 * number(gaussian_loss(scores))
        + 3.0 * number(kl_loss(scores, 0.5))
        + 4.0 * number(diversity_loss(scores))
    )
    np.testing.assert_allclose(number(loss), expected, rtol=1e-5)


def test_call_and_reconstruct_use_the_learned_masks():
    model = tiny_clmae()
    images = tiny_images()
    outputs = model(images)
    scores = ops.convert_to_numpy(model.keep_scores(images))
    mask = ops.convert_to_numpy(outputs["mask"])
    kept = np.sort(scores, axis=1)[:, 3]
    np.testing.assert_array_equal(mask == 0, scores >= kept[:, None])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.reconstruct(images)["mask"]), mask
    )


def test_mask_overlap_by_hand():
    masks = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]], "float32")
    # Pairs share 1, 0 and 1 of 2 visible tokens.
    np.testing.assert_allclose(float(mask_overlap(masks)), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(float(mask_overlap(masks[[0, 0]])), 1.0)
    assert float(mask_overlap(masks[:1])) == 0.0


@ONCE
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: CLMAE(None), "autoencoder"),
        (
            lambda: CLMAE(tiny_autoencoder(), kl_loss_weight="0.1"),
            "kl_loss_weight",
        ),
        (lambda: MaskingModule(head="both"), "head"),
        (lambda: MaskingModule(num_layers=0), "num_layers"),
        (
            lambda: CLMAE(tiny_autoencoder(), MaskingModule(num_heads=3)),
            "num_heads",
        ),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()
