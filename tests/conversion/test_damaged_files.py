"""Hundreds of damaged files end in a model or in one clear error.

In little time and in little memory.

    DAMAGED_FILES=4000 python -m pytest tests/conversion/test_damaged_files.py

tries so many of each kind.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import struct
import time
import zipfile

import keras
import numpy as np
import pytest

from keras_clmae import conversion
from keras_clmae.conversion import huggingface
from keras_clmae.conversion import keras_hub
from keras_clmae.conversion import timm
from keras_clmae.conversion import torch_checkpoint
from keras_clmae.conversion.torch_checkpoint import published_table
from keras_clmae.saving import keras_files
from keras_clmae.saving.errors import one_error
from keras_clmae.saving.weight_files import open_weights
from tests.once import ONCE

torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("the same on every backend", allow_module_level=True)
pytestmark = ONCE

NUMBER = int(os.environ.get("DAMAGED_FILES", 200))
# A read of these files takes milliseconds and kilobytes.
MAX_SECONDS = 5.0
MAX_BYTES = 2**29
HUGE = (b"9" * 12, b"-1", b"0", b"1e999", b"null", b"[]", b"NaN", b'"\\ud800"')


def mutated(content, random):
    """A copy with one to three things wrong."""
    content = bytearray(content)
    for _ in range(random.integers(1, 4)):
        # Half of the damage near the ends: headers, directories of archives.
        size = len(content)
        if not size:
            break
        reach = size if random.random() < 0.5 else min(size, 600)
        start = int(random.integers(reach))
        if random.random() < 0.3:
            start = size - 1 - start
        length = int(random.integers(1, 17))
        kind = random.integers(8)
        if kind == 0:
            content[start] ^= 1 << int(random.integers(8))
        elif kind == 1:
            content[start : start + length] = random.bytes(length)
        elif kind == 2:
            del content[start:]
        elif kind == 3:
            del content[start : start + length]
        elif kind == 4:
            content[start:start] = random.bytes(length)
        elif kind == 5:
            content[start:start] = content[start : start + 8 * length]
        elif kind == 6:
            value = [2**64 - 1, 2**40, 2**31, 0, size][random.integers(5)]
            content[start : start + 8] = struct.pack("<Q", value)
        else:
            digits = [i for i, c in enumerate(content[:4000]) if 48 <= c < 58]
            if digits:
                at = digits[random.integers(len(digits))]
                content[at : at + 1] = HUGE[random.integers(len(HUGE))]
    return bytes(content)


@contextlib.contextmanager
def little_memory():
    """Allocations beyond `MAX_BYTES` fail, whatever library asks for them."""
    resource = pytest.importorskip("resource")
    statm = pathlib.Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("the size of a process is read from Linux's /proc")
    size = int(statm.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MAX_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(original, path, read, number=NUMBER, seed=0):
    """Reads mutated copies of a file, most of which must be refused.

    Of archives, half are damaged as files and half are whole archives around
    damaged members, whose checksums are right.
    """
    random = np.random.default_rng(seed)
    members = {}
    if zipfile.is_zipfile(io.BytesIO(original)):
        with zipfile.ZipFile(io.BytesIO(original)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    refused = 0
    for index in range(number):
        if members and index % 2:
            name = list(members)[random.integers(len(members))]
            damaged = members | {name: mutated(members[name], random)}
            with zipfile.ZipFile(path, "w") as archive:
                for member, content in damaged.items():
                    archive.writestr(member, content)
        else:
            path.write_bytes(mutated(original, random))
        started = time.monotonic()
        try:
            with little_memory():
                read()
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000
            # Of memory that was asked for and not there.
            for words in ("memory", "unable to allocate"):
                assert words not in str(error).lower()
            refused += 1
        assert time.monotonic() - started < MAX_SECONDS
    # Damage is found; numbers that changed are no damage.
    assert number / 4 < refused < number


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: np.zeros(2**30, "uint8"),
        lambda: torch.zeros(2**30, dtype=torch.uint8),
        lambda: bytearray(2**50),
    ],
)
def test_the_limit_of_memory_is_seen(allocate, tmp_path):
    def read():
        with one_error("model", "small"):
            allocate()

    with pytest.raises(AssertionError):
        fuzz(b"0123456789", tmp_path / "file", read, number=1)


@pytest.fixture
def no_model(clmae, monkeypatch):
    """Stops where a model would be made, with checked and bounded sizes."""

    def build_model(sizes, **arguments):
        total = sum(
            math.prod(shape)
            for entry in published_table(sizes._replace(num_classes=None))
            for shape in entry.theirs.values()
        )
        assert total <= 2 * clmae.count_params()
        return sizes

    def read_all(table, weights, sizes):
        for entry in table:
            for name, shape in entry.theirs.items():
                assert weights.read(name).shape == shape

    for module in (huggingface, timm, torch_checkpoint):
        monkeypatch.setattr(module, "build_model", build_model)
        monkeypatch.setattr(module.weight_map, "assign", read_all)
        monkeypatch.setattr(module, "resized", lambda sizes, shape: sizes)


@pytest.mark.parametrize("name", ["mae", "clmae"])
def test_published(name, model, clmae, no_model, tmp_path):
    path = tmp_path / "model.pth"
    conversion.save_torch_checkpoint({"mae": model, "clmae": clmae}[name], path)
    fuzz(
        path.read_bytes(),
        path,
        lambda: conversion.load_torch_checkpoint(
            path, num_heads=1, decoder_num_heads=1, masking_num_heads=1
        ),
        number=NUMBER // 2,
    )


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_timm(name, model, no_model, tmp_path):
    path = tmp_path / name
    conversion.to_timm(model.encoder, path)
    fuzz(
        path.read_bytes(),
        path,
        lambda: conversion.from_timm(path, num_heads=1),
        number=NUMBER // 2,
    )


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ],
)
def test_huggingface(name, model, no_model, tmp_path):
    conversion.to_huggingface(model, tmp_path)
    if name.startswith("pytorch_model"):
        write_bin_files(tmp_path, split=name.endswith("json"))
    path = tmp_path / name
    fuzz(
        path.read_bytes(),
        path,
        lambda: conversion.from_huggingface(tmp_path),
        number=NUMBER // 2,
    )


def write_bin_files(folder, split):
    """PyTorch's files in place of model.safetensors: one, or two and an index.

    Args:
        folder: path of a folder of Hugging Face.
        split: bool.
    """
    weights = open_weights(folder / "model.safetensors")
    state = {n: torch.from_numpy(weights.read(n)) for n in weights.shapes}
    (folder / "model.safetensors").unlink()
    if not split:
        torch.save(state, folder / "pytorch_model.bin")
        return
    files = {}
    for number in (1, 2):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        part = dict(list(state.items())[number - 1 :: 2])
        torch.save(part, folder / file)
        files |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert conversion.from_huggingface(folder)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_keras_hub(name, model, tmp_path, monkeypatch):
    pytest.importorskip("keras_hub")
    backbone = conversion.to_keras_hub(model.encoder)
    backbone.save_to_preset(tmp_path)
    # Building one takes long, and its sizes are checked before.
    monkeypatch.setattr(keras_hub, "_make_backbone", lambda sizes: backbone)
    monkeypatch.setattr(keras_hub, "build_model", lambda sizes: sizes)
    monkeypatch.setattr(keras_hub.weight_map, "assign", lambda *_: None)
    monkeypatch.setattr(keras_hub, "resized", lambda sizes, shape: sizes)
    path = tmp_path / name
    fuzz(
        path.read_bytes(),
        path,
        lambda: conversion.from_keras_hub(tmp_path),
        number=NUMBER // 2,
    )


def test_preset_folder(model, tmp_path):
    model.encoder.save_to_preset(str(tmp_path))
    for name in ("config.json", "model.weights.h5"):
        path = tmp_path / name
        original = path.read_bytes()
        fuzz(
            original,
            path,
            lambda: keras_files.load_keras_model(tmp_path),
            number=NUMBER // 2,
        )
        path.write_bytes(original)


def test_keras_file(model, tmp_path):
    path = tmp_path / "model.keras"
    model.encoder.save(path)
    fuzz(path.read_bytes(), path, lambda: keras_files.load_keras_model(path))
