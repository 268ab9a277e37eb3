"""Run a model over a data set, batch by batch, in the data set's order."""

import itertools

import keras
import numpy as np
from keras import ops

from keras_clmae.batches import unpack_batch

# Keras reads the first batches before it begins (TensorFlow takes their shapes
# from two), and then once more.
_READ_TWICE = 4


def predict_dataset(model, dataset, batch_size=256, verbose="auto"):
    """Computes the outputs of a model for a data set, and takes its labels.

    Args:
        model: Keras model from images to one tensor.
        dataset: As in `extract_features`.
        batch_size: int. Images per batch where arrays are given. Defaults
            to 256.
        verbose: `"auto"`, 0, 1 or 2, as in `keras.Model.predict`.

    Returns:
        A pair of arrays, in the order of the data set: outputs, and labels or
        `None`.

    Raises:
        ValueError: As `iterate_batches`.
    """
    size = None
    rows = []
    labels = []
    end = 0

    def padded_batches():
        nonlocal size, end
        for images, batch_labels in iterate_batches(dataset, batch_size):
            # Every batch gets the first one's size, a larger one a multiple of
            # it, so that few programs are compiled and several devices get
            # equal shares.
            size = size or len(images)
            padded = _pad(images, size)
            rows.append(np.arange(end, end + len(images)))
            end += len(padded)
            if batch_labels is not None:
                labels.append(batch_labels)
            yield padded

    outputs = predict_batches(
        model, padded_batches(), count_batches(dataset, batch_size), verbose
    )
    outputs = outputs[np.concatenate(rows)]
    return outputs, np.concatenate(labels) if labels else None


def predict_stream(model, dataset, batch_size=256):
    """Outputs of a model for a data set, batch by batch; none is kept.

    Args:
        model: Keras model from images to one tensor.
        dataset: As in `extract_features`.
        batch_size: int. Images per batch where arrays are given. Defaults
            to 256.

    Yields:
        Triples of arrays `(images, outputs, labels)`, of one batch each, in
        the order of the data set; labels are `None` where there are none.

    Raises:
        ValueError: As `iterate_batches`.
    """
    size = None
    for images, labels in iterate_batches(dataset, batch_size):
        # One program for all batches, as in `predict_dataset`.
        size = size or len(images)
        outputs = model.predict_on_batch(_pad(images, size))
        yield images, np.asarray(outputs)[: len(images)], labels


def _pad(images, size):
    """Appends zeros up to a multiple of `size` images."""
    widths = [(0, -len(images) % size)] + [(0, 0)] * (images.ndim - 1)
    return np.pad(images, widths)


def predict_batches(model, batches, num_batches=None, verbose="auto"):
    """Computes the outputs of a model for a stream that is read once.

    Nothing of the stream stays in memory afterwards. `keras.Model.predict`
    of a generator keeps its first two batches for ever on TensorFlow.

    Args:
        model: Keras model.
        batches: iterator of arrays, the images of one batch each.
        num_batches: int. How many there are, if that is known: they are
            then read ahead while the model computes. If the stream ends
            before, zeros fill the places of the rest. Defaults to `None`.
        verbose: `"auto"`, 0, 1 or 2, as in `keras.Model.predict`.

    Returns:
        What `model.predict` returns.
    """
    if num_batches is not None:
        stream = _BatchStream(batches, num_batches)
        try:
            return model.predict(stream, verbose=verbose)
        finally:
            stream.close()
    outputs = [
        model.predict(images, batch_size=len(images), verbose=0)
        for images in batches
    ]
    return keras.tree.map_structure(
        lambda *parts: np.concatenate(parts), *outputs
    )


class _BatchStream(keras.utils.PyDataset):
    """A stream of batches for one `predict`, which asks in order."""

    def __init__(self, batches, num_batches):
        super().__init__(workers=1)
        # An empty data set shows here, and not in a thread of TensorFlow.
        first = next(batches)
        self.batches = itertools.chain([first], batches)
        self.count = num_batches
        self.held = {}
        self.position = 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        while self.position <= index:
            images = next(self.batches, None)
            if images is None:
                images = np.zeros_like(self.held[self.position - 1])
            self.held[self.position] = images
            self.position += 1
            if self.position > _READ_TWICE:
                self.held = {self.position - 1: images}
        return (self.held[index],)

    def close(self):
        # TensorFlow holds the object itself for ever.
        self.batches = iter(())
        self.held = {}


