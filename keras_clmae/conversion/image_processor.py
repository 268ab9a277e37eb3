"""Read and write the image processor of a Hugging Face folder."""

import os

import numpy as np

from keras_clmae.data.normalization import PixelNormalization
from keras_clmae.data.normalization import imagenet_normalization
from keras_clmae.saving.weight_files import read_json

FILE_NAME = "preprocessor_config.json"


def read_image_processor(folder):
    """Reads mean and standard deviation from preprocessor_config.json.

    Args:
        folder: str or path. A folder of Hugging Face.

    Returns:
        A `PixelNormalization`, or `None` where there is no image processor.

    Raises:
        ValueError: If the file is damaged, or its numbers fit no images.
    """
    path = os.path.join(folder, FILE_NAME)
    if not os.path.isfile(path):
        return None
    settings = read_json(path)
    try:
        return _normalization_of(settings)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`folder` must hold an image processor whose mean and standard "
            f"deviation fit images. Received: {path!r} ({error})"
        ) from None


def _normalization_of(settings):
    # Where the file is silent, the image processor does both.
    factor = 1.0
    if settings.get("do_rescale", True):
        factor = float(settings.get("rescale_factor", 1 / 255))
    mean, std = np.zeros(3), np.ones(3)
    if settings.get("do_normalize", True):
        # ViTImageProcessor's own numbers.
        mean = np.asarray(settings.get("image_mean", [0.5] * 3), "float64")
        std = np.asarray(settings.get("image_std", [0.5] * 3), "float64")
    # (pixel * factor - mean) / std, in units of white = 1.
    scale = 255 * factor
    return PixelNormalization(mean / scale, std / scale)


def image_processor_of(sizes, normalization):
    """Makes the content of preprocessor_config.json, or `None` if none fits.

    Args:
        sizes: `Sizes`.
        normalization: `PixelNormalization`, or `None` for ImageNet's.

    Returns:
        A dict, or `None`.

    Raises:
        ValueError: If `normalization` is for another number of channels.
    """
    height, width, channels = sizes.image_shape
    if normalization is None:
        if channels not in (1, 3):
            return None
        normalization = imagenet_normalization(channels)
    if normalization.channels != channels:
        raise ValueError(
            "`normalization` must be for the model's number of channels, "
            f"{channels}. Received: {normalization!r}"
        )
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        # Bicubic, by Pillow's number, as MAE evaluates.
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": _decimals(normalization.mean),
        "image_std": _decimals(normalization.std),
    }


def _decimals(numbers):
    # As they were typed: float32 has six decimals here.
    return [round(float(number), 6) for number in numbers]
