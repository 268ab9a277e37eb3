"""Runs that are killed at random moments, and go on as if nothing had happened.

    KILLS=20 python -m pytest tests/cli/test_random_kills.py

kills a run so many times. tests/cli/test_pretrain.py kills one at chosen
moments.
"""

import os
import random
import time

import pytest

from tests.cli.processes import assert_same_end
from tests.cli.processes import checkpoints_of
from tests.cli.processes import kill
from tests.cli.processes import run
from tests.cli.processes import start
from tests.cli.processes import wait_for
from tests.cli.processes import wait_for_checkpoint

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorboardX")
pytest.importorskip("sklearn")


def resume_arguments(run_dir, epochs):
    started = (run_dir / "config.yaml").exists()
    return ["--resume"] if started else [f"--epochs={epochs}"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif("KILLS" not in os.environ, reason="takes many minutes")
def test_killed_at_random_moments(tmp_path):
    wanted = int(os.environ["KILLS"])
    # More than are through when the last one is killed.
    epochs = 10 * wanted
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
