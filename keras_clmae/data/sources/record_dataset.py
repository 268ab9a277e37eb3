"""Make batches of records: one pipeline for tables, shards and sequences."""

import numpy as np

from keras_clmae.data.decoding import ImageDecoder
from keras_clmae.data.fine_tuning import FineTuneTransform
from keras_clmae.data.fine_tuning import get_transform
from keras_clmae.data.listing import check_subset
from keras_clmae.data.listing import split_images
from keras_clmae.data.pipeline import get_normalization
from keras_clmae.data.pipeline import make_batches
from keras_clmae.data.pipeline import measure_statistics
from keras_clmae.data.sharding import EpochSampler
from keras_clmae.data.sources.record_source import RecordSource
from keras_clmae.data.sources.record_source import fitting_decoder
from keras_clmae.data.sources.record_source import without_damaged
from keras_clmae.data.sources.records import RecordList
from keras_clmae.data.sources.records import Records
from keras_clmae.data.sources.records import with_classes
from keras_clmae.data.sources.window_sampler import WindowSampler
from keras_clmae.optional_imports import require

# Where labels are wanted and the number of classes is not known.
_ANY_LABEL = 2**31


def record_dataset(
    records,
    image_size,
    batch_size,
    transform="pretrain",
    labels=False,
    channels=None,
    statistics="imagenet",
    validation_split=None,
    subset="training",
    num_classes=None,
    class_names=None,
    one_hot=False,
    shuffle=None,
    shuffle_window=10_000,
    seed=0,
    drop_remainder=None,
    cache=None,
    on_error="skip",
    process_index=None,
    process_count=None,
):
    """Makes batches of images that are read by number.

    `hf_dataset`, `webdataset` and `parquet_dataset` are this function with
    records of theirs. It takes every sequence of images, too: a list, a
    PyTorch `Dataset`, or an object of your own with `__len__` and
    `__getitem__`, which is called from several threads.

    Args:
        records: sequence of images, or of pairs of an image and an integer,
            its label. An image is the bytes of an image file, a path, a
            Pillow image, an array of shape `(height, width, channels)` of
            uint8, uint16 (65535 is white) or floats (1 is white), or a
            PyTorch tensor of shape `(channels, height, width)`.
        image_size: int, or pair of int (height, width).
        batch_size: int. Examples in a batch of this process.
        transform: See `image_folder`. Defaults to `"pretrain"`.
        labels: bool. Whether batches are `(images, labels)`. Records
            without a label are then skipped like damaged ones. Defaults to
            `False`.
        channels: See `image_folder`. Defaults to `None`.
        statistics: See `image_folder`. Defaults to `"imagenet"`.
        validation_split: float between 0 and 1. Share of the records that
            are for validation, or `None`. Which ones depends on `seed` and
            the names or numbers of the records only. Defaults to `None`.
        subset: See `image_folder`. Defaults to `"training"`.
        num_classes: int. Number of classes, or `None` for that of the
            source: its class names, or its largest label. Defaults to `None`.
        class_names: list of str. The classes in the order of their
            numbers, such as `class_names` of the training data, or `None` for
            those of the source. Defaults to `None`.
        one_hot: bool. Whether labels are one-hot floats, as they always
            are with `"fine_tune"`. Defaults to `False`.
        shuffle: bool, or `None` for `True` with a training transform.
            Defaults to `None`.
        shuffle_window: int. Records of shards and of parquet
            files that are shuffled together, see `WindowSampler`. Other
            records are shuffled all together. Defaults to `10_000`.
        seed: int. 0 or more. Defaults to `0`.
        drop_remainder: bool, or `None` for the value of `shuffle`.
            Defaults to `None`.
        cache: `"memory"` to keep the images (as stored) in memory once they
            are read, or `None`. Defaults to `None`.
        on_error: `"skip"` or `"raise"`, see `image_folder`. Defaults to
            `"skip"`.
        process_index: int or `None`. See `process_shard`.
        process_count: int or `None`. See `process_shard`.

    Returns:
        A `tf.data.Dataset`, as `image_folder` returns it; in place of
        `file_paths` it has `records`, whose `names` are those of the records
        in their order. A pair of such data sets for `subset="both"`.

    Raises:
        ValueError: If there are no records, none that can be read, or an
            argument cannot be used; each message names the argument.

    Example:

    >>> images = [np.full((8, 8, 1), n, "uint8") for n in range(10)]
    >>> dataset = keras_clmae.data.record_dataset(
    ...     images, image_size=8, batch_size=5
    ... )
    >>> dataset.steps_per_epoch
    2
    """
    require("tensorflow", "`record_dataset`")
    check_subset(subset, validation_split)
    if cache not in (None, "memory"):
        raise ValueError(
            f'`cache` must be "memory" or None. Received: cache={cache!r}'
        )
    if not isinstance(records, Records):
        records = Records(records)
    kept = None if cache is None else {}
    if not len(records):
        raise ValueError(
            "`records` must hold at least one image. "
            f"Received: {records.title!r}, which is empty"
        )
    transform = get_transform(transform, image_size, labels)
    mixes = isinstance(transform, FineTuneTransform)
    if labels:
        num_classes, class_names = _set_classes(
            records, num_classes, class_names, one_hot or mixes
        )
    label_limit = (num_classes or _ANY_LABEL) if labels else None
    everything = RecordList(records, np.arange(len(records)))
    splits = {"training": everything}
    if validation_split is not None:
        training, validation = split_images(everything, validation_split, seed)
        splits = {"training": training, "validation": validation}
    if channels is None:
        decoder = fitting_decoder(records)
    else:
        decoder = ImageDecoder(channels, convert=True)

    def measure():
        part = splits["training"]
        sampler = EpochSampler(
            len(part), 1, shuffle=False, process_index=0, process_count=1
        )
        source = RecordSource(part, decoder, sampler, None, kept)
        return measure_statistics(source, decoder, transform.image_size)

    normalization = get_normalization(statistics, decoder.channels, measure)

    def build(part, transform, shuffle, drop_remainder, one_hot):
        if shuffle is None:
            shuffle = transform.is_training
        if drop_remainder is None:
            drop_remainder = shuffle
        skipped = {}
        if not shuffle and on_error == "skip":
            part, skipped = without_damaged(part, decoder, label_limit, kept)
        arguments = {
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "drop_remainder": drop_remainder,
            "process_index": process_index,
            "process_count": process_count,
        }
        if part.group_sizes is None:
            sampler = EpochSampler(len(part), **arguments)
        else:
            sampler = WindowSampler(
                part.group_sizes, shuffle_window, **arguments
            )
        dataset = make_batches(
            RecordSource(part, decoder, sampler, label_limit, kept),
            sampler,
            transform,
            decoder,
            normalization,
            labels=labels,
            one_hot=one_hot,
            num_classes=num_classes,
            on_error=on_error,
        )
        dataset.class_names = class_names
        dataset.labels = part.labels
        dataset.records = part
        if not shuffle:
            dataset.names = part.names
        dataset.skipped = skipped or dataset.skipped
        return dataset

    if subset != "both":
        return build(
            splits[subset], transform, shuffle, drop_remainder, one_hot
        )
    evaluation = get_transform("evaluation", transform.image_size, labels)
    # Fine-tuning trains on one-hot labels, and so is validated on them.
    return (
        build(splits["training"], transform, shuffle, drop_remainder, one_hot),
        build(splits["validation"], evaluation, False, False, one_hot or mixes),
    )


def _set_classes(records, num_classes, class_names, needs_number):
    """Settles the classes; numbers the labels by `class_names`, if given."""
    if records.labels is None:
        found = None
    elif class_names is not None:
        records.labels = with_classes(records, class_names)
        records.class_names = list(class_names)
        found = len(class_names)
    elif records.class_names is not None:
        found = len(records.class_names)
    else:
        found = int(records.labels.max()) + 1
    if found == 0:
        raise ValueError(
            "`labels` must be False for records without labels. "
            f"Received: labels=True, and {records.title!r}"
        )
    if num_classes is not None and (found or 0) > num_classes:
        raise ValueError(
            "`num_classes` must be at least the number of classes of the "
            f"records. Received: num_classes={num_classes}, and "
            f"{records.title!r} with {found} classes"
        )
    if num_classes is None and found is None and needs_number:
        raise ValueError(
            "`num_classes` must be given for one-hot labels of records whose "
            "labels are not known beforehand. Received: num_classes=None, "
            f"for {records.title!r}"
        )
    return num_classes or found, records.class_names
