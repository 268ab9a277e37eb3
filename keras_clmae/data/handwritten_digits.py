"""Load the handwritten digits that come with scikit-learn."""

import numpy as np

from keras_clmae.data.arrays import ArrayDataset
from keras_clmae.data.normalization import PixelNormalization
from keras_clmae.optional_imports import require

_SPLITS = ("train", "test", "all")
_TEST_FRACTION = 0.2
_SPLIT_SEED = 0


def load_digits_arrays():
    """Loads the handwritten digits as arrays.

    1,797 scans of 8 by 8 pixels, in ten classes (E. Alpaydin and C. Kaynak,
    "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, the part that scikit-learn carries). A fifth of each
    class is the test split; which ones never changes.

    Returns:
        `(train_images, train_labels), (test_images, test_labels)`. Images are
        float32 arrays of shape `(num_examples, 8, 8, 1)`, shifted and scaled
        so that the pixels of the train split have mean 0 and standard
        deviation 1. Labels are int32 arrays of shape `(num_examples,)`.

    Raises:
        ImportError: If scikit-learn is not installed.

    Example:

    >>> (train_images, train_labels), _ = load_digits_arrays()
    >>> train_images.shape[1:]
    (8, 8, 1)
    """
    sklearn_datasets = require("sklearn.datasets", "`digits`")
    pixels, labels = sklearn_datasets.load_digits(return_X_y=True)
    # Scanned in 17 gray levels, 0 to 16.
    pixels = (pixels.reshape(-1, 8, 8, 1) * (255 / 16)).astype("float32")
    labels = labels.astype("int32")
    is_test = np.zeros(len(labels), bool)
    rng = np.random.default_rng(_SPLIT_SEED)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        is_test[members[: round(_TEST_FRACTION * len(members))]] = True
    train_pixels = pixels[~is_test]
    images = (pixels - train_pixels.mean()) / train_pixels.std()
    return (
        (images[~is_test], labels[~is_test]),
        (images[is_test], labels[is_test]),
    )


def digits_normalization():
    """Returns the normalization of the digits.

    Returns:
        A `PixelNormalization` of one channel.

    Example:

    >>> normalization = keras_clmae.data.digits_normalization()
    >>> (images, _), _ = keras_clmae.data.load_digits_arrays()
    >>> normalization.inverse(images).max()
    np.uint8(255)
    """
    (images, _), _ = load_digits_arrays()
    black = float(images.min())
    white = float(images.max())
    # Standardized = (pixel / 255 - mean) / std, solved at black and at white.
    std = 1 / (white - black)
    return PixelNormalization([-black * std], [std])


def digits(
    batch_size=64,
    split="train",
    labels=False,
    shuffle=None,
    seed=0,
    drop_remainder=None,
    process_index=None,
    process_count=None,
):
    """Makes batches of the handwritten digits. Needs no TensorFlow.

    Args:
        batch_size: int. Defaults to `64`.
        split: `"train"` (1,438 scans), `"test"` (359) or `"all"`. Defaults
            to `"train"`.
        labels: bool. Whether batches are `(images, labels)` and not
            images alone. Defaults to `False`.
        shuffle: bool. Whether every epoch has an order of its own, or
            `None` for `True` on all splits but `"test"`. Defaults to `None`.
        seed: int. Seed of the order. Defaults to `0`.
        drop_remainder: bool. Whether to leave out a last batch that is
            not full, or `None` for the value of `shuffle`. Defaults to
            `None`.
        process_index: int or `None`. See `process_shard`.
        process_count: int or `None`. See `process_shard`.

    Returns:
        An `ArrayDataset` with an attribute `normalization` whose `inverse`
        gives images to look at. Images have the shape
        `(batch_size, 8, 8, 1)`, see `load_digits_arrays`.

    Raises:
        ValueError: If `split` is unknown.

    Example:

    >>> images, labels = digits(batch_size=16, labels=True)[0]
    >>> images.shape
    (16, 8, 8, 1)
    """
    if split not in _SPLITS:
        raise ValueError(
            f"`split` must be one of {_SPLITS}. Received: split={split!r}"
        )
    train, test = load_digits_arrays()
    if split == "all":
        images, targets = (
            np.concatenate(parts) for parts in zip(train, test, strict=True)
        )
    else:
        images, targets = train if split == "train" else test
    if shuffle is None:
        shuffle = split != "test"
    dataset = ArrayDataset(
        images,
        targets if labels else None,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        drop_remainder=shuffle if drop_remainder is None else drop_remainder,
        process_index=process_index,
        process_count=process_count,
    )
    dataset.normalization = digits_normalization()
    return dataset
