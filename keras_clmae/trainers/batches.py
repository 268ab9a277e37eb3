"""Take the images out of what `fit` is given."""

import warnings

import keras
import numpy as np

from keras_clmae.batches import unpack_batch

# Normalized pixels stay far below.
_LARGEST_NORMALIZED = 50.0
# Images looked at.
_SAMPLE = 16


def images_of(data):
    """Returns the images of a batch, and refuses sample weights.

    Args:
        data: batch as `unpack_batch` takes it, without sample weights. Labels
            are left aside.

    Returns:
        Tensor of images.

    Raises:
        ValueError: If there are sample weights, or a dict without images.

    Example:

    >>> batch = {"image": np.zeros((2, 8, 8, 1)), "label": np.zeros(2)}
    >>> keras_clmae.trainers.images_of(batch).shape
    (2, 8, 8, 1)
    """
    _, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if sample_weight is not None:
        raise ValueError(
            "`sample_weight` and `class_weight` have no meaning here: every "
            "image counts alike, and labels are ignored. Received: batches "
            "with sample weights"
        )
    images, _ = unpack_batch(data)
    return images


def check_fit_arguments(arguments):
    """Refuses the weights of `fit` before anything runs.

    Args:
        arguments: dict of keyword arguments of `fit` or `evaluate`.

    Raises:
        ValueError: If `sample_weight` or `class_weight` is there.
    """
    for name in ("sample_weight", "class_weight"):
        if arguments.get(name) is not None:
            raise ValueError(
                f"`{name}` must be left out: every image counts alike, and "
                f"labels are ignored. Received: {name} of type "
                f"{type(arguments[name]).__name__}"
            )


def warn_of_raw_pixels(x):
    """Warns once where images are floats of 0 to 255.

    Only arrays and `keras.utils.PyDataset`s are looked at: of other data sets
    reading a batch may take long, or use it up.

    Args:
        x: arrays or a data set, as `fit` takes them.
    """
    if isinstance(x, keras.utils.PyDataset):
        if hasattr(x, "normalization") or len(x) == 0:
            return
        x, _ = unpack_batch(x[0])
    elif isinstance(x, dict):
        x, _ = unpack_batch(x)
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return
    if "float" not in str(x.dtype):
        return
    sample = keras.ops.convert_to_numpy(x[:_SAMPLE]).astype("float32")
    largest = float(np.abs(sample).max()) if sample.size else 0.0
    if largest > _LARGEST_NORMALIZED:
        warnings.warn(
            "The images do not look normalized: their pixels reach "
            f"{largest:.6g}. Bring them near 0 with a standard deviation near "
            "1, for instance by `images / 127.5 - 1`.",
            stacklevel=3,
        )
