import json
import os

import numpy as np
import pytest
from keras import ops

from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.models.presets import PRESETS
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images


def test_published_sizes():
    width, layers, patches, patch_dim = 192, 12, 196, 768
    block = 12 * width * width + 13 * width
    # Position tables of the patches and of the class token, token, last norm.
    others = (patches + 1) * width + width + 2 * width
    expected = layers * block + patch_dim * width + width + others
    tiny = ViTEncoder.from_preset("vit_tiny_patch16_224", load_weights=False)
    assert tiny.count_params() == expected
    assert PRESETS["base_patch16_224"]["hidden_dim"] == 768
    assert PRESETS["base_patch16_224"]["decoder_num_layers"] == 8
    assert PRESETS["huge_patch14_224"]["num_layers"] == 32


@pytest.mark.parametrize("model_class", [CLMAE, MaskedAutoencoder])
def test_overrides(model_class):
    model = model_class.from_preset(
        model_class.preset_prefix + "tiny_patch4_32",
        load_weights=False,
        image_shape=(8, 16, 1),
        num_layers=1,
        decoder_num_layers=1,
        mask_ratio=0.5,
    )
    assert model.encoder.image_shape == (8, 16, 1)
    assert len(model.encoder.blocks) == 1


@pytest.mark.parametrize(
    "make",
    [
        tiny_clmae,
        tiny_autoencoder,
        lambda: tiny_autoencoder().encoder,
    ],
)
def test_folder_round_trip(make, tmp_path):
    model = make()
    folder = str(tmp_path / "preset")
    model.save_to_preset(folder)
    again = type(model).from_preset(folder)
    for first, second in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(first), ops.convert_to_numpy(second)
        )
    fresh = type(model).from_preset(folder, load_weights=False)
    assert not np.array_equal(
        ops.convert_to_numpy(fresh.trainable_variables[0]),
        ops.convert_to_numpy(model.trainable_variables[0]),
    )
    with open(os.path.join(folder, "metadata.json"), encoding="utf-8") as file:
        assert json.load(file)["parameter_count"] == model.count_params()


def test_a_compiled_model_is_stored_without_its_training(tmp_path):
    model = tiny_clmae()
    model.compile("adamw", curriculum=1.0)
    model.fit(tiny_images(), verbose=0)
    model.save_to_preset(str(tmp_path))
    assert not CLMAE.from_preset(str(tmp_path)).compiled


@pytest.mark.parametrize(
    ("preset", "arguments", "message"),
    [
        ("clmae_giant", {}, "`preset` must be a folder or one of"),
        ("clmae_tiny_patch4_32", {}, "load_weights=False"),
        ("../clmae_tiny_patch4_32", {}, "`preset` must be a folder or one of"),
    ],
)
def test_bad_names(preset, arguments, message):
    with pytest.raises(ValueError, match=message):
        CLMAE.from_preset(preset, **arguments)


def test_a_folder_of_another_class_is_refused(tmp_path):
    tiny_autoencoder().save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match="holds a MaskedAutoencoder"):
        CLMAE.from_preset(str(tmp_path))
    with pytest.raises(ValueError, match="`overrides` apply to named sizes"):
        MaskedAutoencoder.from_preset(str(tmp_path), num_layers=2)
