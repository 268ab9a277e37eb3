"""Find and write the pretrained weights that come with the package."""

import json
import os

import h5py

from keras_clmae.saving.model_cards import CARD
from keras_clmae.saving.model_cards import sha256_of
from keras_clmae.saving.preset_files import write_preset

FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "pretrained")
WEIGHTS = "model.weights.h5"


def pretrained_names(prefix):
    """Lists the names of the pretrained models of one class.

    Args:
        prefix: str. `"clmae_"` or `"mae_"` for whole models, `"vit_"` for the
            encoder of each.

    Returns:
        A list of str, such as `"clmae_micro_patch4_32_cifar10"` or
        `"vit_micro_patch4_32_cifar10_clmae"`.

    Example:

    >>> names = keras_clmae.saving.pretrained_names("vit_")
    >>> all(name.startswith("vit_") for name in names)
    True
    """
    if prefix == "vit_":
        return [
            f"vit_{rest}_{method}"
            for method, _, rest in (name.partition("_") for name in _stored())
        ]
    return [name for name in _stored() if name.startswith(prefix)]


def find_pretrained(name):
    """Finds the folder of a pretrained model.

    Args:
        name: str. As `pretrained_names` lists it.

    Returns:
        The path of a preset's folder, or `None` if the name is none of them.
    """
    if name.startswith("vit_"):
        rest, _, method = name.removeprefix("vit_").rpartition("_")
        name = f"{method}_{rest}"
    if name not in _stored():
        return None
    return os.path.join(FOLDER, name)


def write_pretrained(model, card, folder):
    """Writes a preset with its floats in float16, and its model card.

    Args:
        model: model of keras_clmae.
        card: dict. What the card says, without the SHA-256 of the weights.
        folder: str. An empty folder, as `atomic_folder` yields it.
    """
    write_preset(model, folder)
    weights = os.path.join(folder, WEIGHTS)
    _halve(weights)
    card = {**card, "sha256": sha256_of(weights)}
    with open(os.path.join(folder, CARD), "w", encoding="utf-8") as file:
        json.dump(card, file, indent=2)
        file.write("\n")


def _stored():
    if not os.path.isdir(FOLDER):
        return []
    return sorted(entry.name for entry in os.scandir(FOLDER) if entry.is_dir())


def _halve(path):
    """Stores the floats of a weights file in float16."""
    with h5py.File(path, "r") as old, h5py.File(path + ".half", "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                # Not the whole numbers of a generator's state.
                is_float = item.dtype.kind == "f"
                new[name] = item[()].astype("float16") if is_float else item[()]
            else:
                new.require_group(name)
            for key, value in item.attrs.items():
                new[name].attrs[key] = value

        old.visititems(copy)
    os.replace(path + ".half", path)
