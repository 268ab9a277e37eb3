"""Pretrained weights that come with the package."""

import json

import keras
import numpy as np
import pytest

from keras_clmae import evaluation
from keras_clmae.data import PixelNormalization
from keras_clmae.models import CLMAE
from keras_clmae.models import ImageClassifier
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.normalization import source_normalization
from keras_clmae.saving import pretrained
from tests.tiny_models import predicting_clmae
from tests.tiny_models import tiny_images

NAME = "clmae_tiny_noise"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model, and a package that brings it."""
    monkeypatch.setattr(pretrained, "FOLDER", str(tmp_path))
    folder = tmp_path / NAME
    folder.mkdir()
    model = predicting_clmae()
    pretrained.write_pretrained(model, {"data": "noise"}, str(folder))
    RunFolder(str(folder)).write_normalization(
        PixelNormalization([0.1, 0.2], [0.3, 0.4])
    )
    return model


def test_encoder_by_name(model):
    assert ViTEncoder.preset_names()[-1] == "vit_tiny_noise_clmae"
    assert CLMAE.preset_names()[-1] == NAME
    assert not any("noise" in n for n in MaskedAutoencoder.preset_names())
    encoder = ViTEncoder.from_preset("vit_tiny_noise_clmae")
    images = tiny_images(2)
    # Eleven bits of a float16's fraction.
    np.testing.assert_allclose(
        *(
            keras.ops.convert_to_numpy(each(images))
            for each in (encoder, model.encoder)
        ),
        atol=5e-3,
    )
    assert encoder.variables[0].dtype == "float32"
    whole = CLMAE.from_preset(NAME)
    # Whole numbers, such as a generator's state, stay exact.
    np.testing.assert_array_equal(
        *(
            keras.ops.convert_to_numpy(each.seed_generator.state.value)
            for each in (whole, model)
        )
    )
    classifier = ImageClassifier.from_preset(
        "vit_tiny_noise_clmae", num_classes=3
    )
    assert classifier(images).shape == (2, 3)
    random = ViTEncoder.from_preset("vit_tiny_noise_clmae", load_weights=False)
    assert random.hidden_dim == encoder.hidden_dim
    with pytest.raises(ValueError, match="holds a CLMAE, not a MaskedAuto"):
        MaskedAutoencoder.from_preset(NAME)
    with pytest.raises(ValueError, match="or take one of vit_tiny_noise_clmae"):
        ViTEncoder.from_preset("vit_tiny_patch4_32")


def test_evaluation_by_name(model):
    encoder = evaluation.load_encoder(NAME)
    assert encoder.hidden_dim == model.encoder.hidden_dim
    for name in (NAME, "vit_tiny_noise_clmae"):
        normalization = source_normalization(name, 2)
        assert normalization.std.tolist() == pytest.approx([0.3, 0.4])


def test_other_weights_are_refused(model, tmp_path):
    card = tmp_path / NAME / pretrained.CARD
    content = json.loads(card.read_text())
    card.write_text(json.dumps({**content, "sha256": "0" * 64}))
    # By name, and by the path of the folder.
    for preset in (NAME, str(tmp_path / NAME)):
        with pytest.raises(ValueError, match="must have the SHA-256 000"):
            CLMAE.from_preset(preset)
    CLMAE.from_preset(NAME, load_weights=False)
