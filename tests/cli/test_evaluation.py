"""The scoring subcommands and `report` on the digits."""

import json
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest

from keras_clmae import cli
from keras_clmae import runs
from keras_clmae.kernels import bfloat16_is_fast
from keras_clmae.models import CLMAE
from keras_clmae.models import ImageClassifier
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import MaskingModule
from tests.once import ONCE

pytest.importorskip("sklearn")
pytest.importorskip("jsonargparse")
pytest.importorskip("rich")

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run_seed7"
    folder.mkdir()
    model = MaskedAutoencoder.from_sizes(
        image_shape=(8, 8, 1),
        patch_size=4,
        hidden_dim=16,
        num_layers=2,
        num_heads=2,
        decoder_hidden_dim=16,
        decoder_num_layers=1,
        decoder_num_heads=2,
    )
    model.save(folder / "model.keras")
    return folder


def test_knn(run_folder):
    record = cli.run(
        ["knn", str(run_folder), "digits", "--baseline=random", "--k=[5,1]"]
        + ["--protocol=clmae", "--verbose=0", "--seed=3", "--precision=auto"]
    )
    (path,) = run_folder.glob("*.json")
    stored = json.loads(path.read_text())
    assert stored["protocol"] == "knn clmae k=5 mean"
    assert stored["settings"]["protocol"] == "clmae"
    assert stored["settings"]["pooling"] == "mean"
    # What was chosen here.
    fast = bfloat16_is_fast()
    precision = "mixed_bfloat16" if fast else "float32"
    assert stored["settings"]["precision"] == precision
    assert stored["versions"]["backend"] == keras.backend.backend()
    assert stored["seconds"] > 0
    assert stored["name"].endswith("run")
    for scores in stored["scores"].values():
        assert set(scores["by_k"]) == {"5", "1"}
        assert 0.1 < scores["accuracy"] < scores["any_correct"] <= 1
    accuracies = [s["accuracy"] for s in record["scores"].values()]
    assert accuracies[0] != accuracies[1]


@ONCE
def test_no_score_is_lost(run_folder):
    def score(*options):
        common = [str(run_folder), "digits", "--verbose=0"]
        return cli.run(["knn", *common, *options])

    def paths():
        return sorted(path.name for path in run_folder.glob("*.json"))

    first = score()
    (path,) = run_folder.glob("*.json")
    # The same score again, and shown otherwise.
    score("--name=another")
    assert paths() == [path.name]
    score("--temperature=0.1")
    score("--test_split=train")
    assert len(paths()) == 3
    # The same settings with another result.
    stored = json.loads(path.read_text())
    stored["scores"]["pretrained"]["accuracy"] = 0.0
    path.write_text(json.dumps(stored))
    score()
    assert len(paths()) == 4
    assert json.loads(path.read_text()) == stored
    again = json.loads(path.with_name(f"{path.stem}_2.json").read_text())
    assert again["scores"] == json.loads(json.dumps(first["scores"]))


@ONCE
def test_linear_probe(run_folder, tmp_path):
    output = str(tmp_path / "scores" / "probe.json")
    common = [str(run_folder), "digits", "--verbose=0", f"--output={output}"]

    def probe(arguments):
        return cli.run(["linear-probe", *arguments])

    closed_form = probe(common)["scores"]["pretrained"]["accuracy"]
    assert closed_form > 0.5
    arguments = ["--solver=sgd", "--probe_batch_size=128", "--epochs=12"]
    record = probe(common + arguments)
    assert record["protocol"] == "linear probe sgd mean"
    assert record["scores"]["pretrained"]["accuracy"] > 0.5
    record = probe(common + ["--few_shot=true", "--shots=[1,4]"])
    assert json.loads(pathlib.Path(output).read_text())["protocol"] == (
        "few-shot 4 a class mean"
    )
    shots = record["scores"]["pretrained"]["shots"]
    assert shots[4]["mean"] > shots[1]["mean"]


