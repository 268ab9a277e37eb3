"""Reading Keras's own files with care: `.keras` and the folders of presets.

Keras checks much itself (safe mode). What is added: nothing is allocated
before the sizes in the configuration are held against the weights, and
whatever goes wrong ends in one `ValueError`.
"""

import json
import math
import os
import shutil
import tempfile
import zipfile

import h5py
import keras

from keras_clmae.conversion.weight_files import MAX_JSON_BYTES
from keras_clmae.conversion.weight_files import one_error
from keras_clmae.conversion.weight_files import read_json

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_WEIGHTS = "model.weights.h5"


def load_keras_model(path):
    """Loads a model of this package from a file or a folder of its own.

    Args:
        path: path of a `.keras` file, or of a folder that `save_to_preset`
            wrote.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: if the file is missing, damaged, larger inside than outside,
            or does not hold a model of keras_clmae.
    """
    path = os.fspath(path)
    with one_error(path, "a model of keras_clmae, whole"):
        if os.path.isdir(path):
            config = read_json(os.path.join(path, "config.json"))
            weights = os.path.join(path, _WEIGHTS)
            _check_config(config, _check_h5(weights))
            model = keras.saving.deserialize_keras_object(config)
            model.load_weights(weights)
            return model
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, os.path.getsize(path))
            config = json.loads(archive.read("config.json"))
            with archive.open(_WEIGHTS) as member:
                # Seeking in a member reads it from the start each time.
                with tempfile.TemporaryFile() as weights:
                    shutil.copyfileobj(member, weights, 2**20)
                    _check_config(config, _check_h5(weights))
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def is_keras_clmae_folder(folder):
    """Whether a folder's config.json names a model of keras_clmae."""
    try:
        config = read_json(os.path.join(folder, "config.json"))
    except ValueError:
        return False
    return str(config.get("registered_name")).startswith("keras_clmae>")


def check_weight_file(path, table):
    """Refuses a .weights.h5 that cannot hold the arrays of a table.

    Raises:
        ValueError: if the file is damaged or too small.
    """
    with one_error(path, "the weights of the model in config.json"):
        needed = sum(
            math.prod(shape)
            for entry in table
            for shape in entry.theirs.values()
        )
        _check_room(needed, _check_h5(path))


def _check_archive(archive, file_size):
    members = archive.infolist()
    names = [member.filename for member in members]
    unknown = [name for name in names if name not in _MEMBERS]
    if unknown or len(set(names)) != len(names):
        raise ValueError(
            f"it has members unknown here: {(unknown or names)[:3]}"
        )
    for member in members:
        if member.file_size > file_size:
            raise ValueError(f"{member.filename!r} is larger than the file")
    if archive.getinfo("config.json").file_size > MAX_JSON_BYTES:
        raise ValueError("its config.json is too large")
    damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"its member {damaged!r} is damaged")


def _check_h5(file):
    """The number of values in a weights file, all of which are in it."""
    with h5py.File(file, "r") as content:
        return _num_values(content, set())


def _num_values(group, seen):
    total = 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"its {name!r} is a link")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        # Groups may contain one another: each is counted once.
        if address in seen:
            raise ValueError(f"its {name!r} is there twice")
        seen.add(address)
        if isinstance(item, h5py.Group):
            total += _num_values(item, seen)
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external or item.chunks:
                raise ValueError(f"its {name!r} is not plain")
            if item.size and item.id.get_storage_size() < item.nbytes:
                raise ValueError(f"its {name!r} is larger than the file")
            total += item.size
    return total


def _check_config(config, available):
    """Holds the sizes in a configuration against the weights there are."""
    if not str(config.get("registered_name")).startswith("keras_clmae>"):
        raise ValueError(
            f"it holds a {str(config.get('class_name'))[:50]}, which is none "
            "of keras_clmae's"
        )
    _check_room(_num_parameters(config), available)


def _check_room(needed, available):
    if needed > available:
        raise ValueError(
            f"its sizes ask for at least {needed} numbers, and there are "
            f"{available}"
        )


def _num_parameters(config, hidden_dim=0):
    """A lower bound of the parameters of all parts in a configuration.

    Args:
        config: what `json.load` gives.
        hidden_dim: int. Width of the model, for parts that do not tell theirs.
    """
    if isinstance(config, list):
        return sum(_num_parameters(item, hidden_dim) for item in config)
    if not isinstance(config, dict):
        return 0
    sizes = config.get("config")
    sizes = sizes if isinstance(sizes, dict) else {}
    # Models of ours hold parts of ours, or of a user's, and types of numbers;
    # nobody bounds the sizes of anything else.
    name = str(config.get("class_name"))
    if (
        str(config.get("module")).split(".")[0] == "keras"
        and "DTypePolicy" not in name
    ):
        raise ValueError(f"it holds a {name[:50]} of Keras")
    hidden_dim = hidden_dim or _hidden_dim(sizes)
    total = sum(_num_parameters(v, hidden_dim) for v in sizes.values())
    if str(config.get("registered_name")).startswith("keras_clmae>"):
        total += _own_parameters(sizes, hidden_dim)
    return total


def _hidden_dim(config):
    if not isinstance(config, dict):
        return 0
    found = config.get("hidden_dim")
    if type(found) is int:
        return found
    parts = (config.get(n) for n in ("config", "encoder", "autoencoder"))
    return max(_hidden_dim(part) for part in parts)


def _own_parameters(sizes, hidden_dim):
    def size(name):
        value = sizes.get(name)
        return max(value, 0) if type(value) is int else 0

    dim = size("hidden_dim") or hidden_dim
    total = size("num_layers") * dim * (4 * dim + 2 * size("mlp_dim"))
    total += dim * size("patch_dim") + dim * size("num_classes")
    image = sizes.get("image_shape")
    if isinstance(image, list) and len(image) == 3 and size("patch_size") > 0:
        height, width, channels = (max(int(side), 0) for side in image)
        patch = size("patch_size")
        total += dim * (channels * patch**2 + height * width // patch**2)
    return total
