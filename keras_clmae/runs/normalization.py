"""How the images that weights were trained on were standardised."""

import json
import os

import yaml

from keras_clmae import data
from keras_clmae.data.normalization import imagenet_normalization


def source_normalization(source, channels):
    """The normalization of what is at a path, or `None` where nobody knows.

    Args:
        source: path. A run folder, or a file in one, has normalization.json
            or, where the run is older, tells by its data; a folder of Hugging
            Face has preprocessor_config.json.
        channels: int. Of the model's images.

    Returns:
        A `PixelNormalization` or `None`.
    """
    folder = os.path.dirname(source) if os.path.isfile(source) else source
    found = _read(folder, "normalization.json")
    if "mean" in found and "std" in found:
        return data.PixelNormalization(found["mean"], found["std"])
    found = _read(folder, "preprocessor_config.json")
    if "image_mean" in found and "image_std" in found:
        return data.PixelNormalization(found["image_mean"], found["image_std"])
    settings = _read(folder, "config.yaml")
    if settings.get("data") == "digits":
        return data.digits_normalization()
    # Runs that do not say otherwise had the default of all pictures.
    is_default = settings.get("statistics", "imagenet") == "imagenet"
    if "data" in settings and is_default and channels in (1, 3):
        return imagenet_normalization(channels)
    return None


def _read(folder, name):
    """What a file in a folder holds, or an empty dict where there is none."""
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        content = (
            yaml.safe_load(file) if name.endswith("yaml") else json.load(file)
        )
    return content if isinstance(content, dict) else {}
