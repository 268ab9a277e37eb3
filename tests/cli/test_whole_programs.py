"""The demo and a benchmark, from the command line to what they print."""

import pathlib
import re
import runpy
import sys

import pytest

from tests.once import ONCE

for module in ("jsonargparse", "matplotlib", "sklearn", "tensorboardX"):
    pytest.importorskip(module)
pytestmark = ONCE

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture
def output_of(monkeypatch, capsys):
    """Runs a program in this process, which has imported all it needs."""

    def run(program, *arguments):
        path = str(SCRIPTS / program)
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        # A program finds those beside it.
        monkeypatch.syspath_prepend(str(SCRIPTS))
        # Rich would cut lines to the width of a terminal.
        monkeypatch.setenv("COLUMNS", "200")
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    return run


def test_demo(output_of, tmp_path):
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


def test_scaling(output_of):
    # Several processes train in tests/distribution.
    output = output_of(
        "benchmark.py",
        "scaling",
        "--devices=[1]",
        "--batch_size=4",
        "--steps=1",
    )
    measured = re.findall(r"│ (\d) +│ (\d+\.\d) +│ (\d+\.\d) +│", output)
    ((count, speed, megabytes),) = measured
    # Alone it sends nothing.
    assert (count, megabytes) == ("1", "0.0") and float(speed) > 0
    predicted = re.findall(r"│ ([\d,]+) .*│ (\d+\.\d)% +│", output)
    assert [count for count, _ in predicted][-1] == "1,024"
    efficiencies = [float(share) for _, share in predicted]
    assert efficiencies == sorted(efficiencies, reverse=True)
