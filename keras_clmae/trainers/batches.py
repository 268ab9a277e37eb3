"""Take the images out of what `fit` is given."""

import warnings

import keras
import numpy as np

from keras_clmae.batches import unpack_batch

# Normalized pixels stay far below.
_LARGEST_NORMALIZED = 50.0
# Images looked at.
_SAMPLE = 16
# A mean squared error: near 1 for normalized images, near 10,000 for raw ones.
_LARGEST_LOSS = 500.0


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
        ValueError: If `sample_weight` or `class_weight` is there, or
            `validation_data` brings sample weights.
    """
    for name in ("sample_weight", "class_weight"):
        if arguments.get(name) is not None:
            raise ValueError(
                f"`{name}` must be left out: every image counts alike, and "
                f"labels are ignored. Received: {name} of type "
                f"{type(arguments[name]).__name__}"
            )
    validation = arguments.get("validation_data")
    if isinstance(validation, tuple) and len(validation) > 2:
        raise ValueError(
            "`validation_data` must be images, or images with labels: every "
            "image counts alike. Received: a tuple with sample weights"
        )


def watch_for_raw_pixels(x):
    """Warns once where images are floats of 0 to 255.

    Of data sets that `warn_of_raw_pixels` passes over, the loss of the first
    step tells.

    Args:
        x: arrays or a data set, as `fit` takes them.

    Returns:
        list of callbacks that `fit` needs for it.
    """
    return [] if warn_of_raw_pixels(x) else [_FirstLoss()]


def warn_of_raw_pixels(x):
    """Warns where arrays of images are floats of 0 to 255.

    Arrays and `keras.utils.PyDataset`s are looked at. Of other data sets
    reading a batch may take long, or use it up.

    Args:
        x: arrays or a data set, as `fit` takes them.

    Returns:
        bool. Whether the images are known now.

    Example:

    >>> from keras_clmae.trainers.batches import warn_of_raw_pixels
    >>> warn_of_raw_pixels(np.zeros((2, 8, 8, 1), "float32"))
    True
    """
    if hasattr(x, "normalization"):
        return True
    if isinstance(x, keras.utils.PyDataset):
        if len(x) == 0:
            return True
        x, _ = unpack_batch(x[0])
    elif isinstance(x, dict | tuple):
        x, _ = unpack_batch(x)
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return False
    if "float" in str(x.dtype):
        sample = keras.ops.convert_to_numpy(x[:_SAMPLE]).astype("float32")
        largest = float(np.abs(sample).max()) if sample.size else 0.0
        if largest > _LARGEST_NORMALIZED:
            _warn(f"their pixels reach {largest:.6g}")
    return True


class _FirstLoss(keras.callbacks.Callback):
    """Warns where the loss of the first step is that of raw pixels."""

    def __init__(self):
        super().__init__()
        self._seen = False

    def on_train_batch_end(self, batch, logs=None):
        if self._seen:
            return
        self._seen = True
        loss = float((logs or {}).get("loss", 0.0))
        if loss > _LARGEST_LOSS:
            _warn(f"the loss of the first step is {loss:.6g}")


def _warn(reason):
    warnings.warn(
        f"The images do not look normalized: {reason}. Bring them near 0 with "
        "a standard deviation near 1, for instance by `images / 127.5 - 1`.",
        stacklevel=4,
    )


def reads_within_step():
    """Tells whether the compiled step takes its batch from the data itself.

    Returns:
        bool. `True` on TensorFlow: nothing can time the reading from outside.
    """
    return keras.config.backend() == "tensorflow"
