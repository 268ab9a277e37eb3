"""Choose a few images that stand for a whole data set."""

import keras
import numpy as np
from keras import ops

from keras_clmae.batches import unpack_batch


def example_images(dataset, count):
    """Takes images from evenly spaced places of a data set.

    In a folder that is read in a fixed order images lie class by class: the
    first ones show one class only. Of a data set in random order, and of one
    that is not of this package, the first images are taken. The number of the
    data set's epoch stays as it is.

    Args:
        dataset: data set of this package, or an iterable of batches of images,
            with or without labels.
        count: int.

    Returns:
        Array of shape `(images, height, width, channels)`, as the model sees
        them; fewer than `count` where the data set, or the first batch, has
        fewer.

    Example:

    >>> images = np.arange(10.0).reshape(10, 1, 1, 1)
    >>> dataset = keras_clmae.data.ArrayDataset(
    ...     images, batch_size=4, shuffle=False
    ... )
    >>> keras_clmae.data.example_images(dataset, 3).ravel().tolist()
    [1.0, 5.0, 8.0]
    """
    if isinstance(dataset, keras.utils.PyDataset) and dataset.num_batches:
        return _from_batches(dataset, count)
    if hasattr(dataset, "examples"):
        return np.concatenate(list(dataset.examples(count)))
    images, _ = unpack_batch(next(iter(dataset)))
    return np.asarray(images)[:count]


def spaced(total, count):
    """Computes evenly spaced places, each in the middle of its part.

    Args:
        total: int. Number of places.
        count: int. Number of them to choose, at most all.

    Returns:
        int array.

    Example:

    >>> from keras_clmae.data.examples import spaced
    >>> spaced(10, 3).tolist()
    [1, 5, 8]
    """
    count = min(count, total)
    return (2 * np.arange(count) + 1) * total // (2 * count)


def _from_batches(dataset, count):
    first, _ = unpack_batch(dataset[0])
    last, _ = unpack_batch(dataset[dataset.num_batches - 1])
    size = len(first)
    total = size * (dataset.num_batches - 1) + len(last)
    chosen = []
    for place in spaced(total, count):
        images, _ = unpack_batch(dataset[place // size])
        chosen.append(ops.convert_to_numpy(images[place % size]))
    return np.stack(chosen)
