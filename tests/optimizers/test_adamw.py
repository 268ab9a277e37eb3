"""The fused AdamW against Keras's own, on every backend."""

import keras
import numpy as np
import pytest

from keras_clmae.models import Decoder
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.optimizers import NO_WEIGHT_DECAY
from keras_clmae.optimizers import AdamW
from keras_clmae.optimizers import warmup_cosine

SHAPES = [(5, 7), (7,), (3, 2, 4), (1,)]
NUM_STEPS = 7


def new_variables(dtype="float32"):
    generator = np.random.default_rng(0)
    return [
        keras.Variable(
            generator.normal(size=shape), dtype=dtype, name=f"variable_{index}"
        )
        for index, shape in enumerate(SHAPES)
    ]


def as_arrays(variables):
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(v, "float32")).copy()
        for v in variables
    ]


def train(optimizer, variables, first=0, last=NUM_STEPS):
    """Steps with gradients that depend on the step and the weights."""
    for step in range(first, last):
        generator = np.random.default_rng(step)
        optimizer.apply(
            [
                keras.ops.cast(generator.normal(size=v.shape), v.dtype)
                + 0.1 * keras.ops.convert_to_tensor(v)
                for v in variables
            ],
            variables,
        )
    return as_arrays(variables)


def assert_close(actual, expected, **tolerances):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, **tolerances)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.95},
        # Large enough to show on which side of the bias correction it stands.
        {"epsilon": 0.1},
        {"amsgrad": True},
        {"global_clipnorm": 0.5},
        {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
        {"gradient_accumulation_steps": 3},
    ],
    ids=lambda arguments: next(iter(arguments), "defaults"),
)
def test_rule_is_keras_own(arguments):
    def trained(optimizer_class):
        schedule = warmup_cosine(0.1, NUM_STEPS, 2)
        optimizer = optimizer_class(schedule, **arguments)
        optimizer.exclude_from_weight_decay(var_names=["variable_1"])
        variables = new_variables()
        values = train(optimizer, variables)
        return values + as_arrays(optimizer.variables)

    # TensorFlow's kernel takes 1 - 0.999 in float32, Keras in float64: their
    # quotient is 1 + 5e-5, and half as much in the root.
    assert_close(
        trained(AdamW),
        trained(keras.optimizers.AdamW),
        rtol=1e-5,
        atol=5e-6,
    )


@pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="elsewhere it is Keras's rule, which rounds beta_2 to bfloat16",
)
def test_bfloat16_weights():
    assert_close(
        train(AdamW(0.1), new_variables("bfloat16")),
        train(AdamW(0.1), new_variables()),
        rtol=2**-4,
        atol=2**-4,
    )


def test_layout_in_memory_does_not_matter():
    # An orthogonal matrix and the gradient of a product come transposed.
    start = np.arange(12.0, dtype="float32").reshape(3, 4)
    gradient = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    variable = keras.Variable(
        keras.ops.transpose(keras.ops.convert_to_tensor(start.T.copy()))
    )
    transposed = keras.ops.transpose(
        keras.ops.convert_to_tensor(gradient.T.copy())
    )
    AdamW(0.1, weight_decay=0).apply([transposed], [variable])
    # Adam's first step is the learning rate against the sign.
    np.testing.assert_allclose(
        as_arrays([variable])[0], start - 0.1 * np.sign(gradient), atol=1e-4
    )


def test_variables_without_gradients_stay():
    variables = new_variables()
    optimizer = AdamW(0.1)
    optimizer.build(variables)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply(
            [None] + [keras.ops.ones(v.shape) for v in variables[1:]], variables
        )
    before, after = as_arrays(new_variables()), as_arrays(variables)
    np.testing.assert_array_equal(after[0], before[0])
    assert all((after[i] != before[i]).all() for i in (1, 2, 3))


def test_saved_and_restored_run_goes_on_bit_for_bit(tmp_path):
    def new_model():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(AdamW(0.1, weight_decay=0.2), loss="mse")
        return model

    def fit(model):
        # A constant start and whole batches: nothing is drawn.
        inputs = np.linspace(-1, 1, 24, dtype="float32").reshape(8, 3)
        model.fit(
            inputs, inputs[:, :2] ** 2, batch_size=4, shuffle=False, verbose=0
        )

    model = new_model()
    fit(model)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert type(restored.optimizer) is AdamW
    for each in (model, restored):
        fit(each)
    assert_close(
        as_arrays(restored.variables + restored.optimizer.variables),
        as_arrays(model.variables + model.optimizer.variables),
        rtol=0,
    )


def tiny_autoencoder():
    encoder = ViTEncoder((8, 8, 1), 4, 8, 1, 2, learned_positions=True)
    return MaskedAutoencoder(encoder, Decoder((2, 2), 16, 8, 1, 2))


def moved_without_gradient(optimizer):
    """Names of an autoencoder's variables that decay alone moves."""
    model = tiny_autoencoder()
    model.compile(optimizer)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape))
    optimizer.apply(
        [keras.ops.zeros(v.shape) for v in model.trainable_variables],
        model.trainable_variables,
    )
    moved = {}
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable.value)
        moved.setdefault(variable.name, set()).update(np.unique(value))
    return {name for name, values in moved.items() if values != {1.0}}, set(
        moved
    )


def test_biases_norms_and_positions_are_not_decayed():
    decayed, names = moved_without_gradient(AdamW(0.1, weight_decay=0.5))
    assert decayed == {"kernel", "qkv_kernel", "token", "mask_token"}
    assert names - decayed == {
        "bias",
        "qkv_bias",
        "gamma",
        "beta",
        "position_table",
    }


def test_an_argument_decays_all():
    optimizer = AdamW(0.1, weight_decay=0.5, no_weight_decay=())
    decayed, names = moved_without_gradient(optimizer)
    assert decayed == names


def test_config():
    optimizer = AdamW(0.1, no_weight_decay=("bias",))
    config = optimizer.get_config()
    assert AdamW.from_config(dict(config)).get_config() == config
    default = AdamW().get_config()
    assert default["no_weight_decay"] == list(NO_WEIGHT_DECAY)
    # Written before there was the argument: it decayed all, and goes on so.
    del config["no_weight_decay"]
    assert AdamW.from_config(config).no_weight_decay == ()
    with pytest.raises(ValueError, match="`no_weight_decay`.*Received: .*bias"):
        AdamW(no_weight_decay="bias")
