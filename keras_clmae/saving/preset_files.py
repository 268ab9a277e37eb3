"""Write and read the three files of a preset."""

import json
import os

import keras

from keras_clmae.saving.keras_files import check_parts
from keras_clmae.saving.weight_files import read_json
from keras_clmae.version import __version__


def write_preset(model, folder):
    """Writes config.json, metadata.json and model.weights.h5 into a folder.

    Args:
        model: model of keras_clmae.
        folder: str. An empty folder, as `atomic_folder` yields it.

    Raises:
        ValueError: If `load_keras_model` would refuse a part of the model.
    """
    config = keras.saving.serialize_keras_object(model)
    # How it was trained is not part of what it is.
    config.pop("compile_config", None)
    try:
        check_parts(config)
    except ValueError as error:
        raise ValueError(
            "A preset must be a model of keras_clmae whose parts are of "
            "keras_clmae or registered classes of your own, with no layers "
            "of Keras in their configuration: the sizes of others cannot "
            f"be checked when it is read. Received: {model!r} ({error})"
        ) from None
    metadata = {
        "keras_clmae_version": __version__,
        "keras_version": keras.__version__,
        "parameter_count": model.count_params(),
    }
    for name, content in (("config", config), ("metadata", metadata)):
        path = os.path.join(folder, f"{name}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
    model.save_weights(os.path.join(folder, "model.weights.h5"))


def read_preset_config(folder):
    """Reads the config.json of a preset.

    Args:
        folder: str. A folder that `save_to_preset` wrote.

    Returns:
        A dict; `class_name` is the class of the model.

    Raises:
        ValueError: If there is none.
    """
    path = os.path.join(folder, "config.json")
    if not os.path.isfile(path):
        raise ValueError(
            "`preset` must be a folder with a config.json. "
            f"Received: preset={folder!r}"
        )
    return read_json(path)
