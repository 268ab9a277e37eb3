"""Order records so that neighbors in a shard are read soon after each other."""

import numpy as np

from keras_clmae.data.sharding import EpochSampler


class WindowSampler(EpochSampler):
    """Order of an epoch that reads shards one after the other.

    The shards come in a random order, and the records are then shuffled
    within windows of `window` records, each of which spans several shards.
    Both depend on the seed and the number of the epoch only. A process takes
    a contiguous stretch of that order, so that it opens the shards of its own
    stretch and no others, and yet all processes make equally many steps. With
    a window of all records the order is a uniform permutation.

    Args:
        group_sizes: sequence of positive integers, records in each shard, or
            in whatever else is read as a whole.
        window: int. Records that are shuffled together.
        *arguments: See `EpochSampler`, from `batch_size` on.
        **keyword_arguments: See `EpochSampler`.

    Raises:
        ValueError: If `window` is not a positive integer, or `EpochSampler`
            refuses its arguments.

    Example:

    >>> sampler = WindowSampler([3, 3], window=3, batch_size=2)
    >>> sorted(sampler.order(epoch=0).tolist())
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, group_sizes, window, *arguments, **keyword_arguments):
        if int(window) != window or window < 1:
            raise ValueError(
                "`shuffle_window` must be a positive integer. "
                f"Received: shuffle_window={window}"
            )
        group_sizes = np.asarray(group_sizes, "int64")
        super().__init__(
            int(group_sizes.sum()), *arguments, **keyword_arguments
        )
        self._groups = np.split(
            np.arange(self.num_examples), np.cumsum(group_sizes)[:-1]
        )
        self.window = int(window)

    def order(self, epoch):
        """Gives the examples of one epoch.

        Args:
            epoch: int. 0 or more.

        Returns:
            An int64 array, the numbers of this process's examples.
        """
        if not self.shuffle:
            return super().order(epoch)
        rng = np.random.default_rng((self.seed, int(epoch)))
        groups = rng.permutation(len(self._groups))
        order = np.concatenate([self._groups[group] for group in groups])
        for start in range(0, len(order), self.window):
            rng.shuffle(order[start : start + self.window])
        return np.array_split(order, self.process_count)[self.process_index]
