"""The command on folders of image files, from pretraining to scores."""

import ast
import json
import os
import shlex

import numpy as np
import pytest

from keras_clmae import cli
from keras_clmae.data import PixelNormalization
from keras_clmae.runs.normalization import source_normalization
from keras_clmae.runs.online_knn import labeled_images
from keras_clmae.runs.settings import Settings
from keras_clmae.runs.summary import next_commands
from keras_clmae.runs.summary import scoring_commands
from tests.data.pictures import save_picture
from tests.data.pictures import smooth_picture
from tests.once import ONCE

for module in ("jsonargparse", "sklearn", "tensorboardX", "tensorflow"):
    pytest.importorskip(module)
pytestmark = ONCE

SMALL = [
    "--model.patch_size=8",
    "--model.hidden_dim=8",
    "--model.num_layers=1",
    "--model.num_heads=2",
    "--model.decoder_hidden_dim=8",
    "--model.decoder_num_layers=1",
    "--model.decoder_num_heads=2",
    "--image_size=16",
    "--batch_size=6",
    "--epochs=1",
    "--warmup_epochs=0",
    "--verbose=0",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Gray PNG and colored JPEG files; the test split lacks a class."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        name = "abc"[number % 3]
        gray = number < 6
        save_picture(
            root / "train" / name / f"{number}.{'png' if gray else 'jpg'}",
            "L" if gray else "RGB",
            seed=number,
        )
        if name != "a":
            save_picture(root / "test" / name / f"{number}.jpg", seed=number)
    return root


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "mixed"
    cli.run(
        [
            "pretrain",
            *SMALL,
            f"--data=folder:{pictures}",
            f"--run_dir={run_dir}",
        ]
        + ["--channels=3", "--statistics=from_data", "--validation=test"]
    )
    return run_dir


def test_gray_among_color_becomes_rgb(pictures, tmp_path, capsys):
    arguments = [f"--data=folder:{pictures}", f"--run_dir={tmp_path}/run"]
    with pytest.warns(UserWarning, match="Converted all images .* to RGB"):
        cli.run(["pretrain", *SMALL, *arguments, "--dry_run"])
    assert "16 x 16 x 3" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_images_stay_on_the_device(pictures, tmp_path, capsys):
    run_dir = tmp_path / "run"
    arguments = [f"--data=folder:{pictures}", "--channels=3"]
    arguments += ["--cache=device", "--validation=test"]
    cli.run(["pretrain", *SMALL, *arguments, f"--run_dir={run_dir}"])
    scores = [
        cli.run(
            ["knn", str(run_dir), f"folder:{pictures}", "--k=[1]"]
            + ["--verbose=0", *cache]
        )["scores"]["pretrained"]["accuracy"]
        for cache in ([], ["--cache=device"])
    ]
    assert scores[0] == scores[1]
    with pytest.raises(SystemExit):
        cli.run(
            ["pretrain", *SMALL, *arguments, f"--run_dir={tmp_path}/other"]
            + ["--color_jitter=0.4"]
        )
    assert "Received: color_jitter=0.4" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_run_keeps_its_normalization(pictures, run):
    stored = json.loads((run / "normalization.json").read_text())
    assert len(stored["mean"]) == len(stored["std"]) == 3
    # Not ImageNet's: the pictures' own.
    assert abs(stored["mean"][0] - 0.485) > 1e-3
    record = cli.run(
        ["knn", str(run), f"folder:{pictures}", "--k=[1]", "--verbose=0"]
    )
    assert record["settings"]["normalization"] == stored
    assert 0 <= record["scores"]["pretrained"]["accuracy"] <= 1
    other = cli.run(
        ["knn", str(run), f"folder:{pictures}", "--k=[1]", "--verbose=0"]
        + ["--statistics=[[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]]"]
    )
    assert other["settings"]["normalization"]["mean"] == [0.5] * 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linear-probe", []),
        ("linear-probe", ["--solver=sgd", "--augment=true", "--epochs=1"]),
        ("finetune", ["--epochs=1", "--batch_size=6"]),
        ("finetune", ["--epochs=1", "--images_per_class=2"]),
    ],
)
def test_other_scores(pictures, run, name, options):
    if "--augment=true" in options:
        options = [*options, "--probe_batch_size=6", "--warmup_epochs=0"]
    if name == "finetune":
        pytest.importorskip("keras_cv")
        options = [*options, "--warmup_epochs=0"]
    record = cli.run(
        [name, str(run), f"folder:{pictures}", "--verbose=0", *options]
    )
    assert 0 <= record["scores"]["pretrained"]["accuracy"] <= 1


