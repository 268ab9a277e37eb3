"""The contract of the three trainers, run unchanged on each backend."""

import keras
import numpy as np
import pytest

from keras_clmae import CurriculumSchedule
from tests.once import ONCE
from tests.tiny_models import QUICK
from tests.tiny_models import adamw
from tests.tiny_models import assert_same_bits
from tests.tiny_models import compiled_clmae
from tests.tiny_models import rewind
from tests.tiny_models import shared_clmae
from tests.tiny_models import state_of
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images
from tests.tiny_models import to_numpy

BACKEND = keras.backend.backend()
VALIDATION_LOGS = {"loss", "random_mask_loss", "mask_difficulty"}


def fit(model, images=None, **arguments):
    if images is None:
        images = tiny_images()
    defaults = {"epochs": 2, "verbose": 0, "shuffle": False}
    if isinstance(images, np.ndarray):
        defaults["batch_size"] = 4
    return model.fit(images, **{**defaults, **arguments}).history


def test_logs_and_validation():
    model = shared_clmae()
    history = fit(model, validation_data=(tiny_images(6, seed=1),))
    assert set(history) == {
        *model.log_terms,
        *(f"val_{name}" for name in VALIDATION_LOGS),
    }
    for name, values in history.items():
        assert np.isfinite(values).all(), name
    # Six steps from +1 to -1: the means over steps 0 to 2 and 3 to 5.
    np.testing.assert_allclose(
        history["curriculum_factor"], [2 / 3, -1 / 3], atol=1e-6
    )
    difficulty = history["val_loss"][-1] / history["val_random_mask_loss"][-1]
    np.testing.assert_allclose(
        history["val_mask_difficulty"][-1], difficulty, rtol=1e-5
    )
    # Validation draws nothing: the same numbers again.
    logs = [
        model.evaluate(tiny_images(6, seed=1), verbose=0, return_dict=True)
        for _ in range(2)
    ]
    assert logs[0] == logs[1]
    assert set(logs[0]) == VALIDATION_LOGS


@pytest.mark.parametrize(
    "update", ["alternating", pytest.param("simultaneous", marks=ONCE)]
)
def test_each_player_moves_in_its_own_phase_only(update):
    model = compiled_clmae(
        optimizer=adamw(1e-2), curriculum=1.0, update=update, **QUICK
    )
    model.optimizer.build(model.trainable_variables)
    # Of each player: its optimizer, all variables, those that it trains.
    players = [
        (
            model.autoencoder_optimizer,
            model.autoencoder.variables,
            model.autoencoder_variables,
        ),
        (
            model.masking_optimizer,
            model.masking_module.variables,
            model.masking_variables,
        ),
    ]
    initial = state_of(model)
    for (resting, stay, _), (_, _, move) in (players, players[::-1]):
        rewind(model, initial)
        resting.learning_rate = 0.0
        staying, moving = to_numpy(stay), to_numpy(move)
        fit(model, tiny_images(4))
        assert_same_bits(to_numpy(stay), staying)
        for now, then in zip(to_numpy(move), moving, strict=True):
            assert not np.array_equal(now, then)


def test_masking_phase_sees_the_updated_autoencoder():
    # With a frozen masking module, the loss of the masking phase differs
    # between the two updates by the autoencoder's step alone.
    images, logs = tiny_images(4), {}
    for update in ("alternating", "simultaneous"):
        keras.utils.set_random_seed(0)
        model = compiled_clmae(
            optimizer=adamw(1e-1), curriculum=1.0, update=update, **QUICK
        )
        model.optimizer.build(model.trainable_variables)
        initial = state_of(model)
        logs[update] = model.train_on_batch(images, return_dict=True)
    # Neither player moves: the losses of the first weights.
    rewind(model, initial)
    for optimizer in (model.autoencoder_optimizer, model.masking_optimizer):
        optimizer.learning_rate = 0.0
    model.reset_metrics()
    first = model.train_on_batch(images, return_dict=True)
    model.reset_metrics()
    again = model.train_on_batch(images, return_dict=True)
    losses = {
        name: found["masking_reconstruction_loss"]
        for name, found in (*logs.items(), ("first", first), ("again", again))
    }
    np.testing.assert_allclose(losses["again"], losses["first"], rtol=1e-6)
    np.testing.assert_allclose(
        losses["simultaneous"], losses["first"], rtol=1e-5
    )
    assert abs(losses["alternating"] - losses["first"]) > 1e-3
    for found in logs.values():
        np.testing.assert_allclose(found["loss"], first["loss"], rtol=1e-5)


