"""Read Keras's own files safely: `.keras` and the folders of presets.

Keras checks much itself (safe mode). What is added: nothing is allocated
before the sizes in the configuration are held against the weights, classes must
be registered already, so that no module is imported because a file says so, and
whatever goes wrong ends in one `ValueError`.
"""

import json
import math
import os
import shutil
import tempfile
import zipfile
from typing import NamedTuple

import h5py
import keras

from keras_clmae.saving.errors import one_error
from keras_clmae.saving.model_cards import check_weights
from keras_clmae.saving.weight_files import MAX_JSON_BYTES
from keras_clmae.saving.weight_files import read_json

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_WEIGHTS = "model.weights.h5"
_DTYPE_POLICIES = ("DTypePolicy", "DTypePolicyMap")


class _Room(NamedTuple):
    """Size of a file of weights, or of a configuration's weights."""

    numbers: int
    arrays: int


def load_keras_model(path, load_weights=True):
    """Loads a model of this package from its own file or folder.

    Args:
        path: str. Path of a `.keras` file, or of a folder that `save_to_preset`
            wrote.
        load_weights: bool. Whether the weights are loaded; the sizes must agree
            with them in any case. Defaults to `True`.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: If the file is missing, damaged, larger inside than outside,
            or does not hold a model of keras_clmae; or if the weights in a
            folder are not those of the model card there.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "encoder.keras")
    >>> encoder.save(path)
    >>> keras_clmae.saving.load_keras_model(path).num_layers
    2
    """
    path = os.fspath(path)
    if os.path.isdir(path) and load_weights:
        check_weights(os.path.join(path, _WEIGHTS))
    with one_error(path, "a model of keras_clmae, whole"):
        if os.path.isdir(path):
            config = read_json(os.path.join(path, "config.json"))
            weights = os.path.join(path, _WEIGHTS)
            _check_config(config, _check_h5(weights))
        else:
            weights = path
            with zipfile.ZipFile(path) as archive:
                _check_archive(archive, os.path.getsize(path))
                config = json.loads(archive.read("config.json"))
                with archive.open(_WEIGHTS) as member:
                    # Seeking in a member reads it from the start each time.
                    with tempfile.TemporaryFile() as content:
                        shutil.copyfileobj(member, content, 2**20)
                        _check_config(config, _check_h5(content))
        model = keras.saving.deserialize_keras_object(_constructed(config))
        if load_weights:
            model.load_weights(weights)
        return model


def is_keras_clmae_folder(folder):
    """Tells whether a folder's config.json names a model of keras_clmae."""
    try:
        config = read_json(os.path.join(folder, "config.json"))
    except ValueError:
        return False
    return str(config.get("registered_name")).startswith("keras_clmae>")


def check_parts(config):
    """Refuses a model that `load_keras_model` would refuse, with its parts.

    Args:
        config: dict, as `keras.saving.serialize_keras_object` gives it.

    Raises:
        ValueError: If the model or a part of it is neither of keras_clmae nor
            a registered class of a user's.
    """
    if not _is_ours(config):
        raise ValueError(
            f"it holds a {str(config.get('class_name'))[:50]}, which is none "
            "of keras_clmae's"
        )
    for part, _ in _nested_configs(config):
        name = str(part.get("class_name"))
        module = str(part.get("module")).split(".")[0]
        if module == "keras" and name in _DTYPE_POLICIES:
            continue
        # Nobody bounds the sizes of anything of Keras itself.
        if module == "keras":
            raise ValueError(f"it holds a {name[:50]} of Keras")
        registered_name = part.get("registered_name")
        if (
            not isinstance(registered_name, str)
            or keras.saving.get_registered_object(registered_name) is None
        ):
            raise ValueError(
                f"it holds a {name[:50]} that is not registered here, by "
                "keras.saving.register_keras_serializable"
            )