def test_classes_are_mapped_by_name(pictures, run, capsys):
    """Each picture's own copy is its nearest neighbor."""
    record = cli.run(
        ["knn", str(run), f"folder:{pictures}", "--k=[1]", "--verbose=0"]
        + ["--train_split=test", "--test_split=test"]
    )
    assert record["scores"]["pretrained"]["accuracy"] == 1
    record = cli.run(
        ["knn", str(run), f"folder:{pictures}", "--k=[1]", "--verbose=0"]
        + ["--test_split=train", "--train_split=train"]
    )
    assert record["scores"]["pretrained"]["accuracy"] == 1
    # Of these the JPEG files are in both.
    record = cli.run(
        ["knn", str(run), f"folder:{pictures}", "--k=[1]", "--verbose=0"]
    )
    assert record["scores"]["pretrained"]["accuracy"] >= 0.5
    with pytest.raises(SystemExit):
        cli.run(
            ["knn", str(run), f"folder:{pictures}", "--k=[1]", "--verbose=0"]
            + ["--train_split=test", "--test_split=train"]
        )
    error = capsys.readouterr().err
    assert "`class_names` must hold" in error and "'a'" in error


def test_without_validation(pictures, tmp_path):
    cli.run(
        [
            "pretrain",
            *SMALL,
            f"--data=folder:{pictures / 'train' / 'c'}",
            "--channels=3",
        ]
        + [f"--run_dir={tmp_path / 'run'}", "--method=mae", "--batch_size=4"]
    )
    header = (tmp_path / "run" / "log.csv").read_text().splitlines()[0]
    names = set(header.split(","))
    assert {"epoch", "learning_rate", "loss"} <= names
    assert not any(name.startswith("val_") for name in names)
    assert (tmp_path / "run" / "curriculum.png").exists()


def test_other_channels_than_the_encoders(pictures, run, capsys):
    with pytest.raises(SystemExit):
        cli.run(["knn", str(run), f"folder:{pictures}", "--channels=1"])
    assert "`channels` must be the encoder's, 3" in capsys.readouterr().err


def test_the_normalization_of_hugging_face(pictures, run, tmp_path, capsys):
    """Scores see the images as the image processor of the folder does."""
    pytest.importorskip("safetensors")
    folder = str(tmp_path / "vit")
    cli.run(
        ["convert", str(run), folder, "--encoder_only"]
        + ["--mean=[0.5, 0.4, 0.3]", "--std=[0.2, 0.2, 0.1]"]
    )
    # The data as the path of a folder.
    record = cli.run(
        ["knn", folder, str(pictures), "--k=[1]", "--verbose=0"]
        + [f"--output={tmp_path / 'score.json'}"]
    )
    assert record["data"] == f"folder:{pictures}"
    np.testing.assert_allclose(
        record["settings"]["normalization"]["mean"], [0.5, 0.4, 0.3], rtol=1e-6
    )
    # All of the image processor, not the two lists alone.
    path = tmp_path / "vit" / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    for change, mean, std in (
        ({"do_normalize": False}, 0, 1),
        ({"rescale_factor": 1 / 127.5}, 0.25, 0.1),
    ):
        path.write_text(json.dumps(settings | change))
        found = source_normalization(folder, 3)
        assert found.mean[0] == pytest.approx(mean)
        assert found.std[0] == pytest.approx(std)
    path.write_text("[1, 2")
    with pytest.raises(SystemExit):
        cli.run(["embed", folder, str(pictures)])
    line = capsys.readouterr().err
    assert line.startswith("error: ") and "preprocessor_config.json" in line


def test_six_channels(tmp_path):
    for number in range(8):
        folder = tmp_path / "pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = smooth_picture(20, 20, channels=6, seed=number)
        np.save(folder / f"{number}.npy", pixels)
    run_dir = tmp_path / "run"
    data = f"folder:{tmp_path / 'pictures'}"
    cli.run(
        ["pretrain", *SMALL, f"--data={data}", f"--run_dir={run_dir}"]
        + ["--statistics=from_data", "--cache=memory", "--validation=0.25"]
    )
    stored = json.loads((run_dir / "normalization.json").read_text())
    assert len(stored["mean"]) == 6
    record = cli.run(
        [
            "knn",
            str(run_dir),
            data,
            "--verbose=0",
            "--k=[1]",
            "--test_split=train",
        ]
    )
    assert record["scores"]["pretrained"]["accuracy"] == 1


