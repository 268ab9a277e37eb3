"""The call that sets up devices: what it refuses, and what it reads."""

import json

import keras
import pytest

from keras_clmae.distribution import DistributionPlan
from keras_clmae.distribution import global_batch
from keras_clmae.distribution import launched_process
from keras_clmae.distribution import setup
from keras_clmae.layers import ClassToken

BACKEND = keras.backend.backend()
TF_CONFIG = json.dumps(
    {
        "cluster": {"worker": ["first:1234", "second:1234"]},
        "task": {"type": "worker", "index": 1},
    }
)


def test_called_too_late():
    layer = ClassToken()
    layer.build((None, 2, 4))
    with pytest.raises(RuntimeError, match="must be called before any model"):
        setup("data")
    if BACKEND != "torch":
        with pytest.raises(RuntimeError, match="must be called before any"):
            setup(simulated_devices=2)


def test_one_device_stays_as_it_was():
    layer = ClassToken()
    layer.build((None, 2, 4))
    assert setup() == setup("none") == DistributionPlan()
    values = keras.ops.ones((2, 3))
    assert global_batch(values) is values


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "all"}, "`strategy` must be one of"),
        ({"model_devices": 2}, "`model_devices` is for"),
        ({"strategy": "model", "model_devices": 0}, "must be"),
    ],
)
def test_bad_arguments(arguments, message):
    if arguments.get("strategy") == "model" and BACKEND != "jax":
        message = "needs the JAX backend"
    with pytest.raises(ValueError, match=message):
        setup(**arguments)


def test_batches_split_evenly():
    plan = DistributionPlan("data", num_devices=4, num_batch_shards=4)
    assert plan.local_batch_size(8) == 8
    with pytest.raises(ValueError, match="`batch_size` must be a multiple"):
        plan.local_batch_size(6)


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "1", "WORLD_SIZE": "2"}]
    + [{"TF_CONFIG": TF_CONFIG}] * (BACKEND == "tensorflow"),
)
def test_none_is_for_one_process(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match='`strategy` must not be "none" in'):
        setup("none")


def test_none_is_for_one_host():
    with pytest.raises(ValueError, match='`strategy` must not be "none" in'):
        setup("none", multi_host=True)


ADDRESS = {"MASTER_ADDR": "first", "MASTER_PORT": "1234"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1, 0, None)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1, 0, None)),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", **ADDRESS},
            (3, 4, 1, "first:1234"),
        ),
        (
            {
                "KERAS_DISTRIBUTION_PROCESS_ID": "1",
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": "a:1,b:2",
            },
            (1, 2, 0, "a:1"),
        ),
        (
            {
                "SLURM_PROCID": "5",
                "SLURM_STEP_NUM_TASKS": "16",
                "SLURM_LOCALID": "5",
                **ADDRESS,
            },
            (5, 16, 5, "first:1234"),
        ),
    ],
)
def test_place_of_a_process(monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tuple(launched_process()) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2", **ADDRESS}, "`RANK` must be"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "`RANK` must be an integer"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "`MASTER_ADDR` and `MASTER_PORT`"),
    ],
)
def test_a_process_without_a_place(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        launched_process()
