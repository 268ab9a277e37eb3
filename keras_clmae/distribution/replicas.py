"""Exchange values between the replicas of a train step.

A replica is a copy of the model that computes a part of every batch. On JAX the
batch is one array over all devices and the compiler does the rest: there is one
replica, and nothing here does anything. On TensorFlow (inside `Strategy.run`)
and PyTorch (inside a train step of several processes) there are several.
"""

import keras
from keras import ops

from keras_clmae.distribution import engine

num_replicas = engine.num_replicas


def uniform_rows(images, columns, seed):
    """Draws uniform numbers for the images of this replica.

    They are a part of what one device would draw for the whole batch, so that
    no two images get the same.

    Args:
        images: tensor of which only the batch size is read.
        columns: int. Draws for each image.
        seed: int or `keras.random.SeedGenerator`, the same on all replicas.

    Returns:
        float32 tensor of shape (batch, columns), in [0, 1).
    """
    shape = (ops.shape(images)[0] * num_replicas(), columns)
    draws = keras.random.uniform(shape, dtype="float32", seed=seed)
    return engine.own_rows(draws)


def order_by_share(images, share):
    """Puts the first `share` of the global batch first on every device.

    Each device takes an equal part of them, so that all have the same work;
    they are the images that one device would take first wherever `share` times
    the images of a replica is a whole number.

    Args:
        images: tensor of shape (images of this replica, ...).
        share: float in [0, 1).

    Returns:
        The images in the order to be trained on, and how many of them, from the
        first on, are the share: an integer, or a scalar tensor where the size
        of the batch is unknown. At least one image stays out of the share.
    """
    images, count = engine.order_by_share(images, share)
    if isinstance(count, int) and images.shape[0] is not None:
        return images, min(count, images.shape[0] - 1)
    return images, ops.minimum(count, ops.shape(images)[0] - 1)


def split_rows(values, count):
    """Splits off the first rows; deals both parts out to all devices.

    Args:
        values: tensor of shape (images of this replica, ...), in the order of
            `order_by_share`.
        count: int. Number of the first ones, as `order_by_share` gives it.

    Returns:
        Two tensors.

    Example:

    >>> first, rest = keras_clmae.distribution.replicas.split_rows(
    ...     keras.ops.arange(5), 2
    ... )
    >>> len(first), len(rest)
    (2, 3)
    """
    return (
        engine.spread_rows(values[:count]),
        engine.spread_rows(values[count:]),
    )


def global_batch(values):
    """Gathers the rows of all replicas, for losses that couple images.

    The convention of the gradients is that each replica computes the loss of
    the whole batch, and that the train step averages their gradients: so a row
    of its own has `num_replicas` times its gradient here, a foreign one none.

    Args:
        values: float tensor of shape (images of this replica, ...), with
            equally many images on each.

    Returns:
        Tensor of shape (images of all replicas, ...). `values` itself where the
        batch is one array: on JAX and on one device.

    Example:

    >>> keras_clmae.distribution.global_batch(keras.ops.zeros((2, 6))).shape
    (2, 6)
    """
    count = num_replicas()
    if count == 1:
        return values
    constant = ops.stop_gradient(values)
    everything = engine.gather_rows(constant)
    # Zeros, which only carry the gradient; in their place among the others.
    zeros = ops.expand_dims(values - constant, 0)
    place = ops.one_hot(engine.replica_index(), count, dtype=values.dtype)
    place = ops.reshape(place, (count,) + (1,) * len(values.shape))
    carrier = ops.reshape(zeros * place, ops.shape(everything))
    return everything + count * carrier
