"""pretrain.py on several devices: one process fails, and the run goes on.

JAX and TensorFlow compile for minutes here: there with `KILLS` set only, as
the random kills of tests/cli/test_random_kills.py. SIGTERM is sent to one of
several processes in tests/distribution/test_agreement.py.
"""

import os
import signal

import keras
import pytest

from tests.cli.processes import assert_same_end
from tests.cli.processes import start
from tests.cli.processes import wait_for
from tests.distribution.test_agreement import environment_of
from tests.distribution.test_agreement import free_ports

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorboardX")
pytest.importorskip("sklearn")

BACKEND = keras.backend.backend()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BACKEND != "torch" and "KILLS" not in os.environ,
        reason="takes many minutes",
    ),
]

PROCESSES = 2
SETTINGS = ["--epochs=6", "--pictures_every=5"]
# To end, of processes which share their cores with others.
SECONDS = 600


def start_all(run_dir, *arguments):
    ports = free_ports(PROCESSES)
    return [
        start(
            run_dir,
            "--distribution=data",
            *arguments,
            **environment_of(index, ports),
        )
        for index in range(PROCESSES)
    ]


def finish(processes):
    outputs = [process.communicate(timeout=1500)[0] for process in processes]
    assert not any(p.returncode for p in processes), "\n".join(outputs)


def wait_for_an_epoch(processes, run_dir):
    """Waits for a checkpoint that is not there yet."""

    def whole():
        # Orbax names a whole checkpoint by a number.
        return {
            path.name
            for path in (run_dir / "checkpoints").glob("*")
            if path.name.startswith("epoch_") or path.name.isdigit()
        }

    before = whole()
    assert wait_for(processes[0], lambda: whole() - before), "".join(
        process.communicate()[0] for process in processes
    )


def test_one_is_killed_and_the_run_goes_on(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    finish(start_all(undisturbed, *SETTINGS))
    run_dir = tmp_path / "run"

    processes = start_all(run_dir, *SETTINGS)
    wait_for_an_epoch(processes, run_dir)
    processes[-1].send_signal(signal.SIGKILL)
    for process in processes:
        # Without the other one it ends with an error, and does not hang.
        process.communicate(timeout=SECONDS)
        assert process.returncode != 0
    assert not (run_dir / "model.keras").exists()

    finish(start_all(run_dir, "--resume"))
    assert_same_end(undisturbed, run_dir, tolerance=1e-5)
