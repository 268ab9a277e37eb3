"""A run leaves `encoder/` for keeps, and `export` writes it."""

import json
import os

import keras
import numpy as np
import pytest

from keras_clmae import cli
from keras_clmae import data
from keras_clmae import evaluation
from keras_clmae import runs
from keras_clmae.runs.exporting import write_files
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.normalization import source_normalization
from keras_clmae.runs.pretraining import save_model
from tests.once import ONCE
from tests.tiny_models import tiny_clmae
from tests.tiny_models import to_numpy

for module in ("jsonargparse", "rich", "matplotlib", "sklearn"):
    pytest.importorskip(module)
pytestmark = ONCE

IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The end of a run saves the encoder."""
    folder = tmp_path_factory.mktemp("run")
    model = tiny_clmae(image_shape=(8, 8, 1))
    RunFolder(folder).write_normalization(data.digits_normalization())
    save_model(model, str(folder), data.digits_normalization())
    return str(folder)


def test_encoder_folder(run, tmp_path):
    folder = os.path.join(run, "encoder")
    assert sorted(os.listdir(folder)) == [
        *("config.json", "metadata.json"),
        *("model.weights.h5", "normalization.json"),
    ]
    model = keras.saving.load_model(os.path.join(run, "model.keras"))
    encoder = evaluation.load_encoder(folder)
    for a, b in zip(
        to_numpy(encoder.weights), to_numpy(model.encoder.weights), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    stored = source_normalization(folder, 1)
    expected = data.digits_normalization()
    np.testing.assert_allclose(stored.mean, expected.mean)
    np.testing.assert_allclose(stored.std, expected.std)
    output = str(tmp_path / "knn.json")
    scores = runs.knn(folder, "digits", output=output, verbose=0)["scores"]
    assert 0.1 < scores["pretrained"]["accuracy"] <= 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pooling", ["class_token", "tokens"])
def test_onnx(run, pooling, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    output = cli.run(["export", run, "onnx", f"--pooling={pooling}"])
    assert output == os.path.join(run, "encoder.onnx")
    printed = capsys.readouterr().out
    assert "images of 8 x 8 x 1" in printed
    mean = float(data.digits_normalization().mean[0])
    assert f"mean {mean:.4g}" in printed
    session = onnxruntime.InferenceSession(output)
    (found,) = session.run(None, {"images": IMAGES})
    encoder = evaluation.load_encoder(run)
    expected = keras.ops.convert_to_numpy(encoder(IMAGES))
    if pooling == "class_token":
        expected = expected[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not [name for name in os.listdir(run) if name.startswith("tmp")]


@pytest.mark.filterwarnings("ignore")
def test_weights_for_other_libraries(run, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("huggingface_hub")
    folder = os.path.join(run, "encoder")
    for format, name in (("huggingface", "vit"), ("timm", "v.safetensors")):
        output = runs.export(folder, format, str(tmp_path / name))
        heads = {"num_heads": 2} if format == "timm" else {}
        again = evaluation.load_encoder(output, **heads)
        expected = evaluation.load_encoder(folder)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(again(IMAGES)),
            keras.ops.convert_to_numpy(expected(IMAGES)),
            atol=1e-5,
        )
    with open(tmp_path / "vit" / "preprocessor_config.json") as file:
        mean = json.load(file)["image_mean"]
    np.testing.assert_allclose(mean, [0.3055], atol=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["onx"], "Did you mean 'onnx'?"),
        (["timm", "--pooling=mean"], "`pooling` must be left out"),
        (["saved-model"], "must be written with KERAS_BACKEND=tensorflow or"),
    ],
)
def test_wrong_arguments(run, arguments, message, capsys):
    with pytest.raises(SystemExit):
        cli.run(["export", run, *arguments])
    assert message in capsys.readouterr().err


def test_files_that_belong_together_are_written_whole(tmp_path):
    def write(path):
        for ending in ("", ".data"):
            with open(path + ending, "w", encoding="utf-8") as file:
                file.write(os.path.basename(path))

    def fail(path):
        write(path)
        raise OSError

    path = str(tmp_path / "encoder.onnx")
    with pytest.raises(OSError):
        write_files(path, fail)
    assert os.listdir(tmp_path) == []
    write_files(path, write)
    assert sorted(os.listdir(tmp_path)) == [
        *("encoder.onnx", "encoder.onnx.data"),
    ]
