"""Pretrain from the command line: run, kill and resume, and bad settings."""

import shutil
import signal
import time

import keras
import pytest

# Loading a model needs its classes.
import keras_clmae  # noqa: F401
from keras_clmae import cli
from keras_clmae.callbacks import TrainingInterrupted
from keras_clmae.runs import pretraining
from tests.cli.processes import SMALL
from tests.cli.processes import assert_same_end
from tests.cli.processes import checkpoints_of
from tests.cli.processes import kill
from tests.cli.processes import log_of
from tests.cli.processes import start
from tests.cli.processes import wait_for
from tests.cli.processes import wait_for_checkpoint
from tests.once import ONCE

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorboardX")
pytest.importorskip("sklearn")

EPOCHS = 8
SETTINGS = [f"--epochs={EPOCHS}", "--pictures_every=3", "--knn_every=3"]
# A preempted process gets 30 seconds on Google Cloud
# (https://cloud.google.com/compute/docs/instances/preemptible), to itself:
# tests share their cores.
GRACE = 120


def run_here(run_dir, *arguments):
    """Runs the command in this process, which has imported all it needs."""
    cli.run(["pretrain", *SMALL, f"--run_dir={run_dir}", *arguments])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
    run_here(run_dir, *SETTINGS)
    return run_dir


def test_run_folder(undisturbed):
    found = {path.name for path in undisturbed.iterdir()}
    assert found == {
        "checkpoints",
        "config.yaml",
        "curriculum.png",
        "encoder",
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
    assert factors[0] > 0.8 and -0.5 < factors[-1] < -0.3
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


def fails(capsys, run_dir, *arguments, status):
    """Runs the command in this process; gives what it says when it fails."""
    with pytest.raises(SystemExit) as ended:
        run_here(run_dir, *arguments)
    assert ended.value.code == status
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@ONCE
def test_an_existing_run_is_not_overwritten(undisturbed, capsys):
    before = (undisturbed / "log.csv").read_bytes()
    line = fails(capsys, undisturbed, *SETTINGS, status=2)
    assert "`run_dir` holds a run already" in line
    assert (undisturbed / "log.csv").read_bytes() == before


def test_resumed_from_the_checkpoint_before_the_last(undisturbed, tmp_path):
    """As if the process had been killed in the last epoch."""
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    (run_dir / "model.keras").unlink()
    shutil.rmtree(run_dir / "encoder")
    *_, before, last = sorted(checkpoints_of(run_dir))
    last.unlink()
    run_here(run_dir, "--resume")
    assert checkpoints_of(run_dir) >= {before, last}
    assert_same_end(undisturbed, run_dir)


@ONCE
def test_killed_and_resumed(undisturbed, tmp_path):
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
    run_here(run_dir, "--resume")
    assert not checkpoints_of(run_dir, "unfinished_")
    assert_same_end(undisturbed, run_dir)


# tests/distribution/test_agreement.py sends the signal on every backend.
@ONCE
def test_terminated_and_resumed(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir, *SETTINGS)
    assert wait_for_checkpoint(process, run_dir)
    asked = time.time()
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert time.time() - asked < GRACE
    assert "Stopped on request" in output and "Traceback" not in output
    assert not checkpoints_of(run_dir, "unfinished_")
    run_here(run_dir, "--resume")
    assert_same_end(undisturbed, run_dir)


@ONCE
def test_nothing_to_resume(tmp_path, capsys):
    line = fails(capsys, tmp_path / "none", "--resume", status=2)
    assert "`run_dir` must hold the config.yaml" in line


@ONCE
def test_bad_settings_end_in_one_line(tmp_path, capsys):
    for option, message, status in (
        ("--model.mask_ratio=1.5", "`mask_ratio` must be a number in", 1),
        ("--warmup_epochs=-1", "`warmup_epochs` must be 0 or more", 2),
        ("--data=nowhere", "`data` must be `digits`, an existing", 2),
        ("--batch_size=2000", "at most 1438, as a last batch", 1),
    ):
        line = fails(capsys, tmp_path / "bad", option, status=status)
        assert message in line
    assert not (tmp_path / "bad").exists()


@ONCE
def test_plain_mae(tmp_path, capsys):
    """In one epoch, for which the warm-up of `SMALL` is too long."""
    folder = tmp_path / "mae"
    run_here(folder, "--method=mae", "--epochs=1")
    output = capsys.readouterr().out
    assert "MAE, random masks" in output
    assert "0 epochs (instead of 1) of warm-up" in " ".join(output.split())
    pictures = sorted((folder / "reconstructions").iterdir())
    assert [path.name for path in pictures] == [
        f"epoch_0000{epoch}.png" for epoch in range(2)
    ]
    assert "images/s" in output
    assert f"keras-clmae knn {folder} digits" in output
    model = keras.saving.load_model(folder / "model.keras")
    assert type(model).__name__ == "MaskedAutoencoder"


@ONCE
def test_a_loss_that_is_not_finite_ends_in_one_line(tmp_path, capsys):
    line = fails(
        capsys,
        tmp_path / "diverged",
        "--method=mae",
        "--epochs=2",
        "--warmup_epochs=0",
        "--base_learning_rate=1e30",
        "--verbose=0",
        status=1,
    )
    assert "error: `loss` is " in line and " at step " in line


@ONCE
def test_a_damaged_checkpoint_is_named(undisturbed, tmp_path, capsys):
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    newest = run_dir / "checkpoints" / f"epoch_{EPOCHS:05d}.weights.h5"
    newest.write_bytes(newest.read_bytes()[:-1000])
    line = fails(capsys, run_dir, "--resume", status=1)
    assert f"error: The checkpoint {newest} must hold, whole," in line


@ONCE
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_how_to_go_on(name, tmp_path, capsys, monkeypatch):
    """A stopped run says how to go on, and exits with its signal."""
    number = getattr(signal, name)

    def stopped(settings, resume, **options):
        interruption = TrainingInterrupted("Stopped on request")
        interruption.signal = number
        raise interruption

    monkeypatch.setattr(pretraining, "run", stopped)
    with pytest.raises(SystemExit) as ended:
        run_here(tmp_path)
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err == (
        "Stopped on request. Go on with: keras-clmae pretrain --run_dir "
        f"{tmp_path} --resume\n"
    )
