import argparse
import os
import pathlib
import pickle

import numpy as np
import pytest
from keras import ops

from keras_clmae.conversion import load_torch_checkpoint
from keras_clmae.conversion import load_torch_weights
from keras_clmae.conversion import save_torch_checkpoint
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import to_numpy

torch = pytest.importorskip("torch")

pytestmark = ONCE

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden", "tiny.pth")
HEADS = {"num_heads": 4, "decoder_num_heads": 4}


def golden_state():
    return torch.load(GOLDEN, weights_only=True)["model"]


def random_state():
    """The golden names, with every number drawn anew."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(value.shape, generator=generator)
        for name, value in golden_state().items()
    }


def save(tmp_path, content, name="file.pth"):
    path = str(tmp_path / name)
    torch.save(content, path)
    return path


def test_round_trip_is_the_identity(tmp_path):
    state = random_state()
    model = load_torch_checkpoint(save(tmp_path, {"model": state}), **HEADS)
    assert isinstance(model, CLMAE)
    again = str(tmp_path / "again.pth")
    save_torch_checkpoint(model, again)
    written = torch.load(again, weights_only=True)["model"]
    assert set(written) == set(state)
    for name, value in state.items():
        assert torch.equal(written[name], value), name


def test_sizes_are_read_from_the_weights():
    model = load_torch_checkpoint(GOLDEN, **HEADS, mask_ratio=0.5)
    encoder = model.encoder
    assert encoder.image_shape == (32, 32, 3)
    assert (encoder.patch_size, encoder.hidden_dim) == (8, 48)
    assert (encoder.num_layers, encoder.num_heads) == (2, 4)
    assert model.autoencoder.decoder.hidden_dim == 32
    assert model.masking_module.num_layers == 5
    assert model.autoencoder.num_visible == 8


def test_mae_file_gives_a_masked_autoencoder(tmp_path):
    state = {
        name: value
        for name, value in random_state().items()
        if not name.startswith("masking_net.")
    }
    # Published files carry their command line and more.
    content = {
        "model": state,
        "epoch": 3,
        "args": argparse.Namespace(lr=1e-3, model="mae"),
    }
    model = load_torch_checkpoint(save(tmp_path, content), **HEADS)
    assert isinstance(model, MaskedAutoencoder)
    again = str(tmp_path / "again.pth")
    save_torch_checkpoint(model, again)
    assert set(torch.load(again, weights_only=True)["model"]) == set(state)


def encoder_only(state):
    skipped = ("masking_net.", "decoder_", "mask_token")
    return {n: v for n, v in state.items() if not n.startswith(skipped)}


def test_encoder_only_file(tmp_path):
    path = save(tmp_path, {"model": encoder_only(random_state())})
    with pytest.warns(UserWarning, match="has no decoder: the initial"):
        model = load_torch_checkpoint(
            path, **HEADS, decoder_hidden_dim=16, decoder_num_layers=1
        )
    assert isinstance(model, MaskedAutoencoder)
    token = ops.convert_to_numpy(model.encoder.class_token.token)
    np.testing.assert_array_equal(token, random_state()["cls_token"].numpy())


def test_encoder_only_file_into_a_clmae(tmp_path):
    path = save(tmp_path, encoder_only(random_state()))
    model = load_torch_checkpoint(GOLDEN, **HEADS)
    before = to_numpy(model.masking_variables)
    with pytest.warns(UserWarning, match="no decoder and no masking module"):
        load_torch_weights(path, model)
    after = to_numpy(model.masking_variables)
    for now, then in zip(after, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_image_shape_that_is_not_square(tmp_path):
    model = tiny_autoencoder()
    path = str(tmp_path / "model.pth")
    save_torch_checkpoint(model, path)
    arguments = {"num_heads": 2, "decoder_num_heads": 2, "mask_ratio": 0.5}
    # The fixed table tells its grid.
    for image_shape in ((8, 12, 2), None):
        again = load_torch_checkpoint(
            path, image_shape=image_shape, **arguments
        )
        for first, second in zip(model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(
                ops.convert_to_numpy(first), ops.convert_to_numpy(second)
            )
    table = model.encoder.position_embedding.position_table
    table.assign(table + 0.1)
    save_torch_checkpoint(model, path)
    with pytest.raises(ValueError, match="`image_shape` must be given"):
        load_torch_checkpoint(path, **arguments)


class Evil:
    def __reduce__(self):
        return (os.system, ("false",))


def write(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    return str(path)


BAD_FILES = {
    "missing": lambda tmp_path: str(tmp_path / "missing.pth"),
    "folder": str,
    "empty": lambda tmp_path: write(tmp_path, b""),
    "text": lambda tmp_path: write(tmp_path, b"not a checkpoint\n"),
    "truncated": lambda tmp_path: write(
        tmp_path, pathlib.Path(GOLDEN).read_bytes()[:20000]
    ),
    "plain pickle": lambda tmp_path: write(tmp_path, pickle.dumps([1, 2])),
    "evil pickle": lambda tmp_path: write(tmp_path, pickle.dumps(Evil())),
    "evil tensor file": lambda tmp_path: save(tmp_path, {"model": Evil()}),
    "a number": lambda tmp_path: save(tmp_path, 3),
    "no tensors": lambda tmp_path: save(tmp_path, {"model": {"epoch": 3}}),
    "empty dict": lambda tmp_path: save(tmp_path, {"model": {}}),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_give_one_clear_error(kind, tmp_path):
    path = BAD_FILES[kind](tmp_path)
    with pytest.raises(ValueError, match="`path` must") as caught:
        load_torch_checkpoint(path, **HEADS)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cls_token": None}, "which has no class token"),
        ({"decoder_norm.bias": None}, "lacks weights of the decoder"),
        ({"head.weight": (10, 48)}, "has no place for: head.weight"),
        ({"norm.weight": (47,)}, "'norm.weight' must be of shape"),
        ({"patch_embed.proj.weight": None}, "without 'patch_embed.proj"),
    ],
)
def test_foreign_weights_are_refused(change, message, tmp_path):
    state = random_state()
    for name, shape in change.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        load_torch_checkpoint(save(tmp_path, {"model": state}), **HEADS)


def test_a_refused_file_changes_nothing(tmp_path):
    model = load_torch_checkpoint(GOLDEN, **HEADS)
    before = to_numpy(model.weights)
    state = random_state()
    state["norm.weight"] = torch.zeros(47)
    with pytest.raises(ValueError, match="norm.weight"):
        load_torch_weights(save(tmp_path, {"model": state}), model)
    for now, then in zip(to_numpy(model.weights), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_an_interrupted_write_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    save_torch_checkpoint(tiny_clmae(), str(path))
    before = path.read_bytes()

    def broken(content, file):
        with open(file, "wb") as unfinished:
            unfinished.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="No space left"):
        save_torch_checkpoint(tiny_clmae(), str(path))
    assert path.read_bytes() == before
