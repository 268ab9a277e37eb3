"""scripts/pretrain.py as a user runs it: in a process of its own."""

import subprocess
import sys

import keras
import pytest

# Loading a model needs its classes.
import keras_clmae  # noqa: F401
from tests.scripts.processes import PROGRAM
from tests.scripts.processes import log_of
from tests.scripts.processes import run

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorboardX")
pytest.importorskip("sklearn")


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
