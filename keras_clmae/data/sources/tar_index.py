"""Index where the images of a tar file lie, from its headers."""

import dataclasses
import functools
import hashlib
import io
import json
import os
import tarfile
import warnings

import numpy as np

from keras_clmae.data.damage import display_name
from keras_clmae.data.decoding import EXTENSIONS
from keras_clmae.optional_imports import require
from keras_clmae.saving import atomic_write


class DamagedTarError(ValueError):
    """Error about a tar file that cannot be read, or not to its end."""


@dataclasses.dataclass(frozen=True)
class TarIndex:
    """Places of the images in a tar file.

    Attributes:
        names: array of str. Names of the image files.
        offsets: int64 array, where their bytes begin in the tar file.
        sizes: int64 array, how many bytes they have.
        labels: array of str. Labels as text, empty where there is none.
        trouble: str. Why the rest cannot be read, or an empty one.
    """

    names: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    trouble: np.ndarray


def read_index(path, image_key, label_key, folder, on_error):
    """Gives the index of a tar file: a kept one, or a new one.

    Args:
        path: str. The tar file.
        image_key: str. The extension of images, or `None` for the first
            one of an image format.
        label_key: str. Where labels lie in a `.json` file, or `None` for
            no labels.
        folder: str or path object. Where indices are kept, or `None`.
        on_error: `"skip"` to warn of a damaged end, or `"raise"`.

    Returns:
        A `TarIndex`.

    Raises:
        DamagedTarError: If the file cannot be read, or, with
            `on_error="raise"`, not to its end.
        OSError: If the file cannot be opened.
    """
    status = os.stat(path)
    # Another file in the same place has another size or time.
    identity = (
        os.path.abspath(path),
        status.st_size,
        status.st_mtime_ns,
        image_key,
        label_key,
    )
    if folder is None:
        index = _index_in_memory(*identity)
    else:
        index = _index_in_folder(os.fspath(folder), identity)
    trouble = str(index.trouble)
    if trouble and (on_error == "raise" or not len(index.sizes)):
        raise DamagedTarError(trouble)
    if trouble:
        warnings.warn(
            f"The shard {display_name(path)!r} cannot be read to its end: "
            f"{trouble}. What comes after its first {len(index.sizes)} images "
            "is skipped.",
            stacklevel=6,
        )
    return index


@functools.cache
def _index_in_memory(path, size, time, image_key, label_key):
    return _make_index(path, image_key, label_key)


def _index_in_folder(folder, identity):
    digest = hashlib.blake2b(repr(identity).encode(), digest_size=16)
    kept = os.path.join(folder, f"{digest.hexdigest()}.npz")
    if os.path.exists(kept):
        with np.load(kept, allow_pickle=False) as arrays:
            return TarIndex(**arrays)
    index = _make_index(identity[0], *identity[-2:])
    os.makedirs(folder, exist_ok=True)
    contents = io.BytesIO()
    np.savez(contents, **dataclasses.asdict(index))
    with atomic_write(kept) as unfinished:
        with open(unfinished, "wb") as file:
            file.write(contents.getvalue())
    return index


def _make_index(path, image_key, label_key):
    """Reads all headers of a tar file, and labels if they are wanted."""
    tariterators = require("webdataset.tariterators", "`webdataset`")
    trouble = []
    try:
        # Not "r": images of a compressed file cannot be read by their places.
        tar = tarfile.open(path, "r:")
    except tarfile.TarError as error:
        raise DamagedTarError(
            f"it is not an uncompressed tar file ({error})"
        ) from error
    kinds = [each[1:] for each in EXTENSIONS]
    if image_key is not None:
        kinds = [image_key.lower()]
    found = []
    with tar:
        samples = tariterators.group_by_keys(_members(path, tar, trouble))
        try:
            for sample in samples:
                image, label = _image_and_label(tar, sample, kinds, label_key)
                if image is not None:
                    found.append((image, label))
        except ValueError as error:
            # Two files of one name, which `webdataset` refuses.
            raise DamagedTarError(error.args[0]) from error
    images = [image for image, _ in found]
    return TarIndex(
        np.array([image.name for image in images], "str"),
        np.array([image.offset_data for image in images], "int64"),
        np.array([image.size for image in images], "int64"),
        np.array([label for _, label in found], "str"),
        np.array("".join(trouble)),
    )


def _members(path, tar, trouble):
    """Gives the files of a tar file as `webdataset` wants them."""
    try:
        for member in tar:
            if member.isreg() and not member.issparse():
                yield {"fname": member.name, "data": member, "__url__": path}
    except tarfile.TarError as error:
        trouble.append(f"a part of it is missing or damaged ({error})")
        return
    # `tarfile` takes a damaged header for the end; the true one is empty.
    with open(path, "rb") as file:
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            trouble.append(f"the header at byte {tar.offset} is damaged")


def _image_and_label(tar, sample, kinds, label_key):
    """Finds the image file of a sample, or `None`, and its label as text."""
    files = {
        kind: member
        for kind, member in sample.items()
        if isinstance(member, tarfile.TarInfo)
    }
    image = _of_kind(files, kinds)
    if image is None or label_key is None:
        return image, ""
    return image, _read_label(tar, files, label_key)


def _of_kind(files, kinds):
    """Finds the file whose extension comes first in `kinds`, or `None`."""
    last = {kind.rpartition(".")[2]: kind for kind in reversed(files)}
    for wanted in kinds:
        # `jpg` itself comes before `left.jpg`.
        found = wanted if wanted in files else last.get(wanted)
        if found is not None:
            return files[found]
    return None


def _read_label(tar, files, label_key):
    """Reads the label of a sample as text, empty where there is none."""
    member = _of_kind(files, ["cls"])
    if member is not None:
        return _read_text(tar, member).strip()
    member = _of_kind(files, ["json"])
    if member is None:
        return ""
    try:
        content = json.loads(_read_text(tar, member))
    except ValueError:
        return ""
    label = content.get(label_key) if isinstance(content, dict) else content
    is_label = isinstance(label, (int, str)) and not isinstance(label, bool)
    return str(label) if is_label else ""


def _read_text(tar, member):
    try:
        with tar.extractfile(member) as file:
            return file.read().decode("utf-8", "replace")
    except tarfile.TarError:
        # Cut off; the headers say so next.
        return ""
