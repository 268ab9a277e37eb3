"""scripts/pretrain.py as a user runs, kills and resumes it: as a process."""

import shutil
import signal
import subprocess
import sys
import time

import keras
import pytest
from tests.cli.processes import PROGRAM
from tests.cli.processes import assert_same_end
from tests.cli.processes import checkpoints_of
from tests.cli.processes import kill
from tests.cli.processes import log_of
from tests.cli.processes import run
from tests.cli.processes import start
from tests.cli.processes import wait_for
from tests.cli.processes import wait_for_checkpoint

# Loading a model needs its classes.
import keras_clmae  # noqa: F401

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorboardX")
pytest.importorskip("sklearn")

EPOCHS = 8
SETTINGS = [f"--epochs={EPOCHS}", "--pictures_every=3", "--knn_every=3"]
# Seconds that a pre-empted process gets on Google Cloud
# (https://cloud.google.com/compute/docs/instances/preemptible).
GRACE = 30


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
    run(run_dir, *SETTINGS)
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
        "normalization.json",
        "reconstructions",
        "tensorboard",
    }
    log = log_of(undisturbed)
    assert [int(row["epoch"]) for row in log] == list(range(EPOCHS))
    factors = [float(row["curriculum_factor"]) for row in log]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] > 0.8 and factors[-1] < -0.6
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    for row in log:
        # Of ten classes of digits, guessing is right in a tenth.
        if int(row["epoch"]) in (2, 5):
            assert 0.1 < float(row["knn_accuracy"]) <= 1
        else:
            assert row["knn_accuracy"] == ""
    model = keras.saving.load_model(undisturbed / "model.keras")
    assert model.encoder.image_shape == (8, 8, 1)
    assert len(model.masking_module.blocks) == 1
    for name in ("curriculum.png", "masks.png"):
        assert (undisturbed / name).stat().st_size > 10_000


def test_an_existing_run_is_not_overwritten(undisturbed):
    before = (undisturbed / "log.csv").read_bytes()
    output = run(undisturbed, *SETTINGS, expected=2)
    assert "`run_dir` holds a run already" in output
    assert (undisturbed / "log.csv").read_bytes() == before


def test_killed_twice_and_terminated(undisturbed, tmp_path):
    run_dir = tmp_path / "run"

    process = start(run_dir, *SETTINGS)
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


def test_nothing_to_resume(tmp_path):
    output = run(tmp_path / "none", "--resume", expected=2)
    assert "`run_dir` must hold the config.yaml" in output


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.mask_ratio=1.5", "`mask_ratio` must be a number in (0, 1)"),
        ("--epochs=1", "`warmup_epochs` must be from 0 to below `epochs`"),
    ],
)
def test_bad_settings_end_in_one_line(option, message, tmp_path):
    output = run(tmp_path / "bad", option, expected=1)
    assert f"error: {message}" in output
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


def test_a_loss_that_is_not_finite_ends_in_one_line(tmp_path):
    output = run(
        tmp_path / "diverged",
        "--method=mae",
        "--epochs=2",
        "--base_learning_rate=1e30",
        "--verbose=0",
        expected=1,
    )
    assert "error: `loss` is " in output and " at step " in output
    assert "Traceback" not in output


def test_a_damaged_checkpoint_is_named(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    newest = run_dir / "checkpoints" / f"epoch_{EPOCHS:05d}.weights.h5"
    newest.write_bytes(newest.read_bytes()[:-1000])
    output = run(run_dir, "--resume", expected=1)
    assert f"error: The checkpoint {newest} must hold, whole," in output
    assert "Traceback" not in output


def test_help_reads_well():
    done = subprocess.run(
        [sys.executable, PROGRAM, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for words in ("Folder of the run", "--resume", "--curriculum", "--config"):
        assert words in done.stdout
