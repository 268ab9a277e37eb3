"""`keras-clmae visualize` on the folder of a run."""

import numpy as np
import pytest

from keras_clmae import cli
from keras_clmae.runs.folder import RunFolder
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder

for module in ("jsonargparse", "matplotlib", "sklearn", "tensorboardX"):
    pytest.importorskip(module)
pytestmark = ONCE
PIL_Image = pytest.importorskip("PIL.Image")

SIZES = {
    "patch_size": 2,
    "hidden_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_hidden_dim": 8,
    "decoder_num_layers": 1,
    "decoder_num_heads": 2,
    "normalize_targets": "true",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    cli.run(
        [
            "pretrain",
            f"--run_dir={folder / 'clmae'}",
            *(f"--model.{name}={value}" for name, value in SIZES.items()),
            "--batch_size=512",
            "--epochs=3",
            "--warmup_epochs=1",
            "--pictures_every=2",
            "--keep=3",
            "--verbose=0",
        ]
    )
    # Plain MAE as far as it matters here: test_pretrain.py runs it.
    mae = folder / "mae"
    mae.mkdir()
    config = (folder / "clmae" / "config.yaml").read_text()
    (mae / "config.yaml").write_text(
        config.replace("method: clmae", "method: mae")
    )
    (mae / "log.csv").write_text("epoch,loss\n0,2.0\n1,1.0\n")
    tiny_autoencoder(image_shape=(8, 8, 1)).save(mae / "model.keras")
    return folder


def test_the_end_of_an_epoch_is_its_checkpoint(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    end = folder / "epoch_00002.weights.h5"
    stopped = folder / "epoch_00002_step_00000001.weights.h5"
    end.touch()
    stopped.touch()
    run = RunFolder(tmp_path)
    assert run.list_checkpoints() == {2: str(end)}
    end.unlink()
    assert run.list_checkpoints() == {2: str(stopped)}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_galleries_of_a_run(runs):
    png = {"epoch_00000.png", "epoch_00002.png", "epoch_00003.png"}
    assert names(runs / "clmae" / "reconstructions") == png
    assert png < names(runs / "clmae" / "masks")
    assert names(runs / "clmae" / "tensorboard") == {
        "train",
        "validation",
        "masks",
        "reconstructions",
    }


@pytest.mark.parametrize(
    ("command", "method", "written"),
    [
        (["masks"], "clmae", "masks_now.png"),
        (["masks", "--epoch=2"], "clmae", "masks_now.png"),
        (
            ["reconstructions", "--shown_channels=[0]"],
            "clmae",
            "reconstructions_now.png",
        ),
        (["curriculum"], "clmae", "curriculum.png"),
        (["curriculum"], "mae", "curriculum.png"),
        (["attention", "--block=0"], "clmae", "attention.png"),
    ],
)
def test_pictures(runs, capsys, command, method, written):
    path = runs / method / written
    path.unlink(missing_ok=True)
    cli.run(["visualize", command[0], str(runs / method), *command[1:]])
    assert capsys.readouterr().out.strip() == str(path)
    with PIL_Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_animation(runs, tmp_path):
    """Epoch 1 is in no gallery, but has a checkpoint."""
    path = tmp_path / "film.gif"
    cli.run(
        [
            "visualize",
            "animation",
            str(runs / "clmae"),
            f"--output={path}",
            "--image=1",
        ]
    )
    with PIL_Image.open(path) as animation:
        assert animation.n_frames == 4


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["masks", "mae"], "`run_dir` must be a run that learns masks"),
        (["masks", "none"], "`run_dir` must be the folder of a run"),
        (["curriculum", "none"], "`run_dir` must be the folder of a run"),
        (["attention", "clmae", "--epoch=9"], "`epoch` must be one of"),
        (["animation", "clmae", "--image=9"], "`image` must be from 0 to 5"),
    ],
)
def test_bad_input_ends_in_one_line(runs, capsys, command, message):
    with pytest.raises(SystemExit):
        cli.run(["visualize", command[0], str(runs / command[1]), *command[2:]])
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_augmentations(tmp_path):
    pytest.importorskip("keras_cv")
    from tests.data.pictures import save_picture

    for number in range(3):
        save_picture(tmp_path / "pictures" / f"{number}.png", seed=number)
    path = tmp_path / "augmentations.png"
    cli.run(
        [
            "visualize",
            "augmentations",
            f"folder:{tmp_path / 'pictures'}",
            str(path),
            "--image_size=16",
            "--count=3",
            "--shown_channels=[1]",
            "--statistics=from_data",
        ]
    )
    with PIL_Image.open(path) as picture:
        picture.load()
        # One row for evaluation, two draws of each of two transforms.
        assert picture.size[1] > 5 * 1.4 * 150
        # One channel is gray; the frames are nearly.
        red, _, blue, *_ = picture.convert("RGB").split()
        assert np.abs(np.int16(red) - np.int16(blue)).max() < 16
