"""Load the images and masks that a segmentation needs."""

import os

from keras_clmae import data

# Of a folder of images with masks that has no splits.
_TEST_SHARE = 0.2


def load_pairs(settings, image_size):
    """Images with masks to train on and to score.

    Args:
        settings: `FineTuneSettings` that `settle` has seen.
        image_size: pair of int (height, width).

    Returns:
        A pair of data sets.
    """
    train_folders, test_folders = _folders(settings)
    common = _arguments(settings, image_size)
    if not os.path.isdir(train_folders[0]):
        return data.segmentation_folder(
            *_whole(settings),
            validation_split=_TEST_SHARE,
            subset="both",
            **common,
        )
    train = data.segmentation_folder(*train_folders, **common)
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
    # In a training order nothing is read yet but what is to be measured.
    return data.segmentation_folder(
        *folders, **split, **_arguments(settings, image_size)
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
