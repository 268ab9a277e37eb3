"""Files that were written to do harm end in one clear error.

Reading is the same on every backend: the quickest is enough.
"""

import json
import math
import os
import pickle
import shutil
import struct
import zipfile

import keras
import pytest

from keras_clmae import conversion
from keras_clmae.conversion import formats
from keras_clmae.models import CLMAE
from keras_clmae.models import ViTEncoder
from keras_clmae.saving import keras_files
from keras_clmae.saving.weight_files import open_weights
from tests.once import ONCE

pytestmark = ONCE

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("the same on every backend", allow_module_level=True)


def write_safetensors(path, header, data=b"", length=None):
    header = json.dumps(header).encode()
    length = len(header) if length is None else length
    path.write_bytes(struct.pack("<Q", length) + header + data)


def tensor(shape, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ({}, 2**63),
        ({}, 2**40),
        ({}, 99_000_000),
        ({"a": tensor([2**40, 2**40], 4)}, None),
        ({"a": tensor([2**62, 4], 4)}, None),
        ({"a": tensor([1], 2**60)}, None),
        ({"a": tensor([-1], 4)}, None),
        ({"a": tensor([1], 4), "b": tensor([1], 4)}, None),
        ({"a": 3}, None),
        ({}, None),
    ],
)
def test_safetensors_bombs(header, length, tmp_path):
    path = tmp_path / "bomb.safetensors"
    write_safetensors(path, header, b"1234", length)
    with pytest.raises(ValueError, match="`path` must"):
        conversion.from_timm(path, num_heads=1)


def test_widths_that_ask_for_too_much(tmp_path):
    # A row as wide as this would make a model of terabytes.
    width = 10**6
    shapes = {
        "cls_token": [1, 1, width],
        "pos_embed": [1, 5, 4],
        "patch_embed.proj.weight": [4, 1, 2, 2],
        "blocks.0.mlp.fc1.weight": [1, width],
    }
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape}
        header[name]["data_offsets"] = [offset, end]
        offset = end
    path = tmp_path / "wide.safetensors"
    write_safetensors(path, header, bytes(offset))
    with pytest.raises(ValueError, match="lacks weights|must be of shape"):
        conversion.from_timm(path, num_heads=1, allow_missing=False)
    with pytest.raises(ValueError, match="must be of shape"):
        conversion.from_timm(path, num_heads=1, allow_missing=True)


def test_a_small_storage_that_looks_large(tmp_path):
    path = tmp_path / "strides.pth"
    torch.save({"a": torch.zeros(1).expand(10**9)}, path)
    with pytest.raises(ValueError, match="larger than the file"):
        open_weights(path)


