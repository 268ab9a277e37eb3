"""A masking layer of the user's own goes through every way of saving."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae.conversion import from_huggingface
from keras_clmae.conversion import load_torch_checkpoint
from keras_clmae.conversion import save_torch_checkpoint
from keras_clmae.conversion import to_huggingface
from keras_clmae.conversion.formats import read_model
from keras_clmae.conversion.formats import write_model
from keras_clmae.evaluation import load_encoder
from keras_clmae.models import CLMAE
from tests.once import ONCE
from tests.tiny_models import SIZES
from tests.tiny_models import to_numpy

pytestmark = ONCE


@keras.saving.register_keras_serializable(package="test_custom_masker")
class LinearMasker(keras.layers.Layer):
    """As CONTRIBUTING teaches it: neither blocks nor heads."""

    def build(self, tokens_shape):
        self.score = keras.layers.Dense(
            1, activation="sigmoid", dtype="float32", name="score"
        )
        self.score.build(tokens_shape)

    def call(self, tokens):
        return ops.squeeze(self.score(tokens), axis=-1)


@pytest.fixture
def model():
    return CLMAE.from_sizes(
        masking_module=LinearMasker(name="masking_module"),
        **{**SIZES, "image_shape": (8, 8, 3)},
    )


def assert_same(first, second):
    for a, b in zip(
        to_numpy(first.weights), to_numpy(second.weights), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_own_files(model, tmp_path):
    write_model(model, str(tmp_path / "model.keras"))
    write_model(model, str(tmp_path / "preset"), "keras")
    for source in (tmp_path, tmp_path / "model.keras", tmp_path / "preset"):
        assert_same(load_encoder(str(source)), model.encoder)
    for name in ("model.keras", "preset"):
        again, report = read_model(str(tmp_path / name))
        assert_same(again, model)
        assert len(report.mapped) == len(model.weights)
    assert_same(CLMAE.from_preset(str(tmp_path / "preset")), model)


def test_files_of_others(model, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    path = str(tmp_path / "mae.pth")
    with pytest.raises(ValueError, match="no place for: .*masking_module/"):
        save_torch_checkpoint(model, path)
    report = save_torch_checkpoint(model, path, allow_missing=True)
    assert report.left_over == [v.path for v in model.masking_module.weights]
    again = load_torch_checkpoint(path, num_heads=2, decoder_num_heads=2)
    assert_same(again, model.autoencoder)
    with pytest.warns(UserWarning, match="no place for the masking module"):
        to_huggingface(model, tmp_path / "hf")
    assert_same(from_huggingface(tmp_path / "hf"), model.autoencoder)
