"""Read images from WebDataset shards."""

import os

import numpy as np

from keras_clmae.data.sources.damaged_files import readable_files
from keras_clmae.data.sources.record_dataset import record_dataset
from keras_clmae.data.sources.records import Records
from keras_clmae.data.sources.records import class_numbers
from keras_clmae.data.sources.shard_files import common_folder
from keras_clmae.data.sources.shard_files import shard_files
from keras_clmae.data.sources.tar_index import DamagedTarError
from keras_clmae.data.sources.tar_index import read_index


def webdataset(
    path,
    image_size,
    batch_size,
    split="train",
    image_key=None,
    label_key="label",
    labels=False,
    index_folder=None,
    shuffle_window=10_000,
    on_error="skip",
    **arguments,
):
    """Makes batches of the images of WebDataset shards.

    One pass over the headers of the tar files finds where each image lies;
    `webdataset` itself groups the files to samples. From then on the samples
    are read by number, which is what gives them an exact order under a seed,
    each process its own part, and all of them equally many steps; a run that
    goes on begins anywhere without reading what came before. In a training
    order the shards come in a random order, and samples are shuffled within
    windows of `shuffle_window` samples, so that reading stays within a few
    shards.

    Args:
        path: str or path object: a pattern with braces or wildcards, such
            as `"shards/{000..010}.tar"`, one file, or a folder, see `split`.
            The tar files must be uncompressed.
        image_size: int, or pair of int (height, width).
        batch_size: int. Examples in a batch of this process.
        split: str. Of a folder, shards are read that are called so
            (`train-*.tar`) or lie in a folder of that name; all of them for
            `"train"` where none are. Defaults to `"train"`.
        image_key: str. The extension of the image file, such as `"jpg"` or
            `"left.png"`, or `None` for the first one of an image format.
            Defaults to `None`.
        label_key: str. Where labels lie in a `.json` file. A `.cls` file
            comes first, which holds nothing but a label. Labels are integers,
            or strings in all samples. Defaults to `"label"`.
        labels: bool. Whether batches are `(images, labels)`. Defaults to
            `False`.
        index_folder: str or path object. Where the result of the pass over
            the headers is kept for later runs, or `None` to keep it for this
            process only. Defaults to `None`.
        shuffle_window: int. See above. Defaults to `10_000`.
        on_error: `"skip"` to leave out damaged images, see `image_folder`,
            and shards, from their damaged place on, or `"raise"`. Defaults to
            `"skip"`.
        **arguments: Further arguments of `record_dataset`.

    Returns:
        See `record_dataset`.

    Raises:
        ImportError: If the package `webdataset` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If a shard is damaged and `on_error="raise"`, no shard has
            an image, or an argument cannot be used.

    Example:

    ```python
    dataset = keras_clmae.data.webdataset(
        "shards/{000..010}.tar", image_size=224, batch_size=64
    )
    model.fit(dataset, epochs=100, shuffle=False)
    ```
    """
    records = _ShardRecords(
        shard_files(path, ".tar", split),
        image_key,
        label_key if labels else None,
        index_folder,
        on_error,
    )
    return record_dataset(
        records,
        image_size,
        batch_size,
        labels=labels,
        shuffle_window=shuffle_window,
        on_error=on_error,
        **arguments,
    )


class _ShardRecords(Records):
    """Samples of tar files; a group of records is a shard.

    Args:
        files: list of str.
        image_key: str or `None`.
        label_key: str, or `None` for no labels.
        index_folder: str or path object, or `None`.
        on_error: `"skip"` or `"raise"`.
    """

    def __init__(self, files, image_key, label_key, index_folder, on_error):
        self.title = common_folder(files)
        shards = readable_files(
            files,
            lambda path: read_index(
                path, image_key, label_key, index_folder, on_error
            ),
            DamagedTarError,
            on_error,
        )
        # A shard without an image is no group.
        shards = [shard for shard in shards if len(shard[1].offsets)]
        if not shards:
            raise ValueError(
                "`path` must name shards with images. Received: "
                f"{len(files)} shard(s) such as {files[0]!r}, with none"
            )
        self._paths = [path for path, _ in shards]
        indices = [index for _, index in shards]
        self._names = np.concatenate([index.names for index in indices])
        self._offsets = np.concatenate([index.offsets for index in indices])
        self._sizes = np.concatenate([index.sizes for index in indices])
        self.groups = np.repeat(
            np.arange(len(indices)), [len(index.sizes) for index in indices]
        )
        numbers, class_names = None, None
        if label_key is not None:
            numbers, class_names = class_numbers(
                _same_type([label for i in indices for label in i.labels])
            )
        super().__init__(self, numbers, class_names)

    def __len__(self):
        return len(self.groups)

    def name(self, number):
        path = os.path.relpath(self._paths[self.groups[number]], self.title)
        return f"{path}, {self._names[number]}"

    def image(self, number):
        size = int(self._sizes[number])
        # Opened for each image, as files in a folder are: no limit on open
        # files, and no place that threads share.
        with open(self._paths[self.groups[number]], "rb") as file:
            file.seek(int(self._offsets[number]))
            contents = file.read(size)
        if len(contents) < size:
            raise ValueError("the shard ends in the middle of it")
        return contents


def _same_type(labels):
    """Converts stored labels (text, empty for none) to integers, if all are."""
    known = [label for label in labels if label]
    if all(label.lstrip("-").isdecimal() for label in known):
        return [int(label) if label else None for label in labels]
    return [label or None for label in labels]
