"""A training on several devices is that of one: each backend on its own.

Processes that are through train once more, until SIGTERM reaches one of them.
"""

import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_clmae
from tests.distribution import worker
from tests.distribution.worker import BATCH_SIZE
from tests.distribution.worker import STEPS
from tests.lean import lean_environment
from tests.tiny_models import tiny_images
from tests.tiny_models import to_numpy

# The processes trace: what is compared with them is their arithmetic.
pytestmark = pytest.mark.usefixtures("untraced")

# What a process found beside logs and weights.
EXTRAS = {"seen", "saved", "stopped"}
ROOT = pathlib.Path(__file__).parents[2]
BACKEND = keras.backend.backend()
# "simultaneous" has a code path of its own where there are replicas.
METHODS = ["clmae", "mae"] + ["simultaneous"] * (BACKEND != "jax")
METHODS += ["predicted"]
# Fine-tuning is Keras's own step, which knows no processes of PyTorch.
METHODS += ["classifier"] * (BACKEND != "torch")
# What each backend is tried on: processes, arguments of `setup`, what must come
# of them, and the methods. Compiling takes long: plain MAE goes once.
CASES = {
    "jax": {
        "data": (1, {"simulated_devices": 4}, {"num_devices": 4}, METHODS),
        "hosts": (
            2,
            {"simulated_devices": 2},
            {"num_devices": 4, "process_count": 2},
            ["clmae"],
        ),
        "model over hosts": (
            2,
            {"strategy": "model", "model_devices": 2, "simulated_devices": 2},
            {
                "num_devices": 4,
                "model_devices": 2,
                "num_batch_shards": 2,
                "process_count": 2,
            },
            ["clmae"],
        ),
    },
    "tensorflow": {
        "data": (1, {"simulated_devices": 2}, {"num_batch_shards": 2}, METHODS),
        "hosts": (
            2,
            {},
            {"num_devices": 2, "process_count": 2, "num_batch_shards": 2},
            ["clmae"],
        ),
    },
    "torch": {
        "data": (2, {}, {"num_batch_shards": 2, "process_count": 2}, METHODS)
    },
}[BACKEND]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [str(listener.getsockname()[1]) for listener in listeners]


def environment_of(index, ports):
    """Variables that a launcher sets for one process per port."""
    environment = {"PYTHONPATH": str(ROOT)}
    count = len(ports)
    if count > 1 and BACKEND == "tensorflow":
        environment["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                "task": {"type": "worker", "index": index},
            }
        )
    elif count > 1:
        environment |= {
            "RANK": str(index),
            "WORLD_SIZE": str(count),
            "LOCAL_RANK": str(index),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": ports[0],
        }
    return environment


def train(folder, name, processes, setup, plan, methods):
    """Trains in processes of their own; gives what each of them found."""
    # One case of a backend is enough.
    is_stopped = processes > 1 and "strategy" not in setup
    checkpoints = str(folder / "checkpoints") if is_stopped else None
    arguments = json.dumps(
        {
            "setup": setup,
            "plan": plan,
            "methods": methods,
            "checkpoints": checkpoints,
        }
    )
    program = str(ROOT / "tests" / "distribution" / "worker.py")
    ports = free_ports(processes)
    started = [
        subprocess.Popen(
            [
                sys.executable,
                program,
                str(folder / f"{name}_{index}.npz"),
                arguments,
            ],
            env=lean_environment(**environment_of(index, ports)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(processes)
    ]
    lines = []
    if is_stopped:
        # Not the one that writes, where only one does.
        for line in started[1].stdout:
            lines.append(line)
            if line == "trains\n":
                break
        started[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=1500)[0] for process in started]
    for process in started:
        expected = 128 + signal.SIGTERM if is_stopped else 0
        assert process.returncode == expected, "".join([*lines, *outputs])
    found = [read(folder / f"{name}_{index}.npz") for index in range(processes)]
    for each, output in zip(found, outputs, strict=True):
        lines = [
            line for line in output.splitlines() if line.startswith("Stopped")
        ]
        each["stopped"] = lines if is_stopped else None
    return found


def read(path):
    """Reads the arrays that a worker wrote."""
    with np.load(path) as arrays:
        found = dict(arrays)
    saved = pathlib.Path(f"{path}.keras")
    if saved.exists():
        model = keras.saving.load_model(saved)
        found["saved"] = to_numpy(model.variables)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "alone.npz"
    worker.train(path, keras_clmae.distribution.setup("none"), METHODS)
    return read(path)


@pytest.fixture(scope="module", params=CASES)
def together(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    return train(folder, request.param, *CASES[request.param])


def test_ten_steps_agree(alone, together):
    for found in together:
        methods = {name.partition("/")[0] for name in found}
        compared = [
            name
            for name in alone
            if name not in EXTRAS and name.partition("/")[0] in methods
        ]
        assert set(found) - EXTRAS == set(compared)
        for name in compared:
            np.testing.assert_allclose(
                found[name], alone[name], rtol=1e-4, atol=1e-4, err_msg=name
            )
    losses = alone["clmae/log/masking_loss"]
    assert losses.shape == (STEPS,)
    # The first step does not count alone: the weights have moved.
    assert abs(losses[0] - losses[-1]) > 1e-3


def test_what_a_process_saves_is_what_it_holds(together):
    assert "saved" in together[0]
    for found in together:
        held = [
            found[name] for name in found if name.startswith("clmae/weights/")
        ]
        for one, other in zip(found.get("saved", held), held, strict=True):
            np.testing.assert_array_equal(one, other)


def test_each_device_sees_its_own_images(together):
    seen = [np.asarray(found["seen"]) for found in together]
    if BACKEND == "jax":
        for places in seen:
            parts = {tuple(part) for part in places[-1]}
            assert sorted(sum(parts, ())) == list(range(BATCH_SIZE))
            assert len(parts) > 1
        return
    # Of TensorFlow's replicas, the calls in turn; of PyTorch, a process each.
    rows = np.stack(seen, axis=1) if len(seen) > 1 else seen[0]
    per_step = np.sort(rows.reshape(STEPS, BATCH_SIZE), axis=1)
    images = tiny_images(BATCH_SIZE * STEPS)
    sums = images.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(
        np.sort(per_step.reshape(-1)), np.sort(sums), rtol=1e-4, atol=1e-4
    )


def test_one_is_terminated_and_all_save_and_stop(together):
    """Each process has seen that the checkpoint is the state of that step."""
    stopped = [found["stopped"] for found in together]
    if None in stopped:
        pytest.skip("the signal goes to one case of a backend")
    ((line,), *others) = stopped
    assert others == [[line]]
    assert "Stopped on request after epoch 0, step" in line