@ONCE
def test_linear_probe_on_images(run_folder):
    record = cli.run(
        [
            "linear-probe",
            str(run_folder),
            "digits",
            "--verbose=0",
            "--solver=sgd",
        ]
        + ["--augment=true", "--probe_batch_size=128", "--epochs=3"]
        + ["--warmup_epochs=0", "--base_learning_rate=1"]
    )
    assert record["protocol"] == "linear probe sgd augmented mean"
    assert record["scores"]["pretrained"]["accuracy"] > 0.3


@ONCE
def test_finetune_and_its_classifier(run_folder, tmp_path):
    saved = tmp_path / "classifier.keras"
    record = cli.run(
        [
            "finetune",
            str(run_folder),
            "digits",
            "--verbose=0",
            f"--save={saved}",
        ]
        + ["--images_per_class=12", "--epochs=3", "--warmup_epochs=1"]
        + ["--base_learning_rate=1e-2", "--batch_size=30"]
    )
    assert record["settings"]["save"] == str(saved)
    assert record["protocol"] == "fine-tuning 12 a class mean_before_norm"
    assert 0 < record["scores"]["pretrained"]["accuracy"] < 1
    classifier = keras.saving.load_model(saved)
    assert isinstance(classifier, ImageClassifier)
    assert classifier.num_classes == 10


@ONCE
def test_report(run_folder, tmp_path, capsys):
    for seed in (0, 1):
        cli.run(
            ["knn", str(run_folder), "digits", "--verbose=0", f"--seed={seed}"]
            + ["--name=tiny"]
        )
    capsys.readouterr()
    output = tmp_path / "report.md"
    cli.run(["report", str(run_folder), f"--output={output}"])
    table = output.read_text()
    assert capsys.readouterr().out == table
    assert table.count("| tiny | digits | knn cosine_weighted k=20") == 1
    assert "| 2 |" in table


@ONCE
def test_segmentation(run_folder, tmp_path, capsys):
    pytest.importorskip("tensorflow")
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(10):
        image = random.random((8, 8, 1), "float32")
        np.save(tmp_path / "images" / f"{number}.npy", image)
        mask = np.full((8, 8), number % 2, "uint8")
        np.save(tmp_path / "masks" / f"{number}_mask.npy", mask)
    arguments = ["finetune", str(run_folder), f"folder:{tmp_path / 'images'}"]
    arguments += ["--task=segmentation", "--statistics=from_data"]
    arguments += ["--data_arguments={mask_suffix: _mask, ignore_label: 9}"]
    arguments += ["--epochs=1", "--warmup_epochs=0", "--batch_size=4"]
    arguments += ["--verbose=0", f"--save={tmp_path / 'segmenter.keras'}"]
    record = cli.run([*arguments, f"--masks={tmp_path / 'masks'}"])
    scores = record["scores"]["pretrained"]
    assert record["protocol"] == "segmentation, pixel accuracy"
    assert 0 <= scores["mean_iou"] <= scores["accuracy"] <= 1
    assert len(scores["class_iou"]) == 2
    # Of the training images, all of which are uniform in 0 to 1.
    measured = record["settings"]["normalization"]
    assert measured["mean"] == [pytest.approx(0.5, abs=0.1)]
    assert measured["std"] == [pytest.approx(12**-0.5, abs=0.1)]
    assert "mean IoU, pretrained" in capsys.readouterr().out
    segmenter = keras.saving.load_model(tmp_path / "segmenter.keras")
    assert segmenter.num_classes == 2 and segmenter.ignore_label == 9
    # Folders of splits: what is measured in training standardizes the test.
    for split in ("train", "test"):
        for folder in ("images", "masks"):
            shutil.copytree(tmp_path / folder, tmp_path / split / folder)
    root = tmp_path / "split"
    for folder in ("images", "masks"):
        for split in ("train", "test"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / folder).rename(root / folder / split)
    split = ["finetune", str(run_folder), str(root / "images"), *arguments[3:]]
    record = cli.run([*split, f"--masks={root / 'masks'}"])
    assert record["settings"]["normalization"]["std"][0] < 0.4
    for masks in ([], ["--masks=nowhere"]):
        with pytest.raises(SystemExit):
            cli.run([*arguments, *masks])
        assert "error: `" in capsys.readouterr().err


