"""Find how the images that weights were trained on were standardized."""

import os

from keras_clmae import data
from keras_clmae.conversion.image_processor import FILE_NAME
from keras_clmae.conversion.image_processor import read_image_processor
from keras_clmae.data.normalization import imagenet_normalization
from keras_clmae.runs.folder import folder_of
from keras_clmae.runs.yaml_files import read_yaml


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
    stored = _of_huggingface(source, folder)
    if stored is not None:
        return stored
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


def _of_huggingface(source, folder):
    """Reads the normalization of an image processor; `None` without one."""
    if not source.startswith("hf://"):
        return read_image_processor(folder.path)
    path = _download_processor(source)
    return None if path is None else read_image_processor(os.path.dirname(path))


def _download_processor(handle):
    from huggingface_hub import errors
    from huggingface_hub import hf_hub_download

    name, _, revision = handle.removeprefix("hf://").partition("@")
    try:
        return hf_hub_download(name, FILE_NAME, revision=revision or None)
    except errors.LocalEntryNotFoundError:
        # The hub cannot be asked: not the same as that it has none.
        raise
    except errors.EntryNotFoundError:
        return None
