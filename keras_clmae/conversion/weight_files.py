"""Reading and writing files of weights: safetensors and PyTorch's.

Reading runs no code, looks at names and shapes first, and ends in one
`ValueError` where a file is not what it should be.
"""

import argparse
import contextlib
import json
import os
import pickle
import re
import shutil
import struct
import tempfile
import warnings
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_clmae.data.dependencies import require

# No configuration of a model comes near; what is larger is not one.
MAX_JSON_BYTES = 2**24
TORCH_ENDINGS = (".pth", ".pt", ".bin")

_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    # h5py's, where an error interrupts another.
    SystemError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    # PyTorch's reader of pickles, where numbers are cut off.
    struct.error,
    zipfile.BadZipFile,
)


class Weights(NamedTuple):
    """Named arrays whose shapes are known before any is read.

    Attributes:
        source: str. Where they come from, for messages.
        shapes: dict from names to shapes.
        read: function from a name to a float32 array.
    """

    source: str
    shapes: dict
    read: object


@contextlib.contextmanager
def one_error(path, expected):
    """Turns whatever reading a damaged file raises into one `ValueError`."""
    try:
        yield
    except _UNREADABLE as error:
        # PyTorch sets its in bold.
        text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
        reason = (text or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"`path` must be {expected}. Received: path={path!r} "
            f"({reason[:200]})"
        ) from None


def open_weights(path):
    """Opens a file of weights by its ending.

    Args:
        path: path of a .safetensors file, or of one that `torch.save` wrote
            (.pth, .pt, .bin).

    Returns:
        `Weights`.

    Raises:
        ValueError: if the file is missing, damaged or of another format.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(
            "`path` must be an existing .safetensors or .pth file. "
            f"Received: path={path!r}"
        )
    if path.endswith(".safetensors"):
        return _open_safetensors(path)
    return _open_torch(path)


def write_weights(arrays, path):
    """Writes named arrays to a .safetensors or a PyTorch file.

    Args:
        arrays: dict from names to contiguous float32 arrays.
        path: path; its ending chooses the format. The file is replaced whole
            or not at all.

    Raises:
        ValueError: if the ending is neither's.
    """
    path = os.fspath(path)
    if not path.endswith((".safetensors", *TORCH_ENDINGS)):
        raise ValueError(
            f"`path` must end in .safetensors, {', '.join(TORCH_ENDINGS)}. "
            f"Received: path={path!r}"
        )
    unfinished = f"{path}.unfinished"
    if path.endswith(".safetensors"):
        # The entry that transformers asks for.
        metadata = {"format": "pt"}
        safetensors = require("safetensors.numpy", "Writing .safetensors files")
        safetensors.save_file(arrays, unfinished, metadata=metadata)
    else:
        torch = require("torch", "Writing .pth files")
        tensors = {n: torch.from_numpy(array) for n, array in arrays.items()}
        torch.save({"model": tensors}, unfinished)
    os.replace(unfinished, path)


def read_json(path):
    """Reads an object from a JSON file.

    Raises:
        ValueError: if the file is missing, too large, or holds anything else.
    """
    with one_error(path, "a JSON file with one object"):
        if os.path.getsize(path) > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES} bytes")
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    return content


@contextlib.contextmanager
def folder_written_whole(folder):
    """Gives an empty folder whose files move to `folder` at the end.

    Where the body fails, `folder` stays as it was.
    """
    folder = os.path.abspath(folder)
    parent = os.path.dirname(folder)
    os.makedirs(parent, exist_ok=True)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ValueError(
            f"`directory` must be a folder. Received: directory={folder!r}"
        )
    with tempfile.TemporaryDirectory(dir=parent, prefix=".unfinished") as made:
        yield made
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(made):
            target = os.path.join(folder, name)
            if os.path.isdir(target):
                shutil.rmtree(target)
            os.replace(os.path.join(made, name), target)


def _open_safetensors(path):
    safetensors = require("safetensors", "Reading .safetensors files")
    # Its error derives from Exception alone.
    with one_error(path, "a safetensors file, whole"):
        try:
            file = safetensors.safe_open(path, framework="numpy")
            shapes = {
                name: tuple(file.get_slice(name).get_shape())
                for name in file.keys()
            }
        except safetensors.SafetensorError as error:
            raise ValueError(str(error)) from None

    def read(name):
        with one_error(path, "a safetensors file of floating-point numbers"):
            try:
                return _as_float32(file.get_tensor(name))
            except safetensors.SafetensorError as error:
                raise ValueError(str(error)) from None

    return Weights(path, _checked(path, shapes), read)


def _open_torch(path):
    torch = require("torch", "Reading .pth files")
    whole = "a PyTorch checkpoint whole and with weights only"
    with one_error(path, whole):
        _check_archive(path)
        # Published files carry their command line, a plain Namespace.
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            # Mapped, so that no storage can reach beyond the file.
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=True
            )
    tensors = content.get("model") if isinstance(content, dict) else None
    if tensors is None:
        tensors = content
    if (
        not isinstance(tensors, dict)
        or not tensors
        or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor)
            for name, value in tensors.items()
        )
    ):
        raise ValueError(
            '`path` must hold {"model": state_dict}, tensors by name. '
            f"Received: path={path!r}, which holds {_describe(content)}"
        )
    with one_error(path, whole):
        # One small storage seen with strides of 0 can look arbitrarily large.
        claimed = sum(t.numel() * t.element_size() for t in tensors.values())
        if claimed > os.path.getsize(path):
            raise ValueError("its tensors are larger than the file")
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}

    def read(name):
        with one_error(path, "a PyTorch checkpoint of dense tensors"):
            return np.array(tensors[name].detach().to(torch.float32).numpy())

    return Weights(path, _checked(path, shapes), read)


def _check_archive(path):
    """Refuses what `torch.save` never writes, before PyTorch opens it."""
    if not zipfile.is_zipfile(path):
        raise ValueError(
            "it is not in the zip format that PyTorch writes since 1.6; "
            "load an older file with PyTorch and save it again"
        )
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise ValueError("its members are compressed")
        if sum(m.file_size for m in members) > os.path.getsize(path):
            raise ValueError("its members are larger than the file")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its member {damaged!r} is damaged")


def _checked(path, shapes):
    if not shapes:
        raise ValueError(
            f"`path` must hold tensors by name. Received: path={path!r}, which "
            "holds none"
        )
    return shapes


def _as_float32(array):
    floats = (np.floating, ml_dtypes.bfloat16)
    if not any(np.issubdtype(array.dtype, kind) for kind in floats):
        raise ValueError(f"an array is of type {array.dtype}")
    return array.astype("float32")


def _describe(content):
    if isinstance(content, dict):
        keys = ", ".join(repr(key)[:50] for key in list(content)[:5])
        return f"a dict with the keys {keys or '(none)'}"
    return f"an object of type {type(content).__name__}"
