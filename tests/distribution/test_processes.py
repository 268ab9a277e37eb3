"""pretrain.py on several devices: one process fails, and the run goes on.

JAX and TensorFlow compile for minutes here: there with `KILLS` set only, as
the random kills of tests/cli/test_random_kills.py.
"""

import os
import signal
import time

import keras
import pytest

from tests.cli.processes import assert_same_end
from tests.cli.processes import start
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
EPOCHS = 4


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
    outputs = [process.communicate(timeout=500)[0] for process in processes]
    assert not any(p.returncode for p in processes), "\n".join(outputs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(start_all(run_dir, f"--epochs={EPOCHS}"))
    return run_dir


def wait_for_an_epoch(processes, run_dir):
    deadline = time.time() + 300
    checkpoints = run_dir / "checkpoints"
    # Orbax names a whole checkpoint by a number.
    while not [
        path
        for path in checkpoints.glob("*")
        if path.name.startswith("epoch_") or path.name.isdigit()
    ]:
        assert time.time() < deadline
        assert processes[0].poll() is None, processes[0].communicate()[0]
        time.sleep(0.01)


def test_one_is_killed_and_the_run_goes_on(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    processes = start_all(run_dir, f"--epochs={EPOCHS}")
    wait_for_an_epoch(processes, run_dir)
    killed = time.time()
    processes[-1].send_signal(signal.SIGKILL)
    for process in processes:
        # Without the other one it ends with an error, and does not hang.
        process.communicate(timeout=60)
        assert process.returncode != 0
    print(f"the other ended after {time.time() - killed:.1f} s")
    assert time.time() - killed < 60
    assert not (run_dir / "model.keras").exists()
    finish(start_all(run_dir, "--resume"))
    assert_same_end(undisturbed, run_dir, tolerance=1e-5)


def test_one_is_terminated_and_the_run_goes_on(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    processes = start_all(run_dir, f"--epochs={EPOCHS}")
    wait_for_an_epoch(processes, run_dir)
    processes[-1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 128 + signal.SIGTERM, "".join(outputs)
        assert "Stopped on request" in output and "Traceback" not in output
    finish(start_all(run_dir, "--resume"))
    assert_same_end(undisturbed, run_dir, tolerance=1e-5)
