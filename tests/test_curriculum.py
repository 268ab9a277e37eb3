import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae import ConstantCurriculum
from keras_clmae import CosineCurriculum
from keras_clmae import LinearCurriculum
from keras_clmae import StepCurriculum
from keras_clmae import get_curriculum
from tests.tiny_models import tiny_clmae


def factors(curriculum, steps):
    return [
        float(curriculum(ops.convert_to_tensor(step, dtype="float32")))
        for step in steps
    ]


def test_linear_per_step():
    curriculum = LinearCurriculum(100)
    actual = factors(curriculum, (0, 25, 50, 75, 100, 200))
    np.testing.assert_allclose(actual, [1, 0.5, 0, -0.5, -1, -1], atol=1e-6)


@pytest.mark.parametrize("epochs", [4, 5])
def test_published_form_changes_once_an_epoch_and_jumps_over_zero(epochs):
    steps_per_epoch = 3
    curriculum = LinearCurriculum(
        epochs * steps_per_epoch, steps_per_epoch=steps_per_epoch
    )
    expected = []
    for epoch in range(epochs):
        done = epoch if epoch < epochs / 2 else epoch + 1
        expected += [1 - 2 * done / epochs] * steps_per_epoch
    actual = factors(curriculum, range(epochs * steps_per_epoch))
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert actual[-1] == -1.0
    assert min(abs(factor) for factor in actual) > 0


def test_other_ends():
    curriculum = LinearCurriculum(10, initial=0.5, final=-0.25)
    np.testing.assert_allclose(factors(curriculum, (0, 10)), [0.5, -0.25])


def test_cosine():
    actual = factors(CosineCurriculum(100), (0, 50, 100, 150))
    np.testing.assert_allclose(actual, [1, 0, -1, -1], atol=1e-6)


def test_step():
    curriculum = StepCurriculum([2, 4], [1, 0, -1])
    assert factors(curriculum, range(6)) == [1, 1, 0, 0, -1, -1]


@pytest.mark.parametrize(
    "curriculum",
    [
        LinearCurriculum(10, steps_per_epoch=5),
        CosineCurriculum(10, initial=0.5),
        StepCurriculum([3], [1.0, -1.0]),
        ConstantCurriculum(0.0),
    ],
)
def test_serialization(curriculum):
    config = keras.saving.serialize_keras_object(curriculum)
    restored = keras.saving.deserialize_keras_object(config)
    assert factors(restored, range(12)) == factors(curriculum, range(12))


def test_a_number_is_constant():
    assert factors(get_curriculum(-1), (0, 9)) == [-1.0, -1.0]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "linear",
        True,
        lambda step: "one",
        lambda step: float("nan"),
        lambda step: [1.0, 2.0],
        lambda step: None,
    ],
)
def test_what_gives_no_number_is_refused(bad):
    with pytest.raises(ValueError, match="`curriculum` must"):
        get_curriculum(bad)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: LinearCurriculum(0), "total_steps"),
        (lambda: LinearCurriculum(10.0), "total_steps"),
        (lambda: LinearCurriculum(10, initial="1"), "initial"),
        (lambda: LinearCurriculum(10, final=float("inf")), "final"),
        (lambda: LinearCurriculum(10, steps_per_epoch=3), "steps_per_epoch"),
        (lambda: StepCurriculum([4, 2], [1, 0, -1]), "boundaries"),
        (lambda: StepCurriculum([4], [1]), "boundaries"),
        (lambda: ConstantCurriculum(None), "value"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()


def test_plain_arithmetic_of_the_step():
    model = tiny_clmae()
    model.compile("adamw", curriculum=lambda step: 1.0 - 0.1 * step)
    model.autoencoder_optimizer.iterations.assign(3)
    np.testing.assert_allclose(float(model.curriculum_factor()), 0.7, rtol=1e-6)