def settings_for(data, **values):
    values = {"image_size": 16, "channels": 3, "run_dir": "run", **values}
    return Settings(data=data, **values)


def draw(settings):
    normalization = PixelNormalization([0.5] * 3, [0.25] * 3)
    return labeled_images(settings, normalization)


def test_images_for_k_nn_while_training(pictures):
    settings = settings_for(
        f"folder:{pictures}", validation="test", knn_bank=9, knn_queries=100
    )
    bank, queries = draw(settings)
    assert bank[0].shape == (9, 16, 16, 3) and set(bank[1]) <= {0, 1, 2}
    # All there are, of the classes b and c.
    assert len(queries[0]) == 8 and set(queries[1]) == {1, 2}
    # Without validation data, a share of the training data.
    settings = settings_for(
        f"folder:{pictures}", knn_bank=5000, knn_queries=2500
    )
    bank, queries = draw(settings)
    assert len(bank[0]) == 8 and len(queries[0]) == 4
    means = np.concatenate([bank[0], queries[0]]).mean(axis=(1, 2, 3))
    assert len(set(means.round(5))) == 12


def test_no_k_nn_without_classes(pictures):
    settings = settings_for(f"folder:{pictures / 'test' / 'b'}", knn_every=1)
    with pytest.warns(UserWarning, match="not in the folder of a class"):
        with pytest.raises(ValueError, match="`knn_every` must be left out"):
            draw(settings)


@pytest.mark.parametrize(
    ("validation", "option"),
    [("test", ""), ("val", " --test_split val"), (0.1, ""), (None, "")],
)
def test_how_one_scores_it(validation, option, tmp_path):
    for split in ("train", "test", "val"):
        (tmp_path / split).mkdir()
    data = f"folder:{tmp_path}"
    settings = settings_for(data, validation=validation)
    assert scoring_commands(settings) == [
        f"keras-clmae {name} run {data}{option}"
        for name in ("knn", "linear-probe", "finetune")
    ]
    # Of a folder without such a split another one is needed.
    (tmp_path / "test").rmdir()
    (tmp_path / "val").rmdir()
    assert f" run DATA{option}" in scoring_commands(settings)[0]


def test_what_one_types_next(tmp_path):
    """Lines for a shell, whatever the names are."""
    photos = tmp_path / "my photos"
    (photos / "b").mkdir(parents=True)
    for name in (".a.png", "notes.txt", "b/c.png", "d.jpg"):
        (photos / name).touch()
    values = {"data": f"folder:{photos}", "run_dir": "it's mine"}
    lines = next_commands(Settings(**values))
    words = [shlex.split(line) for line in lines]
    encoder = os.path.join("it's mine", "encoder")
    embed = ["keras-clmae", "embed", encoder, f"folder:{photos}"]
    assert words[0] == [*embed, "--output", "features.npz"]
    assert words[1][:2] == ["keras-clmae", "search"]
    assert words[1][4] == str(photos / "d.jpg")
    assert all("it's mine" in " ".join(line) for line in words)
    ast.parse(words[-1][-1])
    # Readable where no name is odd.
    assert next_commands(settings_for("digits"))[-1] == (
        "python -c 'import keras_clmae; encoder = keras_clmae.evaluation."
        'load_encoder("run/encoder")\''
    )
    # Of what is searched.
    for split in ("test", "train"):
        (tmp_path / "split" / split).mkdir(parents=True)
        (tmp_path / "split" / split / "a.png").touch()
    (found,) = (
        line
        for line in next_commands(settings_for(f"folder:{tmp_path / 'split'}"))
        if " search " in line
    )
    assert str(tmp_path / "split" / "train" / "a.png") in found
    # What the shell must not expand, and what reads the images.
    settings = Settings(
        "run",
        data="webdataset:a/{000..002}.tar",
        data_arguments={"image_key": "left.png"},
    )
    (*_, first) = next_commands(settings)[0].partition("webdataset:")
    assert first.startswith("a/{000..002}.tar'")
    assert not any(" search " in line for line in next_commands(settings))
    for line in (next_commands(settings)[0], *scoring_commands(settings)):
        *_, option, value = shlex.split(line)
        assert option == "--data_arguments"
        assert json.loads(value) == settings.data_arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data=digits", "--channels=3"], "`channels`"),
        (["--data=folder:.", "--data_dir=here"], "`data_dir`"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message, capsys):
    with pytest.raises(SystemExit):
        cli.run(["pretrain", *SMALL, *options, f"--run_dir={tmp_path}/run"])
    assert f"{message} must be left out" in capsys.readouterr().err