def test_masking_update_period_runs_every_kth_step():
    model = compiled_clmae(masking_update_period=3, total_steps=6)
    images = tiny_images(4)
    moved = []
    for _ in range(6):
        before = to_numpy(model.masking_variables)
        model.train_on_batch(images)
        after = to_numpy(model.masking_variables)
        moved.append(not np.array_equal(before[0], after[0]))
    assert moved == [True, False, False, True, False, False]
    assert int(model.autoencoder_optimizer.iterations) == 6
    assert int(model.masking_optimizer.iterations) == 2
    # Steps without a masking phase do not dilute its means.
    logs = model.train_on_batch(images, return_dict=True)
    assert logs["masking_loss"] > 0.1


@pytest.mark.skipif(BACKEND == "torch", reason="Keras refuses it on PyTorch")
def test_steps_per_execution():
    # TensorFlow traces each step of an execution.
    first, second = same_models(2)
    many = fit(
        compiled_clmae(model=first, steps_per_execution=2), tiny_images(8)
    )
    one = fit(compiled_clmae(model=second, **QUICK), tiny_images(8))
    np.testing.assert_allclose(many["loss"], one["loss"], rtol=1e-5)


def same_models(number, **arguments):
    """Models with the same weights."""
    models = [tiny_clmae(**arguments) for _ in range(number)]
    for model in models[1:]:
        model.set_weights(models[0].get_weights())
    return models


# `jit_compile="auto"` is XLA on JAX and TensorFlow, and nothing on PyTorch.
OTHER_WAYS = {
    # Eager or not, it is one function, which takes half a minute eagerly.
    "jax": [],
    "tensorflow": [{"run_eagerly": True}, {"jit_compile": False}],
    "torch": [{"jit_compile": True}],
}[BACKEND]


@pytest.mark.skipif(not OTHER_WAYS, reason="has one way to run a step")
def test_ways_to_run_agree():
    expected, *others = (
        fit(compiled_clmae(model=model, **arguments), tiny_images(4), epochs=1)
        for model, arguments in zip(
            same_models(1 + len(OTHER_WAYS)), [{}, *OTHER_WAYS], strict=True
        )
    )
    for name, values in expected.items():
        for actual in others:
            np.testing.assert_allclose(
                actual[name], values, rtol=1e-4, atol=1e-6, err_msg=name
            )


def test_clipping_bounds_each_player():
    # Plain SGD moves by learning rate times clipped gradient.
    model = compiled_clmae(
        optimizer=keras.optimizers.SGD(1.0, global_clipnorm=1e-3),
        curriculum=1.0,
        **QUICK,
    )
    before = [
        to_numpy(model.autoencoder_variables),
        to_numpy(model.masking_variables),
    ]
    logs = model.train_on_batch(tiny_images(4), return_dict=True)
    after = [
        to_numpy(model.autoencoder_variables),
        to_numpy(model.masking_variables),
    ]
    for now, then in zip(after, before, strict=True):
        squares = [
            np.square(a - b).sum() for a, b in zip(now, then, strict=True)
        ]
        np.testing.assert_allclose(np.sqrt(sum(squares)), 1e-3, rtol=1e-2)
    # The log has the norms before clipping.
    assert logs["autoencoder_gradient_norm"] > 1e-3
    assert logs["masking_gradient_norm"] > 1e-3


def test_gradient_accumulation_counts_updates():
    model = compiled_clmae(
        optimizer=adamw(gradient_accumulation_steps=3), total_steps=2, **QUICK
    )
    before = to_numpy(model.trainable_variables)
    images = tiny_images(4)
    factors = []
    for _ in range(2):
        logs = model.train_on_batch(images, return_dict=True)
        model.reset_metrics()
        factors.append(logs["curriculum_factor"])
    assert_same_bits(to_numpy(model.trainable_variables), before)
    for _ in range(2):
        logs = model.train_on_batch(images, return_dict=True)
        model.reset_metrics()
        factors.append(logs["curriculum_factor"])
    assert factors == [1.0, 1.0, 1.0, 0.0]
    after = to_numpy(model.trainable_variables)
    assert not np.array_equal(after[0], before[0])


def test_moving_average_replaces_the_weights_at_the_end():
    model = compiled_clmae(adamw(1e-2, use_ema=True, ema_momentum=0.9), **QUICK)

    def averages():
        return to_numpy(
            [
                *model.autoencoder_optimizer._model_variables_moving_average,
                *model.masking_optimizer._model_variables_moving_average,
            ]
        )

    # The first average is the weights after one step.
    for _ in range(2):
        model.train_on_batch(tiny_images(4))
    trained = to_numpy(model.trainable_variables)
    assert not np.array_equal(trained[0], averages()[0])
    fit(model, tiny_images(4), epochs=1)
    assert_same_bits(to_numpy(model.trainable_variables), averages())


