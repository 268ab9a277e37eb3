"""The demo and a benchmark, from the command line to what they print."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.once import ONCE

for module in ("jsonargparse", "matplotlib", "sklearn", "tensorboardX"):
    pytest.importorskip(module)
pytestmark = ONCE

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


def output_of(program, *arguments):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / program), *arguments],
        capture_output=True,
        text=True,
        timeout=1500,
        # Rich would cut lines to the width of a terminal.
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_demo(tmp_path):
    output = output_of("demo.py", "--epochs=1", f"--run_dir={tmp_path}")
    rows = re.findall(r"│ (\S.*?) +│ +([\d.]+) % │ +([\d.]+) % │", output)
    assert [name for name, *_ in rows] == [
        "before pretraining",
        "CL-MAE, 1 epochs",
        "plain MAE, 1 epochs",
    ]
    # One in ten classes would be guessed.
    for _, *scores in rows:
        assert all(20 < float(score) <= 100 for score in scores)
    assert re.search(r"Mask difficulty.* \d\.\d\d at the end", output)
    for name in ("curriculum.png", "masks.png"):
        path = tmp_path / "clmae" / name
        assert path.stat().st_size > 10_000
        assert str(path) in output


def test_scaling():
    output = output_of(
        "benchmark.py",
        "scaling",
        "--devices=[2]",
        "--batch_size=4",
        "--steps=1",
    )
    measured = re.findall(r"│ (\d) +│ (\d+\.\d) +│ (\d+\.\d) +│", output)
    ((count, speed, megabytes),) = measured
    assert count == "2" and float(speed) > 0
    # Two devices send half of twice the gradients of 8 million weights.
    assert 30 < float(megabytes) < 60
    predicted = re.findall(r"│ ([\d,]+) .*│ (\d+\.\d)% +│", output)
    assert [count for count, _ in predicted][-1] == "1,024"
    efficiencies = [float(share) for _, share in predicted]
    assert efficiencies == sorted(efficiencies, reverse=True)
