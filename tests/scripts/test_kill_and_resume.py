"""Runs that are killed at any moment, and go on as if nothing had happened.

    KILLS=20 python -m pytest tests/scripts/test_kill_and_resume.py -k random

kills a run so many times at random moments; without `KILLS` a few kills at
chosen moments do.
"""

import os
import random
import signal
import time

import pytest

from tests.scripts.processes import assert_same_end
from tests.scripts.processes import run
from tests.scripts.processes import start

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorboardX")
pytest.importorskip("sklearn")

EPOCHS = 12
# Seconds that a pre-empted process gets on Google Cloud
# (https://cloud.google.com/compute/docs/instances/preemptible).
GRACE = 30


def wait_for(process, happened, seconds=300):
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


def resume_arguments(run_dir, epochs):
    started = (run_dir / "config.yaml").exists()
    return ["--resume"] if started else [f"--epochs={epochs}"]


def kill(process):
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
    run(run_dir, f"--epochs={EPOCHS}")
    return run_dir


def test_killed_twice_and_terminated(undisturbed, tmp_path):
    run_dir = tmp_path / "run"

    process = start(run_dir, f"--epochs={EPOCHS}")
    # The second checkpoint is being written.
    assert wait_for(
        process,
        lambda: (
            checkpoints_of(run_dir) and checkpoints_of(run_dir, "unfinished_")
        ),
    )
    kill(process)
    assert not (run_dir / "model.keras").exists()

    # Again, while it starts.
    before = checkpoints_of(run_dir)
    process = start(run_dir, "--resume")
    time.sleep(2)
    kill(process)
    assert checkpoints_of(run_dir) == before

    process = start(run_dir, "--resume")
    assert wait_for_checkpoint(process, run_dir)
    asked = time.time()
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert time.time() - asked < GRACE
    assert "Stopped on request" in output and "Traceback" not in output
    assert not checkpoints_of(run_dir, "unfinished_")

    run(run_dir, "--resume")
    assert_same_end(undisturbed, run_dir)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif("KILLS" not in os.environ, reason="takes many minutes")
def test_killed_at_random_moments(tmp_path):
    wanted, epochs = int(os.environ["KILLS"]), 400
    draw = random.Random(0)
    expected = tmp_path / "undisturbed"
    run(expected, f"--epochs={epochs}")
    run_dir = tmp_path / "run"
    kills = []
    while len(kills) < wanted:
        process = start(run_dir, *resume_arguments(run_dir, epochs))
        moment = ("any", "writing", "starting", "training")[len(kills) % 4]
        alive = True
        if moment == "starting":
            time.sleep(draw.uniform(0, 10))
        else:
            alive = wait_for_checkpoint(process, run_dir)
            if alive and moment == "writing":
                alive = wait_for(
                    process, lambda: checkpoints_of(run_dir, "unfinished_")
                )
            elif alive:
                time.sleep(draw.uniform(0, 0.5 if moment == "any" else 0.05))
        assert alive and process.poll() is None, process.communicate()[0]
        kill(process)
        kills.append(moment)
    run(run_dir, *resume_arguments(run_dir, epochs))
    assert_same_end(expected, run_dir)
    print(f"{len(kills)} kills: {kills}")
