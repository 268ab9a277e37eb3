"""Exported models compute the same, without our code."""

import warnings

import keras
import numpy as np
import pytest

from keras_clmae.models import ImageClassifier
from keras_clmae.models import ViTEncoder
from tests.conversion.reference_models import array

BACKEND = keras.backend.backend()
# Of other batch sizes than any that an exporter traces with.
IMAGES = np.random.default_rng(0).normal(size=(5, 8, 12, 2)).astype("float32")
MODELS = ("encoder", "classifier")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def models():
    encoder = ViTEncoder((8, 12, 2), 4, 16, 2, 2)
    return {
        "encoder": encoder,
        "classifier": ImageClassifier(encoder, 3, head_stddev=0.5),
    }


def assert_same(model, compute):
    for number in (5, 1):
        images = IMAGES[:number]
        expected = array(model(images))
        actual = np.asarray(compute(images))
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime(name, models, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    tool = {"jax": "jax2onnx", "tensorflow": "tf2onnx", "torch": "onnxscript"}
    pytest.importorskip(tool[BACKEND])
    path = str(tmp_path / "model.onnx")
    models[name].export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (images,) = session.get_inputs()
    assert_same(models[name], lambda x: session.run(None, {images.name: x})[0])


@pytest.mark.skipif(BACKEND == "torch", reason="Keras 3.15 fails: see docs")
@pytest.mark.parametrize("name", MODELS)
def test_saved_model(name, models, tmp_path):
    tf = pytest.importorskip("tensorflow")
    models[name].export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    assert_same(models[name], lambda x: loaded.serve(x).numpy())


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")
@pytest.mark.parametrize("name", MODELS)
def test_torch_export(name, models, tmp_path):
    import torch

    path = str(tmp_path / "model.pt2")
    models[name].export(path, format="torch", verbose=False)
    program = torch.export.load(path).module()
    assert_same(
        models[name], lambda x: program(torch.from_numpy(x)).detach().numpy()
    )


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")
def test_a_fixed_number_of_images(models, tmp_path):
    import torch

    path = str(tmp_path / "model.pt2")
    signature = [keras.InputSpec("float32", (1, 8, 12, 2))]
    models["encoder"].export(
        path, format="torch", verbose=False, input_signature=signature
    )
    program = torch.export.load(path).module()
    expected = array(models["encoder"](IMAGES[:1]))
    actual = program(torch.from_numpy(IMAGES[:1])).detach().numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_unknown_formats_are_refused(models, tmp_path):
    with warnings.catch_warnings(), pytest.raises(ValueError, match="format="):
        models["encoder"].export(str(tmp_path / "x"), format="caffe")