@ONCE
def test_mask_statistics(run_folder, capsys):
    arguments = ["mask-statistics", str(run_folder), "digits", "--verbose=0"]
    # Plain MAE learns no masks.
    with pytest.raises(SystemExit):
        cli.run(arguments)
    assert "error: `source` must hold a CLMAE" in capsys.readouterr().err
    model = CLMAE.from_sizes(
        masking_module=MaskingModule(
            num_layers=1, num_heads=2, name="masking_module"
        ),
        image_shape=(8, 8, 1),
        patch_size=2,
        hidden_dim=8,
        num_layers=1,
        num_heads=2,
        decoder_hidden_dim=8,
        decoder_num_layers=1,
        decoder_num_heads=2,
    )
    # Scores that are all undecided, and the same for all images.
    head = model.masking_module.score_head
    head.set_weights([0 * value for value in head.get_weights()])
    model.save(run_folder / "model.keras")
    record = cli.run(arguments)
    (path,) = run_folder.glob("mask_statistics_*.json")
    assert json.loads(path.read_text()) == record
    assert record["statistics"]["undecided_share"] == 1
    assert len(record["statistics"]["visible_share"]) == 4
    assert len(record["warnings"]) == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("The masks have collapsed") == 2
    assert "mask_overlap" in shown and "0.7500" in shown
    # The log of the run tells whether they followed the curriculum.
    rows = [f"{e},{1 - 0.2 * e:.1f},{0.9 - 0.02 * e:.2f}" for e in range(11)]
    (run_folder / "log.csv").write_text(
        "\n".join(["epoch,curriculum_factor,val_mask_difficulty", *rows])
    )
    *_, warning = cli.run(arguments)["warnings"]
    assert "do not follow the curriculum" in warning and "0.70" in warning
    (run_folder / "log.csv").write_text("epoch,loss\n0,1.0\n")
    assert len(cli.run(arguments)["warnings"]) == 2
    # It is no score.
    with pytest.raises(SystemExit):
        cli.run(["report", str(run_folder)])
    assert "at least one score" in capsys.readouterr().err


@ONCE
@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("knn", ["nowhere", "digits"], "`source`.*source='nowhere'"),
        ("knn", ["{run}", "folder:nowhere"], "nowhere"),
        ("finetune", ["{run}", "digits", "--images_per_class=999"], "999"),
        (
            "knn",
            ["{run}", "digits", "--batch_size=0"],
            "`batch_size` must be .*=0",
        ),
        ("report", ["nowhere"], "`paths`.*'nowhere'"),
    ],
)
def test_one_line_errors(run_folder, capsys, name, arguments, message):
    arguments = [each.format(run=run_folder) for each in arguments]
    with pytest.raises(SystemExit):
        cli.run([name, *arguments])
    assert re.match(f"error: .*{message}.*\\n$", capsys.readouterr().err)


@ONCE
def test_from_python(run_folder, tmp_path):
    """The same score without any arguments to parse."""
    paths = [str(tmp_path / f"{number}.json") for number in range(2)]
    record = runs.knn(
        str(run_folder), "digits", k=[3], verbose=0, output=paths[0]
    )
    by_command = cli.run(
        ["knn", str(run_folder), "digits", "--k=3", "--verbose=0"]
        + [f"--output={paths[1]}"]
    )
    assert record["scores"] == by_command["scores"]
    assert json.loads(pathlib.Path(paths[0]).read_text())["protocol"] == (
        "knn cosine_weighted k=3 mean"
    )
    for values, message in (
        ({"protokol": "clmae"}, "'protokol'. Did you mean 'protocol'"),
        ({"k": [3, 0]}, "`k` must be a positive integer. Received: k=0"),
        ({"protocol": "clmea"}, "`protocol` must be one of .* 'clmae'\\?"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.knn(str(run_folder), "digits", **values)