def iterate_batches(dataset, batch_size):
    """Yields the batches of a data set as NumPy arrays.

    Args:
        dataset: As in `extract_features`.
        batch_size: int. Images per batch where arrays are given.

    Yields:
        Pairs `(images, labels)`; labels are `None` where there are none.

    Raises:
        ValueError: If there is not one image, the images of a batch are not of
            shape (batch, height, width, channels), or a batch has more or
            fewer labels than images.

    Example:

    >>> images = np.zeros((5, 8, 8, 1), "float32")
    >>> batches = keras_clmae.evaluation.iterate_batches(images, batch_size=2)
    >>> [len(batch) for batch, labels in batches]
    [2, 2, 1]
    """
    empty = True
    for batch in _raw_batches(dataset, batch_size):
        images, labels = unpack_batch(batch)
        images = ops.convert_to_numpy(images)
        if images.ndim != 4:
            raise ValueError(
                "`dataset` must give batches of images, of shape (batch, "
                "height, width, channels). Received: an array of shape "
                f"{images.shape}"
            )
        if len(images):
            empty = False
            if labels is not None:
                labels = ops.convert_to_numpy(labels)
                _check_lengths(images, labels)
            yield images, labels
    if empty:
        raise ValueError(
            "`dataset` must hold at least one image. Received: "
            f"dataset={dataset}"
        )


def count_batches(dataset, batch_size):
    """Counts the batches of a data set; `None` where it does not say.

    Returns:
        int or `None`.
    """
    if _is_arrays(dataset):
        return -(-len(unpack_batch(dataset)[0]) // batch_size)
    if getattr(dataset, "steps_per_epoch", None):
        return dataset.steps_per_epoch
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    if hasattr(dataset, "cardinality"):
        cardinality = int(dataset.cardinality())
        return cardinality if cardinality >= 0 else None
    return None


def known_num_batches(train_dataset, batch_size):
    """Counts the batches of an epoch, and refuses a data set without a length.

    Args:
        train_dataset: data set, as in `extract_features`.
        batch_size: int. Images per batch where arrays are given.

    Returns:
        int.

    Raises:
        ValueError: If the data set does not know its number of batches.
    """
    num_batches = count_batches(train_dataset, batch_size)
    if num_batches is None:
        raise ValueError(
            "`train_dataset` must know its number of batches. "
            f"Received: train_dataset={train_dataset}"
        )
    return num_batches


def _is_arrays(dataset):
    """Tells whether these are arrays of images, not batches."""
    if _is_list_of_batches(dataset):
        return False
    if isinstance(dataset, dict):
        return hasattr(unpack_batch(dataset)[0], "shape")
    first = dataset[:1] if isinstance(dataset, tuple | list) else [dataset]
    return bool(first) and hasattr(first[0], "shape")


def _is_list_of_batches(dataset):
    """Tells whether this is a list of batches, not `[images, labels]`."""
    if not isinstance(dataset, list) or len(dataset) < 2:
        return False
    shapes = [tuple(getattr(each, "shape", ())) for each in dataset]
    return len(shapes[0]) > 2 and all(
        shape[1:] == shapes[0][1:] for shape in shapes
    )


def _check_lengths(images, labels):
    if labels.ndim == 0 or len(labels) != len(images):
        raise ValueError(
            "`dataset` must give as many labels as images: arrays `images`, "
            "`(images, labels)`, or batches of these. Received: images of "
            f"shape {images.shape} with labels of shape {labels.shape}"
        )


def _raw_batches(dataset, batch_size):
    if _is_arrays(dataset):
        images, labels = unpack_batch(dataset)
        if labels is not None:
            labels = np.asarray(labels)
            _check_lengths(images, labels)
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            yield images[rows], None if labels is None else labels[rows]
    elif isinstance(dataset, keras.utils.PyDataset) and dataset.num_batches:
        for index in range(dataset.num_batches):
            yield dataset[index]
    else:
        yield from dataset