def check_weight_file(path, shapes_of_depth, num_layers):
    """Refuses a .weights.h5 that cannot hold the arrays of a model.

    Args:
        path: str.
        shapes_of_depth: callable. Maps a number of blocks to the list of the
            shapes of a model with as many.
        num_layers: int. Blocks of the model, however many.

    Raises:
        ValueError: If the file is damaged or too small.
    """
    with one_error(path, "the weights of the model in config.json"):
        # Counted, not listed: the number is only what the file says.
        one, two = (
            _Room(sum(map(math.prod, shapes)), len(shapes))
            for shapes in (shapes_of_depth(1), shapes_of_depth(2))
        )
        needed = _Room(
            *(
                a + (num_layers - 1) * (b - a)
                for a, b in zip(one, two, strict=True)
            )
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
    """Measures a weights file, and refuses links to other files."""
    with h5py.File(file, "r") as content:
        sizes = list(_sizes_in(content, set()))
    return _Room(sum(sizes), len(sizes))


def _sizes_in(group, seen):
    """Yields the number of values of each array."""
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
            yield from _sizes_in(item, seen)
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external or item.chunks:
                raise ValueError(f"its {name!r} is not plain")
            if item.size and item.id.get_storage_size() < item.nbytes:
                raise ValueError(f"its {name!r} is larger than the file")
            yield item.size


def _check_config(config, available):
    """Checks the sizes in a configuration against the weights."""
    check_parts(config)
    needed = [_own_room(part, dim) for part, dim in _nested_configs(config)]
    _check_room(_Room(*map(sum, zip(*needed, strict=True))), available)


def _check_room(needed, available):
    if needed.numbers > available.numbers or needed.arrays > available.arrays:
        raise ValueError(
            f"its sizes ask for at least {needed.numbers} numbers and "
            f"{needed.arrays} arrays, and there are {available.numbers} and "
            f"{available.arrays}"
        )


def _is_ours(config):
    return str(config.get("registered_name")).startswith("keras_clmae>")


def _constructed(config):
    """Reduces a configuration to the arguments of constructors.

    Models build themselves and their parts by the sizes that were checked;
    the shapes stored beside (`build_config`) would build parts of any size.
    """
    if isinstance(config, list):
        return [_constructed(item) for item in config]
    if not isinstance(config, dict):
        return config
    dropped = ("build_config", "compile_config") if _is_part(config) else ()
    return {
        name: _constructed(value)
        for name, value in config.items()
        if name not in dropped
    }


def _is_part(config):
    """Tells whether Keras makes an object of a dict."""
    return "class_name" in config and "config" in config


def _nested_configs(config, hidden_dim=0):
    """Yields the configuration of a model and of all its parts.

    Each comes with the width of the model, for parts that do not tell theirs.
    """
    if isinstance(config, list):
        for item in config:
            yield from _nested_configs(item, hidden_dim)
    if not isinstance(config, dict):
        return
    inner = config
    if _is_part(config):
        inner = config["config"] if isinstance(config["config"], dict) else {}
        hidden_dim = hidden_dim or _hidden_dim(inner)
        yield config, hidden_dim
    for value in inner.values():
        yield from _nested_configs(value, hidden_dim)


def _hidden_dim(config):
    if not isinstance(config, dict):
        return 0
    found = config.get("hidden_dim")
    if type(found) is int:
        return found
    parts = (config.get(n) for n in ("config", "encoder", "autoencoder"))
    return max(_hidden_dim(part) for part in parts)


def _own_room(part, hidden_dim):
    """Bounds from below what one part allocates, without its own parts."""
    sizes = part["config"]
    if not _is_ours(part) or not isinstance(sizes, dict):
        return _Room(0, 0)

    def size(name, default=0):
        value = sizes.get(name)
        return max(value, 0) if type(value) is int else default

    # A masking module may be narrower than the model.
    dim = size("hidden_dim") or size("width") or hidden_dim
    layers = size("num_layers")
    numbers = layers * dim * (4 * dim + 2 * size("mlp_dim", 4 * dim))
    # The head of a segmenter is as many times narrower.
    head_dim = dim >> min(size("num_upsampling_layers"), 64)
    numbers += dim * size("patch_dim") + head_dim * size("num_classes")
    image, patch = sizes.get("image_shape"), size("patch_size")
    if isinstance(image, list) and len(image) == 3 and patch > 0:
        height, width, channels = (max(int(side), 0) for side in image)
        numbers += dim * (channels * patch**2 + height * width // patch**2)
    grid = sizes.get("grid_size")
    if isinstance(grid, list):
        numbers += dim * math.prod(max(int(side), 0) for side in grid)
    # A block has twelve arrays.
    return _Room(numbers, 12 * layers)
