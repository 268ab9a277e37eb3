"""Saved and restored, a training goes on bit for bit."""

import h5py
import keras
import numpy as np
import pytest

from keras_clmae.models import CLMAE
from tests.once import ONCE
from tests.tiny_models import adamw
from tests.tiny_models import assert_same_bits
from tests.tiny_models import compiled_clmae
from tests.tiny_models import predicting_clmae
from tests.tiny_models import rewind
from tests.tiny_models import state_of
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images
from tests.tiny_models import to_numpy


def new_model():
    # Stochastic depth: the random state matters too.
    return compiled_clmae(model=tiny_clmae(drop_path_rate=0.3, num_layers=2))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of four steps: its model, and states and files after each step."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("undisturbed")
    model, states = new_model(), []
    for step in range(5):
        states.append(state_of(model))
        model.save(folder / f"{step}.keras")
        model.save_weights(folder / f"{step}.weights.h5")
        if step < 4:
            model.train_on_batch(tiny_images(4, seed=step))
    return model, folder, states


@pytest.mark.parametrize(
    ("steps", "ending"),
    [
        (1, ".keras"),
        (3, ".weights.h5"),
        pytest.param(0, ".keras", marks=ONCE),
        pytest.param(3, ".keras", marks=ONCE),
        pytest.param(0, ".weights.h5", marks=ONCE),
        pytest.param(1, ".weights.h5", marks=ONCE),
    ],
)
def test_stopped_after_any_step(undisturbed, steps, ending):
    model, folder, states = undisturbed
    path = folder / f"{steps}{ending}"
    if ending == ".keras":
        restored = keras.saving.load_model(path)
        assert isinstance(restored, CLMAE)
        curriculum = new_model().curriculum.get_config()
        assert restored.curriculum.get_config() == curriculum
    else:
        # Nothing of its own, but its step is compiled.
        restored = model
        rewind(restored, [0 * value for value in states[0]])
        restored.load_weights(path)
    assert_same_bits(state_of(restored), states[steps])
    for step in range(steps, 4):
        restored.train_on_batch(tiny_images(4, seed=step))
    assert_same_bits(state_of(restored), states[4])


class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("make", "share"),
    [
        pytest.param(tiny_clmae, 0.0, marks=ONCE),
        pytest.param(tiny_clmae, 0.5, marks=ONCE),
        (predicting_clmae, 0.25),
    ],
)
def test_backup_and_restore(make, share, tmp_path):
    # One model for all runs: compiling takes longer than they do.
    model = compiled_clmae(
        adamw(
            keras.optimizers.schedules.CosineDecay(1e-2, 9),
            use_ema=True,
            global_clipnorm=1.0,
        ),
        model=make(drop_path_rate=0.3, num_layers=2),
        total_steps=9,
        random_mask_share=share,
    )
    model.optimizer.build(model.trainable_variables)
    initial = state_of(model)

    def run(backup=None, interrupt=False):
        keras.utils.set_random_seed(0)
        rewind(model, initial)
        callbacks = []
        if backup:
            callbacks.append(keras.callbacks.BackupAndRestore(backup))
        if interrupt:
            callbacks.append(Interrupt())
        model.fit(
            tiny_images(),
            batch_size=4,
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
        return state_of(model)

    expected = run()
    backup = str(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        run(backup, interrupt=True)
    assert_same_bits(run(backup), expected)


def test_random_masks_go_on_after_restoring(tmp_path):
    model = tiny_autoencoder(seed=3)
    images = tiny_images()
    model(images)
    path = str(tmp_path / "model.keras")
    model.save(path)
    expected = keras.ops.convert_to_numpy(model(images)["mask"])
    restored = keras.saving.load_model(path)
    actual = keras.ops.convert_to_numpy(restored(images)["mask"])
    np.testing.assert_array_equal(actual, expected)
    fresh = tiny_autoencoder(seed=3)
    first = keras.ops.convert_to_numpy(fresh(images)["mask"])
    assert not np.array_equal(first, expected)


def test_plain_mae_goes_on_training(tmp_path):
    def fit(model):
        return model.fit(tiny_images(), shuffle=False, verbose=0).history

    model = tiny_autoencoder(seed=3)
    model.compile(adamw())
    fit(model)
    path = str(tmp_path / "model.keras")
    model.save(path)
    restored = keras.saving.load_model(path)
    assert restored.optimizer.iterations == 1
    assert fit(restored) == fit(model)
    assert_same_bits(state_of(restored), state_of(model))


@ONCE
def test_compile_arguments_survive(tmp_path):
    model = compiled_clmae(
        masking_optimizer=keras.optimizers.SGD(0.5, momentum=0.9),
        masking_update_period=2,
        exclude_from_weight_decay=("bias",),
    )
    path = str(tmp_path / "model.keras")
    model.save(path)
    restored = keras.saving.load_model(path)
    assert restored.masking_update_period == 2
    assert restored.update == "alternating"
    assert isinstance(restored.masking_optimizer, keras.optimizers.SGD)
    assert restored.masking_optimizer.momentum == 0.9
    decayed = restored.autoencoder_optimizer._use_weight_decay
    by_name = {v.name: v for v in restored.autoencoder_variables}
    assert decayed(by_name["gamma"])
    assert not decayed(by_name["bias"])


@ONCE
def test_optimizer_state_is_stored_once(tmp_path):
    model = compiled_clmae()
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    with h5py.File(path) as file:
        assert len(file["optimizer/vars"]) == 2
        stored = len(file["autoencoder_optimizer/vars"]) + len(
            file["masking_optimizer/vars"]
        )
    assert stored == len(model.optimizer.variables) - 2


@ONCE
def test_files_from_before_there_were_maskers(tmp_path):
    """Both optimizers twice, and the random state beside the autoencoder's."""
    model = compiled_clmae(model=tiny_clmae(seed=3))
    model.autoencoder(tiny_images(4))
    model.train_on_batch(tiny_images(4))
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    state = keras.ops.convert_to_numpy(
        model.autoencoder.masker.seed_generator.state
    )
    with h5py.File(path, "a") as file:
        for index, value in enumerate(to_numpy(model.optimizer.variables)):
            if str(index) not in file["optimizer/vars"]:
                file["optimizer/vars"][str(index)] = value
        places = []
        file.visit(
            lambda name: (
                places.append(name)
                if name.endswith("seed_generator_state")
                else None
            )
        )
        (place,) = places
        del file[place]
        file.require_group("autoencoder/vars")["seed_generator_state"] = state
    restored = compiled_clmae(model=tiny_clmae(seed=7))
    restored.load_weights(path)
    assert_same_bits(state_of(restored), state_of(model))
