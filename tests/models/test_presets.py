import inspect
import json
import os
import shutil
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae.evaluation import load_encoder
from keras_clmae.models import CLMAE
from keras_clmae.models import ImageClassifier
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import MaskingModule
from keras_clmae.models import ViTEncoder
from keras_clmae.models.presets import PRESETS
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images


@ONCE
def test_published_sizes():
    width, layers, patches, patch_dim = 192, 12, 196, 768
    block = 12 * width * width + 13 * width
    # Position tables of the patches and of the class token, token, last norm.
    others = (patches + 1) * width + width + 2 * width
    expected = layers * block + patch_dim * width + width + others
    tiny = ViTEncoder.from_preset("vit_tiny_patch16_224", load_weights=False)
    assert tiny.count_params() == expected


# Width, layers and heads of encoder and decoder, and where they are published.
# The decoders of tiny and small, and micro as a whole, are our own choice.
SIZES = {
    "micro_patch4_32": (4, 32, (96, 4, 4), (64, 2, 4)),
    "tiny_patch4_32": (4, 32, (192, 12, 3), (128, 4, 4)),
    "tiny_patch16_224": (16, 224, (192, 12, 3), (128, 4, 4)),
    "small_patch16_224": (16, 224, (384, 12, 6), (256, 4, 8)),
    "base_patch16_224": (16, 224, (768, 12, 12), (512, 8, 16)),
    "base_patch8_224": (8, 224, (768, 12, 12), (512, 8, 16)),
    "large_patch16_224": (16, 224, (1024, 24, 16), (512, 8, 16)),
    "huge_patch14_224": (14, 224, (1280, 32, 16), (512, 8, 16)),
}


@ONCE
def test_every_named_size():
    def numbers(sizes, prefix=""):
        names = ("hidden_dim", "num_layers", "num_heads")
        return tuple(sizes[prefix + name] for name in names)

    assert {
        name: (
            sizes["patch_size"],
            sizes["image_shape"][0],
            numbers(sizes),
            numbers(sizes, "decoder_"),
        )
        for name, sizes in PRESETS.items()
    } == SIZES
    # The published masking module, of any encoder.
    module = MaskingModule()
    assert (module.num_layers, module.num_heads) == (5, 4)
    assert module.mlp_dim is None and module.layer_norm_epsilon == 1e-5


@ONCE
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
        pytest.param(tiny_autoencoder, marks=ONCE),
        pytest.param(lambda: tiny_autoencoder().encoder, marks=ONCE),
        pytest.param(
            lambda: ImageClassifier(tiny_autoencoder().encoder, 3), marks=ONCE
        ),
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


@ONCE
def test_a_compiled_model_is_stored_without_its_training(tmp_path):
    model = tiny_clmae()
    model.compile("adamw", curriculum=1.0)
    model.fit(tiny_images(), verbose=0)
    model.save_to_preset(str(tmp_path))
    assert not CLMAE.from_preset(str(tmp_path)).compiled


@ONCE
def test_names_with_and_without_the_prefix():
    small = {"num_layers": 1, "load_weights": False}
    for name in ("vit_tiny_patch4_32", "tiny_patch4_32"):
        assert ViTEncoder.from_preset(name, **small).hidden_dim == 192


@ONCE
@pytest.mark.parametrize(
    ("preset", "arguments", "message"),
    [
        ("clmae_giant", {}, "`preset` must be a folder, an hf:// or"),
        ("clmae_tiny_patch4_32", {}, "load_weights=False"),
        (
            "../clmae_tiny_patch4_32",
            {},
            "`preset` must be a folder, an hf:// or",
        ),
    ],
)
def test_bad_names(preset, arguments, message):
    with pytest.raises(ValueError, match=message):
        CLMAE.from_preset(preset, **arguments)


@ONCE
def test_a_folder_of_another_class_is_refused(tmp_path):
    tiny_autoencoder().save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match="holds a MaskedAutoencoder"):
        CLMAE.from_preset(str(tmp_path))
    with pytest.raises(ValueError, match="`overrides` apply to named sizes"):
        MaskedAutoencoder.from_preset(str(tmp_path), num_layers=2)


@ONCE
def test_a_new_head_on_a_stored_encoder(tmp_path):
    model = tiny_clmae()
    model.save_to_preset(str(tmp_path))
    classifier = ImageClassifier.from_preset(str(tmp_path), num_classes=3)
    images = tiny_images(2)
    np.testing.assert_allclose(
        ops.convert_to_numpy(classifier.encoder(images)),
        ops.convert_to_numpy(model.encoder(images)),
        rtol=1e-5,
        atol=1e-6,
    )
    assert classifier.num_classes == 3
    sized = ImageClassifier.from_preset(
        "vit_tiny_patch4_32", load_weights=False, num_classes=5, num_layers=1
    )
    assert sized(np.zeros((1, 32, 32, 3), "float32")).shape == (1, 5)


