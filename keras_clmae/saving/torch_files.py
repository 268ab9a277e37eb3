"""Read the tensors of files that `torch.save` wrote, without running code."""

import argparse
import os
import warnings
import zipfile

import numpy as np

from keras_clmae.optional_imports import require
from keras_clmae.saving.errors import one_error

TORCH_ENDINGS = (".pth", ".pt", ".bin")
_WHOLE = "a whole PyTorch checkpoint of weights alone"


def read_torch_file(path, key=None):
    """Reads names and shapes of a state dict, and its values on demand.

    Args:
        path: str. The file.
        key: str. As `open_weights` takes it. Defaults to `None`.

    Returns:
        A dict from names to shapes, and a function from a name to a float32
        array.

    Raises:
        ValueError: If the file is damaged, holds anything but tensors and plain
            Python, or several state dicts and `key` names none of them.
    """
    torch = require("torch", "Reading .pth files")
    content = _load(torch, path)
    tensors = _choose(torch, content, path, key)
    with one_error(path, _WHOLE):
        # One small storage seen with strides of 0 can look arbitrarily large.
        claimed = sum(t.numel() * t.element_size() for t in tensors.values())
        if claimed > os.path.getsize(path):
            raise ValueError("its tensors are larger than the file")
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}

    def read(name):
        with one_error(path, "a PyTorch checkpoint of dense tensors"):
            return np.array(tensors[name].detach().to(torch.float32).numpy())

    return shapes, read


def _load(torch, path):
    with one_error(path, _WHOLE):
        _check_archive(path)
        # Published files carry their command line, a plain Namespace.
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            try:
                # Mapped, so that no storage can reach beyond the file.
                return torch.load(
                    path, map_location="cpu", weights_only=True, mmap=True
                )
            except Exception as error:
                foreign = _foreign_objects(torch, path)
                if not foreign:
                    raise
                raise ValueError(
                    f"it holds {', '.join(foreign[:5])}, which may run code; "
                    'where you trust it, keep its tensors: torch.save({"model":'
                    " state_dict}, path)"
                ) from error


def _foreign_objects(torch, path):
    """Names the objects in a file that PyTorch does not read safely."""
    try:
        return sorted(
            torch.serialization.get_unsafe_globals_in_checkpoint(path)
        )
    # The file may be damaged, too.
    except Exception:
        return []


def _choose(torch, content, path, key):
    """Chooses the state dict that is meant of those in a file."""

    def is_state_dict(value):
        return (
            isinstance(value, dict)
            and value
            and all(
                isinstance(name, str) and isinstance(tensor, torch.Tensor)
                for name, tensor in value.items()
            )
        )

    found = content if isinstance(content, dict) else {}
    found = {k: value for k, value in found.items() if is_state_dict(value)}
    listed = ", ".join(repr(name)[:50] for name in found)
    if key is not None:
        if key in found:
            return found[key]
        raise ValueError(
            f"`key` must be one of the state dicts in the file: "
            f"{listed or 'it has none by name'}. Received: key={key!r}, "
            f"path={path!r}"
        )
    if is_state_dict(content):
        return content
    if "model" in found:
        return found["model"]
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(
            "`key` must say which state dict of the file is meant: "
            f"{listed}. Received: key=None, path={path!r}"
        )
    raise ValueError(
        '`path` must hold {"model": state_dict}, tensors by name. '
        f"Received: path={path!r}, which holds {_describe(content)}"
    )


def _check_archive(path):
    """Refuses, before PyTorch opens it, what `torch.save` never writes."""
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


def _describe(content):
    if isinstance(content, dict):
        keys = ", ".join(repr(key)[:50] for key in list(content)[:5])
        return f"a dict with the keys {keys or '(none)'}"
    return f"an object of type {type(content).__name__}"