def repack(path, change, compression=zipfile.ZIP_STORED):
    """Writes an archive anew, each member as `change(name, content)`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(*change(name, content))


def test_storages_that_reach_beyond_their_member(tmp_path):
    # Sound checksums around a pickle that claims more numbers than there are.
    path = tmp_path / "reach.pth"
    torch.save({"a": torch.arange(7000.0)}, path)
    size = struct.pack("<H", 7000)

    def claim(name, content):
        if name.endswith("data.pkl"):
            assert content.count(b"M" + size) >= 2
            content = content.replace(b"M" + size, b"M\xff\xff")
        return name, content

    repack(path, claim)
    with pytest.raises(ValueError, match="must be a whole PyTorch checkpoint"):
        open_weights(path)


def test_compressed_archives_are_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    torch.save({"a": torch.zeros(10**6)}, path)
    repack(path, lambda *member: member, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="members are compressed"):
        open_weights(path)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch run",))


def test_no_pickle_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"model": Evil()}, path)
    with pytest.raises(ValueError, match="weights alone") as caught:
        open_weights(path)
    assert "\x1b" not in str(caught.value)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="weights alone"):
        open_weights(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "other.h5"])
def test_members_cannot_leave_their_folder(name, model, tmp_path):
    path = tmp_path / "inner" / "model.keras"
    path.parent.mkdir()
    model.encoder.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"evil")
    with pytest.raises(ValueError, match="members unknown here"):
        keras_files.load_keras_model(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inner"]


@pytest.mark.parametrize("load_weights", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 10**9},
        # Few numbers each, but each a layer.
        {"num_layers": 3, "hidden_dim": 4, "mlp_dim": 1},
        {"hidden_dim": 10**6},
        {"mlp_dim": 10**12},
        {"image_shape": [10**6, 10**6, 1]},
        {"image_shape": [4, 4, 10**12]},
    ],
)
def test_sizes_are_checked_before_anything_is_made(
    changes, load_weights, model, tmp_path
):
    model.encoder.save_to_preset(str(tmp_path))
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["config"] |= changes
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="its sizes ask for at least"):
        keras_files.load_keras_model(tmp_path, load_weights)
    with pytest.raises(ValueError, match="its sizes ask for at least"):
        ViTEncoder.from_preset(str(tmp_path), load_weights)
    # There is nothing to hold the sizes against.
    (tmp_path / "model.weights.h5").unlink()
    with pytest.raises(ValueError, match="`path` must be a model of"):
        ViTEncoder.from_preset(str(tmp_path), load_weights)


def test_a_decoder_of_its_own_grid(model, tmp_path):
    model.save_to_preset(str(tmp_path))
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["config"]["decoder"]["config"]["grid_size"] = [10**6, 10**6]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="its sizes ask for at least"):
        keras_files.load_keras_model(tmp_path)


def test_stored_shapes_build_nothing(clmae, tmp_path):
    """Models build their parts by the sizes that were checked."""
    clmae.save_to_preset(str(tmp_path))
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    parts = content["config"]
    for part in (parts["masking_module"], parts["autoencoder"], content):
        part["build_config"] = {"input_shape": [None, 10**9, 10**9]}
    parts["autoencoder"]["config"]["decoder"]["build_config"] = {
        "input_shape": [None, 5, 10**12]
    }
    content["compile_config"] = {"optimizer": "no such optimizer"}
    path.write_text(json.dumps(content))
    again = keras_files.load_keras_model(tmp_path)
    for first, second in zip(clmae.weights, again.weights, strict=True):
        assert first.shape == second.shape


def test_parts_of_keras_itself(clmae, tmp_path):
    clmae.save_to_preset(str(tmp_path))
    assert isinstance(keras_files.load_keras_model(tmp_path), CLMAE)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    layer = keras.layers.Dense(10**12)
    content["config"]["masking_module"] = keras.saving.serialize_keras_object(
        layer
    )
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="it holds a Dense of Keras"):
        keras_files.load_keras_model(tmp_path)


def test_configurations_of_others(model, tmp_path):
    model.encoder.save_to_preset(str(tmp_path))
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    for changes in (
        {"class_name": "Lambda", "registered_name": None, "module": "keras"},
        {"class_name": "system", "registered_name": None, "module": "os"},
        {"class_name": "system", "registered_name": "keras_clmae>system"},
        # Registered under no such name: nothing is imported to look for it.
        {
            "class_name": "ViTBackbone",
            "registered_name": "keras_clmae>ViTBackbone",
            "module": "keras_hub.models",
        },
    ):
        path.write_text(json.dumps(content | changes))
        with pytest.raises(ValueError, match="`path` must be a model of"):
            keras_files.load_keras_model(tmp_path)


def test_what_is_no_source(tmp_path):
    shutil.copy(__file__, tmp_path / "text.txt")
    for source in ("nothing", str(tmp_path), str(tmp_path / "text.txt")):
        with pytest.raises(ValueError, match="`source` must be a .keras"):
            formats.guess_source_format(source)


@pytest.mark.parametrize("num_layers", [3, 10**12])
def test_keras_hub_folder_of_more_blocks_than_weights(num_layers, tmp_path):
    pytest.importorskip("keras_hub")
    encoder = ViTEncoder((8, 8, 1), 4, 8, 2, 2)
    conversion.to_keras_hub(encoder).save_to_preset(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["config"]["num_layers"] = num_layers
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="arrays, and there are"):
        conversion.from_keras_hub(tmp_path)
