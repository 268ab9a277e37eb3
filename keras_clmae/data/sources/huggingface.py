"""Read the images of a Hugging Face data set."""

import os

import numpy as np

from keras_clmae.data.sources.columns import check_column
from keras_clmae.data.sources.columns import class_names_of
from keras_clmae.data.sources.columns import image_column as find_image
from keras_clmae.data.sources.columns import label_column as find_label
from keras_clmae.data.sources.columns import labels_of
from keras_clmae.data.sources.record_dataset import record_dataset
from keras_clmae.data.sources.records import Records
from keras_clmae.optional_imports import require

# What `save_to_disk` writes into the folder of one split, and of several.
_ONE_SPLIT = "state.json"
_SPLITS = "dataset_dict.json"


def hf_dataset(
    dataset,
    split,
    image_size,
    batch_size,
    config=None,
    image_column=None,
    label_column=None,
    labels=False,
    **arguments,
):
    """Makes batches of the images of a Hugging Face data set.

    Images are taken as they are stored and decoded here, so that the random
    crop decodes the window of a JPEG only. Each epoch of a training order is
    a permutation of the whole split: the Arrow files are mapped into memory,
    and their rows read in any order.

    Args:
        dataset: str. A name on the Hub or a folder, as
            `datasets.load_dataset` takes it; or a folder that `save_to_disk`
            has written, which needs no network; or a `datasets.Dataset` or
            `datasets.DatasetDict`, which may be sorted, filtered or selected
            from.
        split: str, such as `"train"` or `"train[:10%]"`. A `Dataset` is
            read whole, and so is a folder of one.
        image_size: int, or pair of int (height, width).
        batch_size: int. Examples in a batch of this process.
        config: str. The configuration of a data set that has several, or
            `None`. Defaults to `None`.
        image_column: str. The column of images, or `None` to find it: the
            one of type `datasets.Image`, or one called `image`, `img` or
            `pixel_values` that holds bytes or arrays. Defaults to `None`.
        label_column: str. The column of labels, integers or strings, or
            `None` to find it: the one of type `datasets.ClassLabel`, or one
            called `label`. Defaults to `None`.
        labels: bool. Whether batches are `(images, labels)`. Defaults to
            `False`.
        **arguments: Further arguments of `record_dataset`.

    Returns:
        See `record_dataset`.

    Raises:
        ImportError: If the package `datasets` is not installed.
        ValueError: If there is no such split, the column of images or labels
            cannot be found, or an argument cannot be used.

    Example:

    ```python
    dataset = keras_clmae.data.hf_dataset(
        "uoft-cs/cifar10", "train", image_size=32, batch_size=128
    )
    model.fit(dataset, epochs=100, shuffle=False)
    ```
    """
    table, title = _open(dataset, split, config)
    records = _HuggingFaceRecords(
        table, title, image_column, label_column, labels
    )
    return record_dataset(
        records, image_size, batch_size, labels=labels, **arguments
    )


class _HuggingFaceRecords(Records):
    """Rows of a `datasets.Dataset`."""

    def __init__(self, table, title, image_column, label_column, labels):
        datasets = require("datasets", "`hf_dataset`")
        schema = table.features.arrow_schema
        columns = table.column_names
        if image_column is None:
            image_column = find_image(schema, title, arrays=True)
        check_column(image_column, "image_column", title, columns)
        numbers, names = None, None
        if labels:
            if label_column is None:
                label_column = find_label(schema, title)
            check_column(label_column, "label_column", title, columns)
            numbers, names = labels_of(
                table.with_format("arrow").select_columns([label_column])[:][
                    label_column
                ]
            )
            names = class_names_of(schema).get(label_column, names)
        images = table.select_columns([image_column])
        if isinstance(images.features[image_column], datasets.Image):
            images = images.cast_column(
                image_column, datasets.Image(decode=False)
            ).with_format(None)
        elif _holds_files(images.features[image_column]):
            images = images.with_format(None)
        else:
            # Without a type, `datasets` makes int64 of all integers.
            images = images.with_format(
                "numpy", dtype=_pixel_type(images.features[image_column])
            )
        super().__init__(images, numbers, names)
        self.title = title
        self._column = image_column

    def image(self, number):
        return self.items[number][self._column]


def _holds_files(feature):
    """Tells whether a column holds bytes or paths of files."""
    if isinstance(feature, dict):
        return "bytes" in feature
    kinds = ("binary", "large_binary", "string", "large_string")
    return getattr(feature, "dtype", None) in kinds


def _pixel_type(feature):
    """Finds the type of the numbers in a column of arrays or nested lists."""
    leaf = feature
    while hasattr(leaf, "feature"):
        leaf = leaf.feature
    try:
        return np.dtype(leaf.dtype)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            "`image_column` must hold images, bytes or paths of image files, "
            f"or arrays. Received: a column of the type {feature}"
        ) from error


def _open(dataset, split, config):
    """Opens a split; returns a `datasets.Dataset` and its name for messages."""
    datasets = require("datasets", "`hf_dataset`")
    title = f"hf-dataset:{dataset}"
    if isinstance(dataset, (str, os.PathLike)):
        place = os.fspath(dataset)
        if os.path.exists(os.path.join(place, _ONE_SPLIT)) or os.path.exists(
            os.path.join(place, _SPLITS)
        ):
            dataset = datasets.load_from_disk(place)
        else:
            dataset = _load(place, config, split)
    else:
        title = type(dataset).__name__
    if isinstance(dataset, datasets.DatasetDict):
        if split not in dataset:
            raise ValueError(
                f"`split` must be one of {sorted(dataset)} of {title!r}. "
                f"Received: split={split!r}"
            )
        dataset = dataset[split]
    if not isinstance(dataset, datasets.Dataset):
        raise ValueError(
            "`dataset` must be a name, a folder, a `datasets.Dataset` or a "
            "`datasets.DatasetDict`; a streamed one has no length and no "
            f"order to return to. Received: {type(dataset).__name__}"
        )
    return dataset, title


def _load(place, config, split):
    datasets = require("datasets", "`hf_dataset`")
    try:
        return datasets.load_dataset(place, config, split=split)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            "`dataset` must be a data set of the Hub, or a folder of one. "
            f"Received: {place!r}, and {error}"
        ) from error
    except ValueError as error:
        # An unknown split or configuration; the message lists those there are.
        raise ValueError(
            "`split` and `config` must be those of the data set. Received: "
            f"{place!r}, split={split!r}, config={config!r}: {error}"
        ) from error
