"""Files and models are read right, or refused with a name."""

import argparse
import json
import pathlib

import numpy as np
import pytest

from keras_clmae.conversion import from_huggingface
from keras_clmae.conversion import from_timm
from keras_clmae.conversion import huggingface_normalization
from keras_clmae.conversion import load_torch_checkpoint
from keras_clmae.conversion import load_torch_weights
from keras_clmae.conversion import save_torch_checkpoint
from keras_clmae.conversion import to_huggingface
from keras_clmae.conversion import to_timm
from keras_clmae.conversion.grids import fixed_grid
from keras_clmae.data import PixelNormalization
from keras_clmae.evaluation import load_encoder
from keras_clmae.layers import sincos_position_table
from keras_clmae.models import ImageClassifier
from keras_clmae.models import ViTEncoder
from keras_clmae.models import copy_autoencoder
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import to_numpy

torch = pytest.importorskip("torch")
pytestmark = ONCE
HEADS = {"num_heads": 2, "decoder_num_heads": 2}
SQUARE = (8, 8, 2)


@pytest.fixture(scope="module")
def encoder():
    return tiny_autoencoder(image_shape=SQUARE).encoder


@pytest.fixture
def state(encoder, tmp_path):
    """The state dict of the encoder, to be changed."""
    to_timm(encoder, tmp_path / "plain.pth")
    return torch.load(tmp_path / "plain.pth", weights_only=True)["model"]


def save(content, tmp_path):
    path = str(tmp_path / "file.pth")
    torch.save(content, path)
    return path


def same(first, second):
    for a, b in zip(to_numpy(first), to_numpy(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "name",
    [
        "blocks.0.ls1.gamma",
        "norm_pre.weight",
        "blocks.0.attn.q_norm.weight",
        "vit.something.new",
    ],
)
def test_no_weight_of_an_encoder_is_dropped(name, state, tmp_path):
    state[name] = torch.full((8,), 0.01)
    with pytest.raises(ValueError, match=f"no place for: {name}"):
        load_encoder(save(state, tmp_path), num_heads=2)


def test_what_is_outside_of_the_encoder_is_dropped(encoder, state, tmp_path):
    state["decoder_embed.weight"] = torch.zeros(8, 8)
    path = save(state, tmp_path)
    same(from_timm(path, 2, allow_missing=True).weights, encoder.weights)
    del state["decoder_embed.weight"]
    state |= {"mask_token": torch.zeros(1, 1, 8)}
    same(
        load_encoder(save(state, tmp_path), num_heads=2).weights,
        encoder.weights,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reg_token": (1, 4, 8), "pos_embed": (1, 9, 8)}, "register tokens"),
        ({"dist_token": (1, 1, 8), "pos_embed": (1, 6, 8)}, "a distillation"),
        ({"cls_token": None, "pos_embed": (1, 4, 8)}, "no class token"),
        ({"pos_embed": (1, 4, 8)}, "no position for the class token"),
    ],
)
@pytest.mark.parametrize("image_shape", [None, SQUARE])
def test_other_tokens_are_named(change, reason, image_shape, state, tmp_path):
    for name, shape in change.items():
        state.pop(name, None)
        if shape is not None:
            state[name] = torch.zeros(shape)
    path = save(state, tmp_path)
    with pytest.raises(ValueError, match=f"which has {reason}"):
        from_timm(path, num_heads=2, image_shape=image_shape)
    with pytest.raises(ValueError, match=f"which has {reason}"):
        load_torch_checkpoint(path, image_shape=image_shape, **HEADS)


# === Grids of patches ===


def test_a_fixed_table_tells_its_grid():
    for grid in ((1, 1), (1, 7), (7, 1), (4, 4), (2, 8), (8, 2), (3, 5)):
        table = sincos_position_table(grid, 16)
        assert fixed_grid(table) == grid
        assert fixed_grid(table.astype("float16")) == grid
    assert fixed_grid(table + 0.01) is None
    assert fixed_grid(np.zeros((4, 8), "float32")) is None
    assert fixed_grid(np.zeros((4, 6), "float32")) is None


def test_as_many_patches_in_another_grid(tmp_path):
    path = str(tmp_path / "mae.pth")
    model = tiny_autoencoder(image_shape=(16, 16, 2))
    save_torch_checkpoint(model, path)
    wide = (8, 32, 2)
    expected = copy_autoencoder(model, wide)
    found = load_torch_checkpoint(path, image_shape=wide, **HEADS)
    same(found.weights, expected.weights)
    to_timm(model.encoder, path)
    again = from_timm(path, num_heads=2, image_shape=wide)
    same(again.weights, expected.encoder.weights)
    assert not again.learned_positions
    with pytest.raises(ValueError, match=r"grid of patches of the file, \(4, "):
        load_torch_weights(path, tiny_autoencoder(image_shape=wide).encoder)


def test_learned_positions_of_two_possible_grids(state, tmp_path):
    sizes = {"patch_size": 4, "hidden_dim": 8, "num_layers": 1, "num_heads": 2}
    square, wide = (
        ViTEncoder(shape, learned_positions=True, **sizes)
        for shape in ((16, 16, 2), (8, 32, 2))
    )
    table = square.position_embedding.position_table
    table.assign(np.random.default_rng(0).normal(size=table.shape))
    wide.set_weights(square.get_weights())
    path = str(tmp_path / "vit.pth")
    to_timm(wide, path)
    arguments = {"num_heads": 2, "image_shape": (8, 32, 2)}
    with pytest.raises(ValueError, match=r"`grid_size` must say .*\(4, 4\)"):
        from_timm(path, **arguments)
    with pytest.raises(ValueError, match="`grid_size` must be the"):
        from_timm(path, grid_size=(3, 5), **arguments)
    again = from_timm(path, grid_size=(2, 8), **arguments)
    same(again.weights, wide.weights)
    other = from_timm(path, grid_size=(4, 4), **arguments)
    assert other.grid_size == (2, 8)
    difference = to_numpy([other.position_embedding.position_table - table])
    assert np.abs(difference).max() > 0.1


