"""Which part of a data set this process reads."""

import os

import keras


def process_shard(process_index=None, process_count=None):
    """Finds the index of this process and the number of processes.

    In this order: the arguments; the environment variables `RANK` and
    `WORLD_SIZE` that `torchrun` sets, on the PyTorch backend; the process
    index of JAX, on the JAX backend. Otherwise the process is alone. Under a
    `keras.distribution` that shards `tf.data` pipelines by itself
    (`auto_shard_dataset=True`), every process gets the whole data set here,
    and Keras takes each process's part of every batch.

    Args:
        process_index: Integer from 0 to `process_count - 1`, or `None` to
            look it up. Defaults to `None`.
        process_count: Positive integer, or `None` to look it up. Defaults to
            `None`. Give both or neither.

    Returns:
        A tuple of integers, `(process_index, process_count)`.

    Example:

    >>> process_shard(process_index=1, process_count=4)
    (1, 4)
    """
    if (process_index is None) != (process_count is None):
        raise ValueError(
            "Arguments `process_index` and `process_count` must be given "
            f"together. Received: process_index={process_index}, "
            f"process_count={process_count}"
        )
    if process_index is None:
        process_index, process_count = _detect()
    if process_count < 1 or not 0 <= process_index < process_count:
        raise ValueError(
            "Argument `process_index` must be an integer from 0 to "
            "`process_count - 1`. "
            f"Received: process_index={process_index}, "
            f"process_count={process_count}"
        )
    return int(process_index), int(process_count)


def _detect():
    distribution = keras.distribution.distribution()
    if getattr(distribution, "auto_shard_dataset", False) and getattr(
        distribution, "_is_multi_process", False
    ):
        return 0, 1
    backend = keras.backend.backend()
    if backend == "torch" and "WORLD_SIZE" in os.environ:
        return int(os.environ.get("RANK", 0)), int(os.environ["WORLD_SIZE"])
    if backend == "jax":
        import jax

        return jax.process_index(), jax.process_count()
    return 0, 1
