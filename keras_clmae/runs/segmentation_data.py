"""Load the images and masks that a segmentation needs."""

import os

from keras_clmae import data
from keras_clmae.data.sharding import BatchTooLargeError

# Of a folder of images with masks that has no splits.
_TEST_SHARE = 0.2


def with_fitting_batch(load, batch_size):
    """Loads a data set with a batch that its images can fill.

    Args:
        load: function of a batch size.
        batch_size: int. The batch to begin with.

    Returns:
        What `load` returns, for the largest batch up to `batch_size`.
    """
    try:
        return load(batch_size)
    except BatchTooLargeError as error:
        return load(error.most)


def load_pairs(settings, image_size):
    """Images with masks to train on and to score.

    Where there are fewer to train on than a batch, the batch is all of them.

    Args:
        settings: `FineTuneSettings` that `settle` has seen.
        image_size: pair of int (height, width).

    Returns:
        A pair of data sets.
    """
    train_folders, test_folders = _folders(settings)
    common = _arguments(settings, image_size)

    def load(*folders, **arguments):
        return with_fitting_batch(
            lambda batch_size: data.segmentation_folder(
                *folders, **{**common, "batch_size": batch_size}, **arguments
            ),
            settings.batch_size,
        )

    if not os.path.isdir(train_folders[0]):
        return load(
            *_whole(settings), validation_split=_TEST_SHARE, subset="both"
        )
    train = load(*train_folders)
    test = data.segmentation_folder(
        *test_folders,
        transform="evaluation",
        **{**common, "num_classes": train.num_classes},
    )
    return train, test


def measure_pairs(settings, image_size):
    """Measures the images to train on.

    Args:
        settings: `FineTuneSettings` with `statistics="from_data"`.
        image_size: pair of int (height, width).

    Returns:
        A `PixelNormalization`.
    """
    folders, _ = _folders(settings)
    split = {}
    if not os.path.isdir(folders[0]):
        folders, split = _whole(settings), {"validation_split": _TEST_SHARE}
    # In a training order nothing is read yet but what is to be measured, and
    # the size of a batch is of no account.
    arguments = {**_arguments(settings, image_size), "batch_size": 1}
    return data.segmentation_folder(
        *folders, **split, **arguments
    ).normalization


def _whole(settings):
    return settings.data.removeprefix("folder:"), settings.masks


def _folders(settings):
    """Folders of images and masks, for training and for the score."""
    return [
        [os.path.join(folder, split) for folder in _whole(settings)]
        for split in (settings.train_split, settings.test_split)
    ]


def _arguments(settings, image_size):
    return {
        "image_size": image_size,
        "batch_size": settings.batch_size,
        "channels": settings.channels,
        "statistics": settings.statistics,
        "seed": settings.seed,
        **settings.data_arguments,
    }