# === Which weights of a file ===


def test_key_and_prefix(encoder, state, tmp_path):
    teacher = {f"module.backbone.{n}": v for n, v in state.items()}
    student = {n: torch.zeros_like(v) for n, v in teacher.items()}
    teacher["module.head.mlp.weight"] = torch.zeros(3, 3)
    path = save({"student": student, "teacher": teacher, "epoch": 3}, tmp_path)
    with pytest.raises(ValueError, match="`key` must say .*'student', 'teach"):
        load_encoder(path, num_heads=2)
    with pytest.raises(ValueError, match="`key` must be one of .*'student', "):
        from_timm(path, num_heads=2, key="model")
    with pytest.raises(
        ValueError, match=r"`prefix` must say .*'module\.backbone\.'"
    ):
        from_timm(path, num_heads=2, key="teacher")
    with pytest.raises(ValueError, match=r"start with 'module\.'"):
        from_timm(path, num_heads=2, key="teacher", prefix="x.")
    place = {"key": "teacher", "prefix": "module.backbone."}
    for found in (
        from_timm(path, num_heads=2, **place),
        load_encoder(path, num_heads=2, **place),
    ):
        same(found.weights, encoder.weights)
    # One state dict needs no key, whatever its name.
    path = save({"state_dict": state, "epoch": 3}, tmp_path)
    same(from_timm(path, num_heads=2).weights, encoder.weights)
    path = save({f"module.{n}": v for n, v in state.items()}, tmp_path)
    into = tiny_autoencoder(image_shape=SQUARE).encoder
    load_torch_weights(path, into, prefix="module.")
    same(into.weights, encoder.weights)


@pytest.mark.parametrize(
    ("extra", "guilty"),
    [
        ({"best_acc": np.float64(83.2)}, "numpy.*scalar"),
        (
            {"args": argparse.Namespace(output_dir=pathlib.Path("/x"))},
            r"pathlib\.\w+Path",
        ),
    ],
)
def test_objects_that_are_not_read_are_named(extra, guilty, state, tmp_path):
    path = save({"model": state, **extra}, tmp_path)
    with pytest.raises(ValueError, match=f"it holds .*{guilty}") as caught:
        from_timm(path, num_heads=2)
    assert "\n" not in str(caught.value)


# === Hugging Face ===


def test_labels_come_back(encoder, tmp_path):
    classifier = ImageClassifier(encoder, 3, pooling="class_token")
    to_huggingface(classifier, tmp_path / "a", _half(2))
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["id2label"]["2"] == "LABEL_2"
    assert from_huggingface(tmp_path / "a").class_names is None
    config["id2label"] = {"0": "ant", "1": "bee", "2": "cat"}
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    model = from_huggingface(tmp_path / "a")
    assert tuple(model.class_names) == ("ant", "bee", "cat")
    to_huggingface(model, tmp_path / "b", _half(2))
    again = json.loads((tmp_path / "b" / "config.json").read_text())
    assert again["id2label"] == config["id2label"]
    assert again["label2id"] == {"ant": 0, "bee": 1, "cat": 2}
    config["id2label"] = {"0": "ant", "1": "bee"}
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="`id2label` of config.json must"):
        from_huggingface(tmp_path / "a")


def _half(channels):
    return PixelNormalization([0.5] * channels, [0.5] * channels)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, lambda p: p / 127.5 - 1),
        ({"do_normalize": False}, lambda p: p / 255),
        ({"do_rescale": False}, lambda p: (p - 0.5) / 0.5),
        ({"rescale_factor": 1 / 127.5}, lambda p: (p / 127.5 - 0.5) / 0.5),
    ],
)
def test_the_image_processor_is_read(changes, expected, tmp_path):
    assert huggingface_normalization(tmp_path) is None
    encoder = ViTEncoder((8, 8, 3), 4, 8, 1, 2)
    to_huggingface(encoder, tmp_path, _half(3))
    path = tmp_path / "preprocessor_config.json"
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(settings))
    pixels = np.arange(0, 255, 17, "uint8").reshape(5, 3)
    np.testing.assert_allclose(
        huggingface_normalization(tmp_path)(pixels),
        expected(pixels.astype("float32")),
        rtol=1e-5,
        atol=1e-5,
    )
    path.write_text(json.dumps(settings | {"image_std": ["wide"]}))
    if "do_normalize" not in changes:
        with pytest.raises(ValueError, match="`folder` must hold an image pro"):
            huggingface_normalization(tmp_path)


def test_the_masking_module_is_left_out_with_a_line(tmp_path):
    model = tiny_clmae(image_shape=(8, 8, 3))
    with pytest.warns(UserWarning, match="no place for the masking module"):
        report = to_huggingface(model, tmp_path)
    assert report.left_over == [v.path for v in model.masking_module.weights]
    same(
        from_huggingface(tmp_path).weights,
        model.autoencoder.weights,
    )
