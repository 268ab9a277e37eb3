"""Run `keras-clmae pretrain` in processes of its own, for tests."""

import csv
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np

# Registers the classes that are loaded.
import keras_clmae  # noqa: F401
from tests.lean import lean_environment

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "keras_clmae"]
# Seconds, not minutes: one layer each.
SMALL = [
    "--config=digits",
    "--model.hidden_dim=8",
    "--model.num_layers=1",
    "--model.num_heads=2",
    "--model.decoder_hidden_dim=8",
    "--model.decoder_num_layers=1",
    "--model.decoder_num_heads=2",
    "--masking_module.num_layers=1",
    "--masking_module.num_heads=2",
    "--batch_size=256",
    "--warmup_epochs=1",
    "--checkpoint_every=1",
    "--verbose=2",
]


def start(run_dir, *arguments, **environment):
    return subprocess.Popen(
        [*COMMAND, "pretrain", *SMALL, f"--run_dir={run_dir}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=lean_environment(
            "matplotlib", "sklearn", PYTHONUNBUFFERED="1", **environment
        ),
    )


def run(run_dir, *arguments, expected=0):
    process = start(run_dir, *arguments)
    output, _ = process.communicate(timeout=1500)
    assert process.returncode == expected, output
    return output


def wait_for(process, happened, seconds=900):
    """Waits until something happened; False if the process ended before."""
    deadline = time.time() + seconds
    while not happened():
        if process.poll() is not None:
            return False
        assert time.time() < deadline, "nothing happened"
        time.sleep(0.002)
    return True


def checkpoints_of(run_dir, prefix="epoch_"):
    return set((run_dir / "checkpoints").glob(f"{prefix}*"))


def wait_for_checkpoint(process, run_dir):
    """Waits for a new one; False if the process ended before."""
    before = checkpoints_of(run_dir)
    return wait_for(process, lambda: checkpoints_of(run_dir) - before)


def kill(process):
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


def log_of(run_dir):
    with open(run_dir / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def state_of_run(run_dir):
    """Weights and optimizer state of the finished model, as arrays."""
    model = keras.saving.load_model(run_dir / "model.keras")
    return [
        keras.ops.convert_to_numpy(variable)
        for variable in [*model.variables, *model.optimizer.variables]
    ]


def assert_same_end(first, second, tolerance=0.0):
    """Asserts that two runs ended in the same state, with the same log."""
    for one, other in zip(
        state_of_run(first), state_of_run(second), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    for one, other in zip(log_of(first), log_of(second), strict=True):
        assert one.keys() == other.keys()
        # Only numbers of the speed may differ.
        for name in one.keys() - {"images_per_second", "data_wait_seconds"}:
            np.testing.assert_allclose(
                # Some columns are empty in some epochs.
                float(one[name] or "nan"),
                float(other[name] or "nan"),
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"{name} of epoch {one['epoch']}",
            )
