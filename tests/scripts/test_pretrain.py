"""scripts/pretrain.py as a user runs it: in a process of its own."""

import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

# Loading a model needs its classes.
import keras_clmae  # noqa: F401

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorboardX")
pytest.importorskip("sklearn")

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = str(ROOT / "scripts" / "pretrain.py")
# Seconds, not minutes: one layer each.
SMALL = [
    f"--config={ROOT / 'scripts' / 'recipes' / 'digits.yaml'}",
    "--model.hidden_dim=8",
    "--model.num_layers=1",
    "--model.num_heads=2",
    "--model.decoder_hidden_dim=8",
    "--model.decoder_num_layers=1",
    "--model.decoder_num_heads=2",
    "--batch_size=256",
    "--warmup_epochs=1",
    "--checkpoint_every=1",
    "--verbose=2",
]


def start(run_dir, *arguments):
    return subprocess.Popen(
        [sys.executable, PROGRAM, *SMALL, f"--run_dir={run_dir}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def run(run_dir, *arguments, expected=0):
    process = start(run_dir, *arguments)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == expected, output
    return output


def log_of(run_dir):
    with open(run_dir / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
    run(run_dir, "--epochs=6")
    return run_dir


def test_run_folder(undisturbed):
    found = {path.name for path in undisturbed.iterdir()}
    assert found == {
        "checkpoints",
        "config.yaml",
        "curriculum.png",
        "log.csv",
        "masks",
        "masks.png",
        "model.keras",
        "reconstructions",
        "tensorboard",
    }
    log = log_of(undisturbed)
    assert [int(row["epoch"]) for row in log] == list(range(6))
    factors = [float(row["curriculum_factor"]) for row in log]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] > 0.8 and factors[-1] < -0.6
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    model = keras.saving.load_model(undisturbed / "model.keras")
    assert model.encoder.image_shape == (8, 8, 1)
    for name in ("curriculum.png", "masks.png"):
        assert (undisturbed / name).stat().st_size > 10_000


def test_an_existing_run_is_not_overwritten(undisturbed):
    before = (undisturbed / "log.csv").read_bytes()
    output = run(undisturbed, "--epochs=6", expected=2)
    assert "`run_dir` holds a run already" in output
    assert (undisturbed / "log.csv").read_bytes() == before


def test_nothing_to_resume(tmp_path):
    output = run(tmp_path / "none", "--resume", expected=2)
    assert "`run_dir` must hold the config.yaml" in output


def test_bad_settings_end_in_one_line(tmp_path):
    output = run(tmp_path / "bad", "--model.mask_ratio=1.5", expected=1)
    assert "error: `mask_ratio` must be a number in (0, 1)" in output
    assert "Traceback" not in output
    assert not (tmp_path / "bad" / "config.yaml").exists()


def test_killed_run_resumes_bit_for_bit(undisturbed, tmp_path):
    run_dir = tmp_path / "killed"
    process = start(run_dir, "--epochs=6")
    checkpoints = run_dir / "checkpoints"
    deadline = time.time() + 300
    while not list(checkpoints.glob("epoch_*")) and time.time() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run_dir / "model.keras").exists()
    run(run_dir, "--resume")
    assert [row["epoch"] for row in log_of(run_dir)] == list("012345")
    expected = keras.saving.load_model(undisturbed / "model.keras")
    actual = keras.saving.load_model(run_dir / "model.keras")
    for first, second in zip(
        [*expected.variables, *expected.optimizer.variables],
        [*actual.variables, *actual.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(first),
            keras.ops.convert_to_numpy(second),
        )


def test_plain_mae(tmp_path):
    output = run(tmp_path / "mae", "--method=mae", "--epochs=2")
    assert "MAE, random masks" in output
    pictures = sorted((tmp_path / "mae" / "reconstructions").iterdir())
    assert [path.name for path in pictures] == [
        f"epoch_0000{epoch}.png" for epoch in range(3)
    ]
    assert "images/s" in output
    assert "python scripts/knn.py" in output
    model = keras.saving.load_model(tmp_path / "mae" / "model.keras")
    assert type(model).__name__ == "MaskedAutoencoder"


def test_help_reads_well():
    done = subprocess.run(
        [sys.executable, PROGRAM, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for words in ("Folder of the run", "--resume", "--curriculum", "--config"):
        assert words in done.stdout
