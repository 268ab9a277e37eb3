"""Find how the images that weights were trained on were standardized."""

import json
import os

from keras_clmae import data
from keras_clmae.data.normalization import imagenet_normalization
from keras_clmae.runs.folder import folder_of
from keras_clmae.runs.yaml_files import read_yaml

# Of Hugging Face's image processors.
_PROCESSOR = "preprocessor_config.json"


def source_normalization(source, channels):
    """Finds the normalization of a model's images.

    Args:
        source: str. A run folder, or a file in one, has it in a file or, where
            the run is older, tells by its data; a folder of Hugging Face, or
            an `hf://` name, has it in the configuration of the processor.
        channels: int. Of the model's images.

    Returns:
        A `PixelNormalization`, or `None` where nothing tells.
    """
    folder = folder_of(source)
    stored = folder.read_normalization()
    if stored is not None:
        return stored
    processor = _read_processor(source, folder)
    if "image_mean" in processor and "image_std" in processor:
        return data.PixelNormalization(
            processor["image_mean"], processor["image_std"]
        )
    if not folder.has_run():
        return None
    settings = read_yaml(folder.config)
    if settings.get("data") == "digits":
        return data.digits_normalization()
    # Runs that do not say otherwise had the default of all images.
    is_default = settings.get("statistics", "imagenet") == "imagenet"
    if "data" in settings and is_default and channels in (1, 3):
        return imagenet_normalization(channels)
    return None


def _read_processor(source, folder):
    """Reads the configuration of an image processor; `{}` without one."""
    path = folder.join(_PROCESSOR)
    if source.startswith("hf://"):
        path = _download_processor(source)
    if path is None or not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    return content if isinstance(content, dict) else {}


def _download_processor(handle):
    from huggingface_hub import errors
    from huggingface_hub import hf_hub_download

    name, _, revision = handle.removeprefix("hf://").partition("@")
    try:
        return hf_hub_download(name, _PROCESSOR, revision=revision or None)
    except errors.LocalEntryNotFoundError:
        # The hub cannot be asked: not the same as that it has none.
        raise
    except errors.EntryNotFoundError:
        return None
