"""Batch images that are already in memory, without TensorFlow."""

import threading

import keras
import numpy as np

from keras_clmae.data.sharding import EpochSampler


class ArrayDataset(keras.utils.PyDataset):
    """Batches of images held in NumPy arrays.

    `fit`, `evaluate` and `predict` take it directly on every backend. The
    order of the images in an epoch depends on `seed` and the number of the
    epoch only, so that a run that was cut short can be repeated exactly: see
    `set_epoch`. Each pass that `fit` begins advances the number by one; with
    `steps_per_epoch` a pass takes several of Keras's epochs.

    `fit` shuffles the order of the *batches* once more unless it is called
    with `shuffle=False`; pass that for an order that depends on nothing else.

    Args:
        images: array of shape `(num_examples, height, width, channels)`, or
            `(num_examples, height, width)` for gray images. Integers and
            floats are kept as they are.
        labels: array of shape `(num_examples, ...)`, or `None` for batches
            of images alone. Defaults to `None`.
        batch_size: int. Examples in a batch of this process.
            Defaults to `32`.
        shuffle: bool. Whether every epoch has an order of its own.
            Defaults to `True`.
        seed: int. Seed of the order. Defaults to `0`.
        drop_remainder: bool. Whether to leave out a last batch that is
            not full. Defaults to `False`.
        process_index: int or `None`. See `process_shard`.
        process_count: int or `None`. See `process_shard`.

    Attributes:
        num_examples: int. Examples of all processes together.
        steps_per_epoch: int. Batches that this process gives in an epoch.
        epoch: int. Number of the epoch that is being read.

    Raises:
        ValueError: If the images have another shape, there is not one label per
            image, or an argument of the order does not fit.

    Example:

    >>> images = np.zeros((10, 8, 8, 1), "float32")
    >>> dataset = ArrayDataset(images, batch_size=4)
    >>> [batch.shape[0] for batch in dataset]
    [4, 4, 2]
    """

    def __init__(
        self,
        images,
        labels=None,
        batch_size=32,
        shuffle=True,
        seed=0,
        drop_remainder=False,
        process_index=None,
        process_count=None,
    ):
        super().__init__(workers=1)
        images = np.asarray(images)
        if images.ndim == 3:
            images = images[..., np.newaxis]
        if images.ndim != 4 or not len(images):
            raise ValueError(
                "`images` must be an array of shape (num_examples, "
                "height, width, channels) with at least one example. "
                f"Received: shape {images.shape}"
            )
        if labels is not None:
            labels = np.asarray(labels)
            if len(labels) != len(images):
                raise ValueError(
                    "`labels` must have one label per image, "
                    f"expected {len(images)}. Received: {len(labels)}"
                )
        self.images = images
        self.labels = labels
        self._sampler = EpochSampler(
            len(images),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
            process_index=process_index,
            process_count=process_count,
        )
        self.batch_size = self._sampler.batch_size
        self.num_examples = len(images)
        self.steps_per_epoch = self._sampler.steps_per_epoch
        # Keras may read ahead, in a thread of its own.
        self._lock = threading.Lock()
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Chooses the epoch that is read next.

        Args:
            epoch: int. The number of the epoch, 0 first.
        """
        self._sampler.set_epoch(epoch)
        self.epoch = self._sampler.epoch
        self._order = self._sampler.order(self.epoch)
        # Batches of the pass that are still to come; none has begun.
        self._pending = set()

    def on_epoch_begin(self):
        with self._lock:
            # With `steps_per_epoch`, Keras goes on with the same pass.
            if not self._pending:
                self.epoch = self._sampler.next_epoch()
                self._order = self._sampler.order(self.epoch)
                self._pending = set(range(len(self)))

    def skip_batches(self, count):
        """Counts the first batches of the pass that has begun as read.

        Args:
            count: int. 0 or more.
        """
        with self._lock:
            self._pending.difference_update(range(count))

    def __len__(self):
        return self.steps_per_epoch

    def __getitem__(self, index):
        chosen = self._choose(index)
        if self.labels is None:
            return self.images[chosen]
        return self.images[chosen], self.labels[chosen]

    def _choose(self, index):
        """Gives the numbers of a batch's examples, and counts it as read."""
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)}")
        start = index * self.batch_size
        with self._lock:
            self._pending.discard(index)
            return self._order[start : start + self.batch_size]