def test_learning_rate_schedule_drives_both_players():
    # The schedule is 0 in the first step: nobody moves.
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [0], [0.0, 1e-2]
    )
    model = compiled_clmae(optimizer=keras.optimizers.SGD(schedule), **QUICK)
    before = to_numpy(model.trainable_variables)
    model.train_on_batch(tiny_images(4))
    assert_same_bits(to_numpy(model.trainable_variables), before)
    model.train_on_batch(tiny_images(4))
    for now, then in zip(
        to_numpy(model.trainable_variables), before, strict=True
    ):
        assert not np.array_equal(now, then)


@ONCE
def test_biases_norms_and_tables_are_not_decayed():
    model = compiled_clmae(
        optimizer=keras.optimizers.SGD(0.1, weight_decay=0.5), curriculum=1.0
    )
    for player, optimizer in (
        (model.autoencoder_variables, model.autoencoder_optimizer),
        (model.masking_variables, model.masking_optimizer),
    ):
        decayed = {v.name for v in player if optimizer._use_weight_decay(v)}
        kept = {v.name for v in player} - decayed
        assert decayed <= {"kernel", "qkv_kernel", "token", "mask_token"}
        assert kept == {"bias", "qkv_bias", "gamma", "beta"}


def test_mixed_bfloat16_follows_float32():
    full, half = (
        fit(
            compiled_clmae(model=tiny_clmae(dtype=dtype), **arguments), epochs=1
        )
        for dtype, arguments in (("float32", QUICK), ("mixed_bfloat16", {}))
        if keras.utils.set_random_seed(0) is None
    )
    for name in ("loss", "gaussian_loss", "kl_loss", "diversity_loss"):
        np.testing.assert_allclose(half[name], full[name], rtol=0.05)


@ONCE
def test_float16_is_refused():
    with pytest.raises(ValueError, match="`mixed_float16` is not supported"):
        compiled_clmae(model=tiny_clmae(dtype="mixed_float16"))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return tiny_images(8)[4 * index : 4 * index + 4], np.zeros(4)


def tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(tiny_images(8)).batch(4)


def torch_loader():
    torch = pytest.importorskip("torch")
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(tiny_images(8)))
    return torch.utils.data.DataLoader(dataset, batch_size=4)


def test_all_kinds_of_input_give_the_same():
    inputs = [tiny_images(8), Batches(), tf_data(), torch_loader()]
    model = compiled_clmae(**QUICK)
    weights = model.get_weights()
    state = to_numpy(model.optimizer.variables)
    losses = []
    for images in inputs:
        model.set_weights(weights)
        model.optimizer.set_weights(state)
        losses.append(fit(model, images, epochs=1)["loss"])
    for loss in losses[1:]:
        np.testing.assert_allclose(loss, losses[0], rtol=1e-6)


def test_predict():
    model = shared_clmae()
    outputs = model.predict(tiny_images(), batch_size=5, verbose=0)
    assert {name: value.shape for name, value in outputs.items()} == {
        "keep_scores": (12, 6),
        "mask": (12, 6),
        "removed_indices": (12, 3),
        "prediction": (12, 3, 32),
    }


@keras.saving.register_keras_serializable(package="tests")
class NotFiniteFromStep(CurriculumSchedule):
    def __init__(self, step):
        self.step = step

    def __call__(self, step):
        return keras.ops.where(step >= self.step, float("inf"), 1.0)

    def get_config(self):
        return {"step": self.step}


def test_a_loss_that_is_not_finite_stops_with_term_and_step():
    model = compiled_clmae(curriculum=NotFiniteFromStep(4), **QUICK)
    model.optimizer.build(model.trainable_variables)
    initial = state_of(model)
    images = tiny_images()
    images[9] = np.nan
    with pytest.raises(FloatingPointError, match="`loss` is nan at step 2 of"):
        fit(model, images)
    rewind(model, initial)
    model.autoencoder_optimizer.iterations.assign(3)
    with pytest.raises(
        FloatingPointError, match="`curriculum_factor` is inf at step 1 of"
    ):
        fit(model)


@ONCE
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"curriculum": None}, "`curriculum` must be"),
        ({"masking_update_period": 0}, "`masking_update_period` must be"),
        ({"update": "both"}, "`update` must be one of"),
        (
            {"update": "simultaneous", "masking_update_period": 2},
            "`masking_update_period` must be 1",
        ),
    ],
)
def test_bad_compile_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        compiled_clmae(**arguments)


@ONCE
def test_one_optimizer_cannot_serve_both():
    optimizer = adamw()
    with pytest.raises(ValueError, match="`masking_optimizer` must be another"):
        compiled_clmae(optimizer, masking_optimizer=optimizer)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((8, 8, 12, 2), "uint8"),
        np.zeros((8, 8, 12, 3), "float32"),
        np.zeros((8, 8, 16, 2), "float32"),
    ],
)
def test_bad_images_are_refused(images):
    with pytest.raises(ValueError, match="`images` must be of"):
        fit(compiled_clmae(), images)
