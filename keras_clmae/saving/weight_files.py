"""Read and write files of weights: safetensors and PyTorch's.

Reading runs no code, looks at names and shapes first, and ends in one
`ValueError` where a file is not what it should be.
"""

import json
import os
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_clmae.optional_imports import require
from keras_clmae.saving.atomic_write import atomic_write
from keras_clmae.saving.errors import one_error
from keras_clmae.saving.torch_files import TORCH_ENDINGS
from keras_clmae.saving.torch_files import read_torch_file

# No configuration of a model comes near; what is larger is not one.
MAX_JSON_BYTES = 2**24


class Weights(NamedTuple):
    """Named arrays whose shapes are known before any is read.

    Attributes:
        source: str. Where they come from, for messages.
        shapes: dict from names to shapes.
        read: callable. Maps a name to a float32 array.
    """

    source: str
    shapes: dict
    read: object


def open_weights(path, key=None, prefix=""):
    """Opens a file of weights by its ending.

    Args:
        path: str. Path of a .safetensors file, or of one that `torch.save`
            wrote (.pth, .pt, .bin).
        key: str. Which of several state dicts in a PyTorch file is meant, such
            as `"teacher"`. Defaults to `None`: `"model"` where there is one,
            else the only one.
        prefix: str. Start of the names that are meant, such as `"backbone."`.
            It is cut off, and weights without it are left out. Defaults to
            `""`: all.

    Returns:
        `Weights`.

    Raises:
        ValueError: If the file is missing, damaged or of another format, or
            holds no weights under `key` and `prefix`.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(
            "`path` must be an existing .safetensors or .pth file. "
            f"Received: path={path!r}"
        )
    if path.endswith(".safetensors"):
        if key is not None:
            raise ValueError(
                "`key` applies to PyTorch's files only, which may hold several "
                f"state dicts. Received: key={key!r}, path={path!r}"
            )
        weights = _open_safetensors(path)
    else:
        weights = Weights(path, *read_torch_file(path, key))
    if not weights.shapes:
        raise ValueError(
            f"`path` must hold tensors by name. Received: path={path!r}, which "
            "holds none"
        )
    return _below(prefix, weights) if prefix else weights


def write_weights(arrays, path):
    """Writes named arrays to a .safetensors or a PyTorch file.

    Args:
        arrays: dict from names to contiguous float32 arrays.
        path: str. Path; its ending chooses the format. The file is replaced
            whole or not at all.

    Raises:
        ValueError: If the ending is neither's.
    """
    path = os.fspath(path)
    if not path.endswith((".safetensors", *TORCH_ENDINGS)):
        raise ValueError(
            f"`path` must end in .safetensors, {', '.join(TORCH_ENDINGS)}. "
            f"Received: path={path!r}"
        )
    if path.endswith(".safetensors"):
        # The entry that transformers asks for.
        metadata = {"format": "pt"}
        safetensors = require("safetensors.numpy", "Writing .safetensors files")
        with atomic_write(path) as unfinished:
            safetensors.save_file(arrays, unfinished, metadata=metadata)
    else:
        torch = require("torch", "Writing .pth files")
        tensors = {n: torch.from_numpy(array) for n, array in arrays.items()}
        with atomic_write(path) as unfinished:
            torch.save({"model": tensors}, unfinished)


def read_json(path):
    """Reads an object from a JSON file.

    Returns:
        A dict.

    Raises:
        ValueError: If the file is missing, too large, or holds anything else.
    """
    with one_error(path, "a JSON file with one object"):
        if os.path.getsize(path) > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES} bytes")
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    return content


def _open_safetensors(path):
    safetensors = require("safetensors", "Reading .safetensors files")
    with one_error(path, "a safetensors file, whole"):
        file = safetensors.safe_open(path, framework="numpy")
        shapes = {
            name: tuple(file.get_slice(name).get_shape())
            for name in file.keys()
        }

    def read(name):
        with one_error(path, "a safetensors file of floating-point numbers"):
            return _as_float32(file.get_tensor(name))

    return Weights(path, shapes, read)


def _below(prefix, weights):
    """Selects the weights below a prefix, and drops the prefix."""
    shapes = {
        name.removeprefix(prefix): shape
        for name, shape in weights.shapes.items()
        if name.startswith(prefix)
    }
    if not shapes:
        first = sorted({f"{n.split('.')[0]}." for n in weights.shapes})
        raise ValueError(
            "`prefix` must be the start of names in the file, which start with "
            f"{', '.join(map(repr, first[:8]))}. Received: prefix={prefix!r}, "
            f"path={weights.source!r}"
        )
    return Weights(
        weights.source, shapes, lambda name: weights.read(prefix + name)
    )


def _as_float32(array):
    floats = (np.floating, ml_dtypes.bfloat16)
    if not any(np.issubdtype(array.dtype, kind) for kind in floats):
        raise ValueError(f"an array is of type {array.dtype}")
    return array.astype("float32")
