"""LARS against numbers worked by hand, in `fit`, and saved."""

import keras
import numpy as np
import pytest

from keras_clmae.optimizers import LARS


def steps(optimizer, start, gradients):
    variable = keras.Variable(np.array(start, "float32"))
    optimizer.build([variable])
    values = []
    for gradient in gradients:
        gradient = keras.ops.convert_to_tensor(gradient, dtype="float32")
        optimizer.apply([gradient], [variable])
        values.append(keras.ops.convert_to_numpy(variable.value).copy())
    return values


def test_one_step_by_hand():
    # |w| = 5, |g| = 10: trust = 0.1 * 5 / 10 = 0.05; step = 2 * 0.05 * g.
    optimizer = LARS(2.0, momentum=0.0, trust_coefficient=0.1)
    (weight,) = steps(optimizer, [[3.0, 4.0]], [[[6.0, 8.0]]])
    np.testing.assert_allclose(weight, [[2.4, 3.2]], rtol=1e-6)


def test_two_steps_with_momentum_by_hand():
    # Step 1 as above: velocity (0.6, 0.8), w = (2.4, 3.2), |w| = 4.
    # Step 2: |g| = 2, trust = 0.1 * 4 / 2 = 0.2, lr * trust * g = (0.8, 0);
    # velocity = 0.5 * (0.6, 0.8) + (0.8, 0) = (1.1, 0.4).
    optimizer = LARS(2.0, momentum=0.5, trust_coefficient=0.1)
    weights = steps(optimizer, [[3.0, 4.0]], [[[6.0, 8.0]], [[2.0, 0.0]]])
    np.testing.assert_allclose(weights[1], [[1.3, 2.8]], rtol=1e-6)


def test_weight_decay_by_hand():
    # trust = 0.1 * 5 / (10 + 0.4 * 5) = 1/24; g + 0.4 w = (7.2, 9.6);
    # step = 2 / 24 * (7.2, 9.6) = (0.6, 0.8).
    optimizer = LARS(2.0, momentum=0.0, trust_coefficient=0.1, weight_decay=0.4)
    (weight,) = steps(optimizer, [[3.0, 4.0]], [[[6.0, 8.0]]])
    np.testing.assert_allclose(weight, [[2.4, 3.2]], rtol=1e-6)


def test_vectors_take_plain_momentum_steps():
    optimizer = LARS(0.5, momentum=0.5, weight_decay=0.4)
    weights = steps(optimizer, [3.0, 4.0], [[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(weights[0], [2.5, 4.0], rtol=1e-6)
    np.testing.assert_allclose(weights[1], [1.75, 4.0], rtol=1e-6)


def test_biases_of_attention_are_biases():
    variable = keras.Variable(np.full((3, 1, 1), 4.0), name="qkv_bias")
    optimizer = LARS(0.5, momentum=0.0, weight_decay=0.4)
    optimizer.build([variable])
    optimizer.apply([keras.ops.ones((3, 1, 1))], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), 3.5)


@pytest.mark.parametrize(
    "start, gradient, expected",
    [
        ([[0.0, 0.0]], [[1.0, 2.0]], [[-0.5, -1.0]]),
        ([[3.0, 4.0]], [[0.0, 0.0]], [[3.0, 4.0]]),
    ],
)
def test_zero_weight_or_gradient(start, gradient, expected):
    (weight,) = steps(LARS(0.5), start, [gradient])
    np.testing.assert_allclose(weight, expected, rtol=1e-6)


def toy_problem():
    random = np.random.default_rng(0)
    features = random.normal(size=(96, 6)).astype("float32")
    return features, (features[:, 0] > 0).astype("int64")


def toy_model(optimizer):
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(2, "softmax", use_bias=False)]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def test_fit_lowers_the_loss():
    features, labels = toy_problem()
    model = toy_model(LARS(100.0))
    losses = model.fit(features, labels, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_a_saved_model_goes_on_where_it_was(tmp_path):
    features, labels = toy_problem()
    model = toy_model(LARS(0.3, momentum=0.8, weight_decay=1e-3))
    fit = {"epochs": 1, "verbose": 0, "shuffle": False}
    model.fit(features, labels, **fit)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.optimizer.get_config() == model.optimizer.get_config()
    for each in (model, restored):
        each.fit(features, labels, **fit)
    np.testing.assert_allclose(
        model.get_weights()[0], restored.get_weights()[0], rtol=1e-6
    )


@pytest.mark.parametrize(
    "arguments, name",
    [({"momentum": 1.0}, "momentum"), ({"trust_coefficient": 0}, "trust")],
)
def test_errors(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}.*Received"):
        LARS(**arguments)
