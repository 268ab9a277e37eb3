"""Layer-wise learning-rate decay against numbers worked by hand."""

import contextlib

import keras
import numpy as np
import pytest

from keras_clmae.optimizers import LayerDecayAdamW

# Two blocks: depth 0 is three factors below the head.
SCALES = {
    "patch_embedding/kernel": 0.125,
    "transformer_block_0/attention/kernel": 0.25,
    "model/transformer_block_1/mlp/kernel": 0.5,
    "norm/scale": 1.0,
    "head/kernel": 1.0,
}


def variables(shape=(2, 2)):
    return [variable(path, shape) for path in SCALES]


def variable(path, shape):
    *scopes, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        return keras.Variable(np.ones(shape, "float32"), name=name)


def values(created):
    return [float(np.mean(keras.ops.convert_to_numpy(v))) for v in created]


def apply_ones(optimizer, created):
    optimizer.build(created)
    optimizer.apply([keras.ops.ones(v.shape) for v in created], created)


def test_scales_by_hand():
    created = variables()
    optimizer = LayerDecayAdamW(layer_decay=0.5)
    optimizer.build(created)
    scales = [optimizer.learning_rate_scale(each) for each in created]
    assert scales == list(SCALES.values())


def test_first_step_by_hand():
    # Adam's first step is the learning rate; decay comes before it, with
    # the same scaled learning rate: 1 - 0.1 s * 0.2 - 0.1 s.
    created = variables()
    apply_ones(LayerDecayAdamW(0.1, layer_decay=0.5, weight_decay=0.2), created)
    expected = [1 - 0.12 * scale for scale in SCALES.values()]
    assert values(created) == pytest.approx(expected, abs=1e-5)


def test_biases_vectors_and_positions_are_not_decayed():
    created = variables(shape=(3,))
    for path in ("class_token/token", "position_embedding/table"):
        created.append(variable(path, (1, 1, 4)))
    created.append(variable("transformer_block_1/qkv_bias", (3, 2, 4)))
    apply_ones(LayerDecayAdamW(0.1, layer_decay=0.5, weight_decay=9), created)
    expected = [
        1 - 0.1 * scale for scale in (*SCALES.values(), 0.125, 0.125, 0.5)
    ]
    assert values(created) == pytest.approx(expected, abs=1e-5)


def test_an_argument_decays_all():
    created = variables(shape=(3,))
    optimizer = LayerDecayAdamW(
        0.1, layer_decay=1.0, weight_decay=2.0, no_weight_decay=()
    )
    apply_ones(optimizer, created)
    assert values(created) == pytest.approx([1 - 0.2 - 0.1] * 5, abs=1e-5)


def test_without_decay_it_is_adamw():
    ours, keras_own = variables(), variables()
    arguments = {"learning_rate": 0.1, "weight_decay": 0.2, "beta_2": 0.95}
    apply_ones(LayerDecayAdamW(layer_decay=1.0, **arguments), ours)
    apply_ones(keras.optimizers.AdamW(**arguments), keras_own)
    assert values(ours) == pytest.approx(values(keras_own), abs=1e-6)


def test_config_round_trip():
    optimizer = LayerDecayAdamW(0.1, layer_decay=0.65, weight_decay=0.3)
    restored = keras.optimizers.deserialize(
        keras.optimizers.serialize(optimizer)
    )
    assert isinstance(restored, LayerDecayAdamW)
    config = optimizer.get_config()
    assert restored.get_config() == config
    # Written before there was the argument, with the same rule.
    del config["no_weight_decay"]
    restored = LayerDecayAdamW.from_config(config)
    assert restored.get_config() == optimizer.get_config()


def test_errors():
    with pytest.raises(ValueError, match="`layer_decay`.*layer_decay=0"):
        LayerDecayAdamW(layer_decay=0)
    with pytest.raises(ValueError, match="`transformer_block_<i>`"):
        LayerDecayAdamW().build(variables()[3:])
