"""Objectives of learned maskers, by hand and in training."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae import objectives
from keras_clmae.curriculum import StepCurriculum
from keras_clmae.layers import keep_top_tokens
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskingModule
from keras_clmae.objectives import RemovedErrors
from tests.once import ONCE
from tests.tiny_models import compiled_clmae
from tests.tiny_models import predicting_clmae
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_images
from tests.tiny_models import to_numpy


@ONCE
def test_patch_error_loss_by_hand():
    # Two images of four tokens, two of which are removed.
    predictions = np.array([[9.0, 1.0, 3.0, 9.0], [0.0, 9.0, 9.0, 2.0]])
    indices = np.array([[2, 1], [0, 3]])
    errors = np.array([[0.7, 0.1], [2.0, 6.0]])
    loss, logs = objectives.PatchErrorObjective()(
        None,
        None,
        ops.convert_to_tensor(predictions.astype("float32")),
        -1.0,
        RemovedErrors(
            ops.convert_to_tensor(errors.astype("float32")),
            ops.convert_to_tensor(indices),
        ),
    )
    # Targets (0.7, 0.1) -> (1, -1) and (2, 6) -> (-1, 1); predictions less
    # their mean (3, 1) -> (1, -1) and (0, 2) -> (-1, 1): no error, rank right.
    np.testing.assert_allclose(float(loss), 0.0, atol=1e-4)
    np.testing.assert_allclose(
        float(logs["patch_error_correlation"]), 1.0, atol=1e-4
    )
    loss, logs = objectives.PatchErrorObjective()(
        None,
        None,
        ops.convert_to_tensor((-2 * predictions).astype("float32")),
        1.0,
        RemovedErrors(
            ops.convert_to_tensor(errors.astype("float32")),
            ops.convert_to_tensor(indices),
        ),
    )
    # (-2, 2) from (1, -1): nine for each.
    np.testing.assert_allclose(float(loss), 9.0, rtol=1e-4)
    np.testing.assert_allclose(
        float(logs["patch_error_correlation"]), -1.0, atol=1e-4
    )


@ONCE
def test_ranking_loss_by_hand():
    predictions = np.array([[2.0, 0.0, 1.0]], "float32")
    errors = np.array([[1.0, 2.0, 3.0]], "float32")
    loss, _ = objectives.PatchErrorObjective(loss="ranking")(
        None,
        None,
        ops.convert_to_tensor(predictions),
        1.0,
        RemovedErrors(ops.convert_to_tensor(errors), np.array([[0, 1, 2]])),
    )
    # Pairs of larger and smaller error: (1, 0), (2, 0), (2, 1).
    differences = np.array([-2.0, -1.0, 1.0])
    np.testing.assert_allclose(
        float(loss), np.log1p(np.exp(-differences)).mean(), rtol=1e-5
    )


def test_factor_and_noise_of_the_selection():
    objective = objectives.PatchErrorObjective(sharpness=2.0, seed=0)
    predictions = np.random.default_rng(0).normal(size=(3000, 4)) + [0, 1, 2, 5]
    predictions = ops.convert_to_tensor(predictions.astype("float32"))

    def visible(factor, training):
        scores = objective.selection_scores(predictions, factor, training)
        return 1 - ops.convert_to_numpy(keep_top_tokens(scores, 2).mask)

    highest = ops.convert_to_numpy(ops.argmax(predictions, axis=-1))
    rows = np.arange(3000)
    # +1 keeps what is hard visible, -1 hides it; no noise in validation.
    assert visible(1.0, False)[rows, highest].all()
    assert not visible(-1.0, False)[rows, highest].any()
    # 0 is MAE: every token as often as any other.
    share = visible(0.0, True).mean(axis=0)
    assert np.abs(share - 0.5).max() < 5 * np.sqrt(0.25 / 3000)
    assert 0.6 < visible(1.0, True)[rows, highest].mean() < 0.999
    # The noise is Gumbel's: mean 0.5772, variance pi ** 2 / 6.
    noise = ops.convert_to_numpy(
        objective.selection_scores(predictions, 0.0, True)
    )
    np.testing.assert_allclose(noise.mean(), 0.5772, atol=0.06)
    np.testing.assert_allclose(noise.var(), np.pi**2 / 6, atol=0.15)


@pytest.mark.parametrize("share", [0.5, pytest.param(0.0, marks=ONCE)])
def test_each_player_moves_by_its_own_loss(share):
    model = compiled_clmae(
        keras.optimizers.SGD(0.0),
        predicting_clmae(),
        masking_optimizer=keras.optimizers.SGD(0.1),
        random_mask_share=share,
    )
    before = to_numpy(model.autoencoder_variables)
    masking_before = to_numpy(model.masking_variables)
    logs = model.train_on_batch(tiny_images(8), return_dict=True)
    assert set(logs) == set(model.log_terms)
    for now, then in zip(
        to_numpy(model.autoencoder_variables), before, strict=True
    ):
        np.testing.assert_array_equal(now, then)
    # The last bias moves nothing: predictions count less their mean.
    moved = [
        not np.array_equal(now, then)
        for now, then in zip(
            to_numpy(model.masking_variables), masking_before, strict=True
        )
    ]
    assert sum(moved) >= len(moved) - 2


@ONCE
def test_the_targets_are_the_errors_of_the_autoencoder_loss():
    model = predicting_clmae()
    images = tiny_images(4)
    seen = []

    class Spy(objectives.PatchErrorObjective):
        def __call__(self, *arguments):
            seen.append(arguments)
            return super().__call__(*arguments)

    model.objective = Spy()
    (loss, _), (masking_loss, logs) = model.both_losses(images, 0.3)
    ((autoencoder, learned, keep_scores, factor, removed),) = seen
    assert autoencoder is model.autoencoder
    assert factor == 0.3
    np.testing.assert_array_equal(learned, images)
    assert removed.errors.shape == removed.indices.shape == (4, 3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.mean(removed.errors)),
        ops.convert_to_numpy(loss.detach()),
        rtol=1e-5,
    )
    assert not removed.errors.requires_grad
    assert keep_scores.requires_grad
    assert logs["masking_loss"] is masking_loss


@ONCE
def test_it_learns_to_rank_errors():
    model = predicting_clmae()
    # The right half is noise, which no autoencoder learns.
    draw = np.random.default_rng(0)
    images = np.ones((64, 8, 12, 2), "float32")
    images[:, :, 8:] = 2 * draw.normal(size=(64, 8, 4, 2))
    compiled_clmae(
        keras.optimizers.Adam(1e-2),
        model,
        masking_optimizer=keras.optimizers.Adam(1e-2),
        curriculum=-1.0,
    )
    for _ in range(40):
        logs = model.train_on_batch(images, return_dict=True)
        model.reset_metrics()
    assert logs["patch_error_correlation"] > 0.5
    mask = ops.convert_to_numpy(model(images)["mask"]).reshape(64, 2, 3)
    # Two of the three removed patches are the hard ones.
    assert mask[:, :, 2].mean() > 0.9
    validation = model.evaluate(images, verbose=0, return_dict=True)
    assert validation["mask_difficulty"] > 1.2


@ONCE
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: objectives.PatchErrorObjective(sharpness=0), "sharpness"),
        (lambda: objectives.PatchErrorObjective(loss="huber"), "loss"),
        (
            lambda: objectives.CurriculumObjective(kl_loss_weight=None),
            "kl_loss_weight",
        ),
        (
            lambda: CLMAE(
                tiny_autoencoder(),
                MaskingModule(1, 2),
                objective=objectives.PatchErrorObjective(),
            ),
            "masking_module",
        ),
        (
            lambda: CLMAE(
                tiny_autoencoder(), MaskingModule(1, 2, activation="linear")
            ),
            "masking_module",
        ),
        (
            lambda: CLMAE(
                tiny_autoencoder(),
                kl_loss_weight=1.0,
                objective=objectives.CurriculumObjective(),
            ),
            "objective",
        ),
        (lambda: CLMAE(tiny_autoencoder(), objective="mse"), "objective"),
        (
            lambda: compiled_clmae(
                model=predicting_clmae(), update="simultaneous"
            ),
            "update",
        ),
        (
            lambda: compiled_clmae(
                model=predicting_clmae(), masking_update_period=2
            ),
            "masking_update_period",
        ),
        (lambda: compiled_clmae(random_mask_share=1.0), "random_mask_share"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()


@keras.saving.register_keras_serializable(package="tests")
class Entropy(objectives.MaskingObjective):
    """A whole new objective: what CONTRIBUTING promises."""

    term_names = ("entropy_loss",)

    def __call__(self, autoencoder, images, keep_scores, factor, removed=None):
        loss = ops.mean(-keep_scores * ops.log(keep_scores))
        return factor * loss, {"entropy_loss": loss}

    def get_config(self):
        return {}


@ONCE
def test_an_objective_of_ones_own(tmp_path):
    model = CLMAE(
        tiny_autoencoder(),
        MaskingModule(1, 2, name="masking_module"),
        objective=Entropy(),
    )
    compiled_clmae(model=model)
    history = model.fit(tiny_images(4), verbose=0).history
    assert set(history) == set(model.log_terms)
    assert "undecided_share" not in history
    path = str(tmp_path / "model.keras")
    model.save(path)
    assert isinstance(keras.saving.load_model(path).objective, Entropy)


def test_compiled_validation_and_prediction_have_the_present_factor():
    """A function that was compiled earlier has no factor of that time."""
    model = predicting_clmae()
    compiled_clmae(
        optimizer=keras.optimizers.SGD(0.0),
        model=model,
        curriculum=StepCurriculum([3], [1.0, -1.0]),
    )
    images = tiny_images(8)
    masks = []
    for _ in range(2):
        history = model.fit(
            images, batch_size=4, verbose=0, validation_data=(images,)
        )
        (expected,) = to_numpy([model.validation_losses(images)["loss"]])
        found = model.evaluate(
            images, batch_size=8, return_dict=True, verbose=0
        )
        for loss in (found["loss"], history.history["val_loss"][0]):
            assert loss == pytest.approx(expected, rel=1e-4)
        masks.append(model.predict(images, verbose=0)["keep_scores"])
        np.testing.assert_allclose(
            masks[-1], *to_numpy([model.keep_scores(images)]), atol=1e-5
        )
    # The weights stay as they are: the factor alone has turned.
    np.testing.assert_allclose(masks[0], -masks[1], atol=1e-5)