@ONCE
def test_a_failed_write_leaves_no_preset(tmp_path, monkeypatch):
    model = tiny_autoencoder()

    def broken(path):
        raise OSError("No space left on device")

    monkeypatch.setattr(model, "save_weights", broken)
    with pytest.raises(OSError, match="No space left"):
        model.save_to_preset(str(tmp_path))
    assert os.listdir(tmp_path) == []


@ONCE
@pytest.mark.parametrize("scheme", ["hf", "kaggle"])
def test_handles(scheme, tmp_path, monkeypatch):
    """The clients' own names and arguments, with a folder for the hub."""
    client = pytest.importorskip(
        {"hf": "huggingface_hub", "kaggle": "kagglehub"}[scheme]
    )
    place = {"hf": "me/tiny", "kaggle": "me/tiny/keras/default"}[scheme]
    hub = tmp_path / "hub"

    def upload(handle, folder):
        assert handle == place
        shutil.copytree(folder, hub)

    def download(handle, revision=None, allow_patterns=None):
        assert handle == place and revision in (None, "v1")
        return str(hub)

    def fake(name, function):
        # A client that renames what is called here fails the test.
        real = inspect.signature(getattr(client, name))

        def checked(*args, **kwargs):
            real.bind(*args, **kwargs)
            return function(*args, **kwargs)

        monkeypatch.setattr(client, name, checked)

    if scheme == "hf":
        fake("create_repo", lambda repo_id, exist_ok: None)
        fake(
            "upload_folder",
            lambda repo_id, folder_path: upload(repo_id, folder_path),
        )
        fake("snapshot_download", download)
    else:
        fake("model_upload", upload)
        fake("model_download", download)
    encoder = tiny_autoencoder().encoder
    encoder.save_to_preset(f"{scheme}://{place}")
    assert {path.name for path in hub.iterdir()} == {
        "config.json",
        "metadata.json",
        "model.weights.h5",
    }
    again = ViTEncoder.from_preset(f"{scheme}://{place}")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again.trainable_variables[0]),
        ops.convert_to_numpy(encoder.trainable_variables[0]),
    )
    assert load_encoder(f"{scheme}://{place}").num_layers == 1
    revised = f"{scheme}://{place}@v1"
    if scheme == "hf":
        assert load_encoder(revised).num_layers == 1
    with pytest.raises(ValueError, match="`preset` must have the form"):
        encoder.save_to_preset(revised)


@ONCE
@pytest.mark.parametrize(
    "handle",
    [
        "hf://tiny",
        "hf://..",
        "hf://me/..",
        "hf://../tiny",
        "hf://me/tiny/..",
        "hf://me/tiny@",
        "hf://me/tiny@../../x",
        "hf:///etc",
        "hf://me/ti..ny",
        "kaggle://me/tiny",
        "kaggle://../../..",
        "kaggle://../../../..",
        "kaggle://me/tiny/keras/..",
        "kaggle://me/tiny/keras/default/../..",
        "kaggle://me/tiny/keras/..\\..",
        "kaggle://me/.tiny/keras/default",
    ],
)
def test_bad_handles(handle):
    """No name leaves the folder that the hub's client makes for it."""
    with pytest.raises(ValueError, match="`preset` must have the form"):
        ViTEncoder.from_preset(handle)
    with pytest.raises(ValueError, match="`preset` must have the form"):
        tiny_autoencoder().encoder.save_to_preset(handle)


class Unregistered(keras.layers.Layer):
    def build(self, tokens_shape):
        self.score = keras.layers.Dense(1, activation="sigmoid")
        self.score.build(tokens_shape)

    def call(self, tokens):
        return ops.squeeze(self.score(tokens), axis=-1)


@keras.saving.register_keras_serializable(package="test_presets")
class Registered(Unregistered):
    pass


def masked_by(module):
    return CLMAE(tiny_autoencoder(), module)


@ONCE
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: keras.Sequential(
                [
                    keras.layers.Dense(1, activation="sigmoid"),
                    keras.layers.Reshape((6,)),
                ]
            ),
            "holds a Sequential of Keras",
        ),
        (Unregistered, "holds a Unregistered that is not registered"),
    ],
)
def test_what_could_not_be_read_is_not_written(make, message, tmp_path):
    model = masked_by(make())
    folder = str(tmp_path / "preset")
    with pytest.raises(ValueError, match=message):
        model.save_to_preset(folder)
    assert not os.path.exists(folder)
    # The encoder is what is kept.
    model.encoder.save_to_preset(folder)
    assert ViTEncoder.from_preset(folder).num_layers == 1


@ONCE
def test_a_masking_module_of_ones_own(tmp_path):
    model = masked_by(Registered())
    model.save_to_preset(str(tmp_path))
    again = CLMAE.from_preset(str(tmp_path))
    for first, second in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(first), ops.convert_to_numpy(second)
        )


@ONCE
def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"keras-clmae\[hub\]"):
        ViTEncoder.from_preset("hf://me/tiny")
