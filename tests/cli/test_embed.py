"""`embed`: features with the names of their images, in three formats."""

import csv
import os
import sys

import numpy as np
import pytest

from keras_clmae import cli
from keras_clmae import data
from keras_clmae import evaluation
from keras_clmae import runs
from keras_clmae.runs.embedding import folder_labels
from keras_clmae.runs.feature_files import open_feature_file
from tests.data.pictures import save_picture
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder

pytest.importorskip("jsonargparse")
pytest.importorskip("tensorflow")
pytestmark = [
    ONCE,
    # Of the damaged one among the photos.
    pytest.mark.filterwarnings("ignore:The image:UserWarning"),
    pytest.mark.filterwarnings("ignore:Skipped 1 of 5:UserWarning"),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "encoder.keras"
    tiny_autoencoder(image_shape=(8, 8, 3)).encoder.save(path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    for seed, name in enumerate(("b/2.png", "a/1.png", "b/1.png", "a/3.png")):
        save_picture(tmp_path / "photos" / name, seed=seed)
    (tmp_path / "photos" / "a" / "2.png").write_bytes(b"\x89PNG\r\n damaged")
    return str(tmp_path / "photos")


NAMES = ["a/1.png", "a/3.png", "b/1.png", "b/2.png"]


def embed(*arguments):
    return cli.run(["embed", *arguments, "--verbose=0", "--batch_size=3"])


def expected_features(encoder, photos):
    """One image at a time, by its own path."""
    encoder = evaluation.load_encoder(encoder)
    paths = [os.path.join(photos, name) for name in NAMES]
    images = data.record_dataset(
        paths, image_size=8, batch_size=1, transform="evaluation"
    )
    return evaluation.extract_features(encoder, images, verbose=0)[0]


def test_each_row_is_the_image_of_its_name(encoder, photos, tmp_path):
    expected = expected_features(encoder, photos)
    output = embed(encoder, photos, f"--output={tmp_path}/out.npz")
    stored = np.load(output)
    assert stored["names"].tolist() == NAMES
    assert stored["labels"].tolist() == [0, 0, 1, 1]
    assert stored["class_names"].tolist() == ["a", "b"]
    np.testing.assert_allclose(stored["features"], expected, atol=1e-5)

    embed(encoder, photos, f"--output={tmp_path}/out.npy")
    np.testing.assert_array_equal(
        np.load(tmp_path / "out.npy"), stored["features"]
    )
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["name", "label", "class_name"]
    assert rows[1] == ["a/1.png", "0", "a"]
    assert len(rows) == 5


def test_parquet(encoder, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    output = str(tmp_path / "out.parquet")
    assert runs.embed(encoder, photos, output, pooling="class_token", verbose=0)
    table = parquet.read_table(output)
    assert table["name"].to_pylist() == NAMES
    assert table["class_name"].to_pylist() == ["a", "a", "b", "b"]
    assert np.shape(table["features"].to_pylist()) == (4, 8)
    assert table.schema.metadata[b"pooling"] == b"class_token"
    assert b"0.485" in table.schema.metadata[b"normalization"]


def test_digits_have_numbers_and_labels(tmp_path):
    tiny_autoencoder(image_shape=(8, 8, 1)).encoder.save(tmp_path / "e.keras")
    output = embed(
        *(str(tmp_path / "e.keras"), "digits", "--split=test"),
        f"--output={tmp_path}/digits.npz",
    )
    stored = np.load(output)
    _, (_, labels) = data.load_digits_arrays()
    np.testing.assert_array_equal(stored["labels"], labels)
    assert stored["names"].tolist() == [str(n) for n in range(len(labels))]


def test_labels_come_from_folders_only():
    assert folder_labels(["a/1.png", "b/c/2.png"])[1] == ["a", "b"]
    assert folder_labels(["a/1.png", "2.png"]) == (None, None)
    assert folder_labels(["a/1.png", "a/2.png"]) == (None, None)


@pytest.mark.parametrize("ending", ["parquet", "npz", "npy"])
def test_an_interrupted_file_leaves_nothing(tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"features.{ending}"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        with open_feature_file(str(path), 2, False, None, {}) as append:
            append(["one"], np.zeros((1, 2), "float32"), None)
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_text() == "before"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--output=out.csv"], "`output` must end in one of .parquet"),
        (["--output=nowhere/out.npz"], "`output` must lie in a folder"),
        (["--pooling=max"], "`pooling` must be one of"),
    ],
)
def test_wrong_arguments(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        embed("vit_tiny_patch4_32", str(tmp_path), *arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_parquet_needs_pyarrow(encoder, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "pyarrow" else sys,
    )
    with pytest.raises(ImportError, match="needs pyarrow"):
        runs.embed(encoder, photos, str(tmp_path / "out.parquet"))
