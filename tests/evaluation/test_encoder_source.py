"""Every kind of place that an encoder comes from."""

import json
import zipfile

import keras
import numpy as np
import pytest

from keras_clmae.conversion import save_torch_checkpoint
from keras_clmae.conversion import to_huggingface
from keras_clmae.conversion import to_timm
from keras_clmae.evaluation import load_encoder
from keras_clmae.evaluation import untrained_copy
from keras_clmae.models import ImageClassifier
from keras_clmae.models import MaskedAutoencoder
from tests.once import ONCE

IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")


@pytest.fixture
def model():
    return MaskedAutoencoder.from_sizes(
        image_shape=(8, 8, 1),
        patch_size=4,
        hidden_dim=16,
        num_layers=2,
        num_heads=2,
        decoder_hidden_dim=16,
        decoder_num_layers=1,
        decoder_num_heads=2,
    )


def latent(encoder):
    return keras.ops.convert_to_numpy(encoder(IMAGES))


def test_files_and_folders(model, tmp_path):
    expected = latent(model.encoder)
    model.save(tmp_path / "model.keras")
    model.encoder.save(tmp_path / "encoder.keras")
    ImageClassifier(model.encoder, 3).save(tmp_path / "classifier.keras")
    model.save_to_preset(str(tmp_path / "preset"))
    model.encoder.save_to_preset(str(tmp_path / "encoder"))
    for name in (
        ".",
        "model.keras",
        "encoder.keras",
        "classifier.keras",
        "preset",
        "encoder",
    ):
        encoder = load_encoder(str(tmp_path / name))
        np.testing.assert_allclose(
            latent(encoder), expected, rtol=1e-5, atol=1e-6
        )


@ONCE
def test_published_checkpoint(model, tmp_path):
    pytest.importorskip("torch")
    path = str(tmp_path / "published.pth")
    save_torch_checkpoint(model, path)
    encoder = load_encoder(path, num_heads=2, decoder_num_heads=2)
    np.testing.assert_allclose(
        latent(encoder), latent(model.encoder), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match="`num_heads`.*num_heads=None"):
        load_encoder(path)


@ONCE
def test_models_of_other_libraries(model, tmp_path):
    pytest.importorskip("safetensors")
    to_huggingface(model, tmp_path / "mae")
    to_timm(model.encoder, tmp_path / "vit.safetensors")
    for name, arguments in (("mae", {}), ("vit.safetensors", {"num_heads": 2})):
        encoder = load_encoder(str(tmp_path / name), **arguments)
        np.testing.assert_allclose(
            latent(encoder), latent(model.encoder), rtol=1e-5, atol=1e-6
        )


@ONCE
def test_preset_name_and_untrained_copy():
    encoder = load_encoder("vit_tiny_patch4_32")
    assert encoder.num_layers == 12
    keras.utils.set_random_seed(1)
    first = untrained_copy(encoder).get_weights()[0]
    assert not np.allclose(first, encoder.get_weights()[0])
    keras.utils.set_random_seed(1)
    again = untrained_copy(encoder).get_weights()[0]
    np.testing.assert_array_equal(first, again)


@ONCE
@pytest.mark.parametrize("name", ["model.keras", "preset"])
def test_sizes_are_checked_before_anything_is_made(name, model, tmp_path):
    """As everywhere else: a file of strangers allocates nothing."""
    place = tmp_path / name
    if name == "preset":
        model.encoder.save_to_preset(str(place))
        config = json.loads((place / "config.json").read_text())
        config["config"]["num_layers"] = 10**9
        (place / "config.json").write_text(json.dumps(config))
    else:
        model.encoder.save(place)
        with zipfile.ZipFile(place) as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
        config = json.loads(members["config.json"])
        config["config"]["num_layers"] = 10**9
        members["config.json"] = json.dumps(config)
        with zipfile.ZipFile(place, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    with pytest.raises(ValueError, match="its sizes ask for at least"):
        load_encoder(str(place))


@ONCE
def test_errors(tmp_path):
    for source in ("nothing", str(tmp_path)):
        with pytest.raises(ValueError, match="`source` must be the folder"):
            load_encoder(source)
    path = tmp_path / "dense.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match="it holds a Sequential"):
        load_encoder(str(path))
