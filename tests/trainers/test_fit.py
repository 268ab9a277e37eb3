"""Arguments that `fit` and `compile` take, refuse, or warn of."""

import keras
import numpy as np
import pytest

from keras_clmae.trainers import WatchCurriculum
from keras_clmae.trainers import follows_curriculum
from tests.once import ONCE
from tests.tiny_models import QUICK
from tests.tiny_models import assert_same_bits
from tests.tiny_models import compiled_clmae
from tests.tiny_models import compiled_mae
from tests.tiny_models import shared_clmae
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images
from tests.tiny_models import to_numpy


def fit(model, images=None, **arguments):
    images = tiny_images(4) if images is None else images
    return model.fit(images, verbose=0, **arguments).history


@pytest.mark.parametrize("make", [compiled_clmae, compiled_mae])
def test_weights_of_samples_are_refused(make):
    model, images = make(), tiny_images(4)
    for arguments in (
        {"sample_weight": np.ones(4)},
        {"y": np.zeros(4), "class_weight": {0: 1.0}},
        {"validation_data": (images, np.zeros(4), np.ones(4))},
    ):
        with pytest.raises(ValueError, match=f"`{[*arguments][-1]}` must be"):
            fit(model, images, **arguments)
    with pytest.raises(ValueError, match="`sample_weight` must be"):
        model.evaluate(images, sample_weight=np.zeros(4), verbose=0)
    with pytest.raises(ValueError, match="`sample_weight` and `class_weight`"):
        model.train_on_batch(images, np.zeros(4), sample_weight=np.ones(4))


@pytest.mark.parametrize(
    "make", [compiled_clmae, pytest.param(compiled_mae, marks=ONCE)]
)
def test_batches_of_dicts(make):
    model, images = make(**QUICK), tiny_images(4)
    weights = model.get_weights()
    expected = model.train_on_batch(images, return_dict=True)["loss"]
    for batch in (
        {"image": images, "label": np.zeros(4)},
        {"pixel_values": images},
    ):
        model.set_weights(weights)
        model.reset_metrics()
        logs = model.train_on_batch(batch, return_dict=True)
        # Plain MAE draws other masks each time.
        np.testing.assert_allclose(logs["loss"], expected, rtol=0.5)
    with pytest.raises(ValueError, match="keys 'image', 'images', 'pixel"):
        model.train_on_batch({"picture": images})


@ONCE
@pytest.mark.parametrize("make", [tiny_clmae, tiny_autoencoder])
def test_dicts_are_predicted_as_arrays(make):
    model, images = make(), tiny_images(4)
    weights = to_numpy(model.variables)
    expected = model.predict(images, verbose=0)["prediction"]
    for variable, value in zip(model.variables, weights, strict=True):
        variable.assign(value)
    batch = {"image": images, "label": np.zeros(4)}
    found = model.predict(batch, verbose=0)["prediction"]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"such as batch\['image'\].*=dict"):
        model.encoder(batch)


def test_metrics_names_name_what_evaluate_returns():
    model, images = shared_clmae(), tiny_images(6)
    values = model.evaluate(images, verbose=0)
    logs = model.evaluate(images, verbose=0, return_dict=True)
    assert dict(zip(model.metrics_names, values, strict=True)) == logs
    model = compiled_mae()
    assert model.metrics_names == ["loss"]
    assert np.ndim(model.evaluate(images, verbose=0)) == 0


@ONCE
@pytest.mark.parametrize("make", [compiled_clmae, compiled_mae])
def test_raw_pixels_are_warned_of_once(make):
    model = make()
    # Warnings are errors here.
    fit(model)
    with pytest.warns(UserWarning, match="do not look normalized") as warned:
        fit(model, 200 * np.abs(tiny_images()))
    messages = [str(warning.message) for warning in warned]
    assert sum("normalized" in message for message in messages) == 1
    for use in (model.evaluate, model.predict):
        use(tiny_images(4), verbose=0)
        with pytest.warns(UserWarning, match="do not look normalized"):
            use(200 * np.abs(tiny_images(4)), verbose=0)


@ONCE
@pytest.mark.parametrize("make", [compiled_clmae, compiled_mae])
def test_raw_pixels_of_a_loader_are_warned_of_by_the_first_loss(make):
    torch = pytest.importorskip("torch")

    def loader(scale):
        images = torch.tensor(scale * np.abs(tiny_images()))
        return torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images), batch_size=4
        )

    model = make()
    model.fit(loader(1), shuffle=False, verbose=0)
    with pytest.warns(UserWarning, match="loss of the first step") as warned:
        model.fit(loader(200), shuffle=False, verbose=0)
    assert sum("normalized" in str(each.message) for each in warned) == 1


@ONCE
def test_a_curriculum_that_cannot_be_saved_is_told_at_compile():
    with pytest.warns(UserWarning, match="`curriculum` is a function that"):
        model = compiled_clmae(curriculum=lambda step: 1.0 - step)
    logs = model.train_on_batch(tiny_images(4), return_dict=True)
    assert logs["curriculum_factor"] == 1.0


@ONCE
def test_parts_may_have_the_same_paths():
    model = tiny_clmae()
    for variable in model.masking_variables:
        variable._path = model.autoencoder_variables[0].path
    compiled_clmae(model=model, masking_optimizer=keras.optimizers.SGD(0.0))
    before = to_numpy(model.masking_variables)
    fit(model)
    assert_same_bits(to_numpy(model.masking_variables), before)


@ONCE
def test_masks_that_do_not_follow_the_curriculum():
    factors = np.linspace(1, -1, 20)
    falling, rising = np.linspace(1, 0.5, 20), np.linspace(0.5, 1, 20)
    assert follows_curriculum(factors, rising)
    assert not follows_curriculum(factors, falling)
    # Before the factor is negative, or over less than a fifth, nobody can tell.
    assert follows_curriculum(factors[:10], falling[:10])
    assert follows_curriculum(factors[:13], falling[:13], total=20)
    assert not follows_curriculum(factors[:15], falling[:15], total=20)
    # Masks that stay as hard as they can get are harder than random ones.
    assert follows_curriculum(factors, np.full(20, 1.6))
    # Epochs without a validation are left out.
    assert follows_curriculum(factors, np.full(20, np.nan))
    watch = WatchCurriculum()
    watch.set_params({"epochs": 20})
    with pytest.warns(UserWarning, match="do not follow the curriculum") as all:
        for epoch, (factor, value) in enumerate(
            zip(factors, falling, strict=True)
        ):
            watch.on_epoch_end(
                epoch,
                {"curriculum_factor": factor, "val_mask_difficulty": value},
            )
    assert len(all) == 1
