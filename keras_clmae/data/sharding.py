"""Choose which examples this process reads, and in which order."""

import os

import keras
import numpy as np

from keras_clmae.distribution.plan import current_plan


def process_shard(process_index=None, process_count=None):
    """Finds the index of this process and the number of processes.

    In this order: the arguments; the environment variables `RANK` and
    `WORLD_SIZE` that `torchrun` sets, or else what
    `keras_clmae.distribution.setup` found, on the PyTorch backend; the process
    index of JAX, on the JAX backend. Otherwise the process is alone; so are
    several TensorFlow workers, each of which gets the whole data set here and
    whose strategy takes the worker's part of every batch. Under a
    `keras.distribution` that shards `tf.data` pipelines by itself
    (`auto_shard_dataset=True`), every process gets the whole data set here,
    and Keras takes each process's part of every batch.

    Args:
        process_index: int from 0 to `process_count - 1`, or `None` to
            look it up. Defaults to `None`.
        process_count: int, or `None` to look it up. Defaults to
            `None`. Give both or neither.

    Returns:
        A tuple of integers, `(process_index, process_count)`.

    Raises:
        ValueError: If only one of the two is given, or the index is out of
            range.

    Example:

    >>> process_shard(process_index=1, process_count=4)
    (1, 4)
    """
    if (process_index is None) != (process_count is None):
        raise ValueError(
            "`process_index` and `process_count` must be given "
            f"together. Received: process_index={process_index}, "
            f"process_count={process_count}"
        )
    if process_index is None:
        process_index, process_count = _detect()
    if process_count < 1 or not 0 <= process_index < process_count:
        raise ValueError(
            "`process_index` must be an integer from 0 to "
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
    if backend == "torch":
        return current_plan().process_index, current_plan().process_count
    if backend == "jax":
        import jax

        return jax.process_index(), jax.process_count()
    return 0, 1


class BatchTooLargeError(ValueError):
    """Error about a batch for which there are too few examples.

    Attributes:
        most: int. The largest batch that there can be, 1 or more.
    """

    def __init__(self, message, most):
        super().__init__(message)
        self.most = most


class EpochSampler:
    """Order of the examples of one process, epoch by epoch.

    Every process draws the same permutation from `seed` and the number of
    the epoch, and takes its own part of it, so that an epoch neither loses
    nor doubles an example. With `drop_remainder`, all processes make the
    same number of steps; the fewer than `batch_size * process_count`
    examples that are left over differ from epoch to epoch.

    Args:
        num_examples: int. Examples of all processes together.
        batch_size: int. Examples in a batch of this process.
        shuffle: bool. Whether every epoch has an order of its own.
        seed: int. Seed of the order.
        drop_remainder: bool. Whether to leave out a last batch that is
            not full.
        process_index: int or `None`. See `process_shard`.
        process_count: int or `None`. See `process_shard`.

    Attributes:
        examples_per_epoch: int. Examples of this process in an epoch.
        steps_per_epoch: int. Batches of this process in an epoch.
        epoch: int. Number of the epoch that `order` gives next.

    Raises:
        ValueError: If an argument is out of range, or there is not one batch to
            each epoch.

    Example:

    >>> sampler = EpochSampler(10, batch_size=4, shuffle=False)
    >>> sampler.steps_per_epoch
    3
    >>> sampler.order(epoch=0).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(
        self,
        num_examples,
        batch_size,
        shuffle=True,
        seed=0,
        drop_remainder=False,
        process_index=None,
        process_count=None,
    ):
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(
                "`batch_size` must be a positive integer. "
                f"Received: batch_size={batch_size}"
            )
        if int(seed) != seed or seed < 0:
            raise ValueError(
                f"`seed` must be a non-negative integer. Received: seed={seed}"
            )
        index, count = process_shard(process_index, process_count)
        share = num_examples // count
        if not drop_remainder:
            # The first processes take one more where the division leaves some.
            share += index < num_examples % count
        full, rest = divmod(share, batch_size)
        self.steps_per_epoch = full + (rest > 0 and not drop_remainder)
        self.examples_per_epoch = full * batch_size if drop_remainder else share
        if self.steps_per_epoch == 0:
            received = f"{num_examples} examples on {count} process(es)"
            if not share:
                raise ValueError(
                    "There must be an example for each process. Received: "
                    f"{received}"
                )
            # No advice: a command has no option to keep such a batch.
            raise BatchTooLargeError(
                f"`batch_size` must be at most {share}, as a last batch that "
                "is not full is left out. Received: "
                f"batch_size={batch_size} for {received}",
                most=share,
            )
        self.num_examples = num_examples
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.seed = int(seed)
        self.drop_remainder = drop_remainder
        self.process_index = index
        self.process_count = count
        self.epoch = 0

    def set_epoch(self, epoch):
        """Chooses the epoch that is read next.

        Args:
            epoch: int. The number of the epoch, 0 first.

        Raises:
            ValueError: If `epoch` is negative or no integer.
        """
        if int(epoch) != epoch or epoch < 0:
            raise ValueError(
                "`epoch` must be a non-negative integer. "
                f"Received: epoch={epoch}"
            )
        self.epoch = int(epoch)

    def next_epoch(self):
        """Starts the next epoch.

        Returns:
            int. The number of the epoch that starts.
        """
        epoch = self.epoch
        self.epoch += 1
        return epoch

    def order(self, epoch):
        """Gives the examples of one epoch.

        Args:
            epoch: int. 0 or more.

        Returns:
            An int64 array, the numbers of this process's examples. With
            `drop_remainder` it holds those of the dropped batch, too.
        """
        if self.shuffle:
            rng = np.random.default_rng((self.seed, int(epoch)))
            order = rng.permutation(self.num_examples)
        else:
            order = np.arange(self.num_examples)
        return order[self.process_index :: self.process_count]


def remaining_steps(dataset, steps):
    """Returns the rest of the next epoch after its first batches.

    For a run that was stopped in the middle of an epoch. A `tf.data` pipeline
    makes the skipped batches anew and drops them: their random draws, and
    images among them that cannot be read, decide about what follows.

    Args:
        dataset: data set of this package.
        steps: int. Finished steps of the epoch, fewer than it has.

    Returns:
        A data set for one epoch of `fit`.

    Raises:
        ValueError: If `steps` is negative, or the epoch has no more steps.

    Example:

    >>> dataset = keras_clmae.data.ArrayDataset(
    ...     np.zeros((10, 8, 8, 1)), batch_size=4
    ... )
    >>> len(keras_clmae.data.remaining_steps(dataset, 2))
    1
    """
    left = dataset.steps_per_epoch - steps
    if not 0 < left <= dataset.steps_per_epoch:
        raise ValueError(
            "`steps` must be an integer from 0 to the steps of an "
            f"epoch, {dataset.steps_per_epoch}, exclusive. "
            f"Received: steps={steps}"
        )
    if isinstance(dataset, keras.utils.PyDataset):
        return _Rest(dataset, steps)
    return dataset.skip(steps)


class _Rest(keras.utils.PyDataset):
    """Batches of another data set, from a given one on."""

    def __init__(self, dataset, start):
        super().__init__(workers=1)
        self.dataset = dataset
        self.start = start

    def __len__(self):
        return len(self.dataset) - self.start

    def __getitem__(self, index):
        return self.dataset[self.start + index]

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()
        if hasattr(self.dataset, "skip_batches"):
            self.dataset.skip_batches(self.start)
