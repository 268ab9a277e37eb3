"""Load the images that an evaluation needs, as its settings say."""

import dataclasses

from keras_clmae import data
from keras_clmae import evaluation
from keras_clmae import models
from keras_clmae.data.pipeline import get_normalization
from keras_clmae.kernels.bfloat16 import settle_precision
from keras_clmae.runs.loading import source_arguments
from keras_clmae.runs.normalization import source_normalization
from keras_clmae.runs.segmentation_data import measure_pairs
from keras_clmae.runs.segmentation_data import with_fitting_batch


def settle(settings, encoder):
    """Fills in the options that are decided by encoder, run and data.

    Args:
        settings: as of `EvaluationSettings`, those that concern the data.
        encoder: `ViTEncoder`, or a model with its `image_shape`.

    Returns:
        A copy, whose `statistics` is a `PixelNormalization` (or `None` for the
        digits, which have their own).
    """
    if settings.data == "digits":
        if settings.statistics is not None:
            raise ValueError(
                "`statistics` must be left out with `data=digits`. Received: "
                f"statistics={settings.statistics!r}"
            )
        return settings
    channels = encoder.image_shape[-1]
    if settings.channels not in (None, channels):
        raise ValueError(
            f"`channels` must be the encoder's, {channels}. Received: "
            f"channels={settings.channels}"
        )
    if channels in (1, 3, 4):
        settings = dataclasses.replace(settings, channels=channels)
    statistics = settings.statistics
    if statistics is None:
        statistics = (
            source_normalization(settings.source, channels) or "imagenet"
        )
    if statistics == "from_data" and getattr(settings, "masks", None):
        normalization = measure_pairs(
            settings, image_shape(settings, encoder)[:2]
        )
    elif statistics == "from_data":
        # In a training order nothing is read yet but what is to be measured.
        train = load_split(settings, encoder, settings.train_split, "pretrain")
        normalization = train.normalization
    else:
        normalization = get_normalization(statistics, channels, None)
    return dataclasses.replace(settings, statistics=normalization)


def settle_precision_of(settings, encoder):
    """Decides in which precision an encoder is scored, and copies it to that.

    Args:
        settings: `EvaluationSettings`.
        encoder: `ViTEncoder`.

    Returns:
        A pair: the settings without `"auto"`, and the encoder.
    """
    precision = settle_precision(settings.precision)
    if precision is not None:
        encoder = models.copy_encoder(encoder, dtype=precision)
    return dataclasses.replace(settings, precision=precision), encoder


def load_split(settings, encoder, split, transform="evaluation", **arguments):
    """Labeled batches of a split, in the size of the encoder's images.

    Where a training split has fewer images than a batch, the batch is all of
    them.

    Args:
        settings: as `settle` has seen them.
        encoder: `ViTEncoder`.
        split: Name of the split.
        transform: As in `keras_clmae.data.load`; none for the digits.
        **arguments: further ones of `data.load`.

    Returns:
        Batches `(images, labels)`.
    """
    image_size = image_shape(settings, encoder)[:2]
    shuffle = transform != "evaluation"
    if settings.data != "digits":
        arguments = {"statistics": settings.statistics, **arguments}
        if not shuffle:
            transform = data.EvaluationTransform(
                image_size, settings.evaluation_crop
            )

    def load(batch_size):
        return data.load(
            settings.data,
            image_size=image_size,
            batch_size=batch_size,
            split=split,
            transform=transform,
            seed=settings.seed,
            shuffle=shuffle,
            **{"labels": True, **source_arguments(settings), **arguments},
        )

    return with_fitting_batch(load, settings.batch_size)


def load_test_split(settings, encoder, train):
    """The test split, with its classes numbered as in the training split.

    Args:
        settings: as `settle` has seen them.
        encoder: `ViTEncoder`.
        train: the training split.
    """
    arguments = {}
    if settings.data != "digits" and not settings.data.startswith("tfds:"):
        arguments["class_names"] = train.class_names
    return load_split(settings, encoder, settings.test_split, **arguments)


def count_classes(dataset):
    """Number of classes of a labeled data set."""
    if getattr(dataset, "class_names", None):
        return len(dataset.class_names)
    return int(dataset.labels.max()) + 1


def image_shape(settings, encoder):
    """(height, width, channels) of the images to be scored."""
    if settings.image_size is None:
        return encoder.image_shape
    return (settings.image_size, settings.image_size, encoder.image_shape[-1])


def extract_splits(settings, encoder, pooling):
    """Features and labels of the training and the test split, as four arrays.

    Args:
        settings: as `settle` has seen them.
        encoder: `ViTEncoder`.
        pooling: As in `extract_features`.
    """
    sized = models.copy_encoder(encoder, image_shape(settings, encoder))
    extractor = evaluation.FeatureExtractor(sized, pooling)
    train = load_split(settings, encoder, settings.train_split)
    test = load_test_split(settings, encoder, train)
    arrays = []
    for split in (train, test):
        arrays += extractor.extract(split, verbose=settings.verbose)
    return arrays
