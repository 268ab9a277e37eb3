"""Read images from a column of parquet files."""

import functools
import os
import threading

import numpy as np

from keras_clmae.data.sources.columns import check_column
from keras_clmae.data.sources.columns import class_names_of
from keras_clmae.data.sources.columns import image_column as find_image
from keras_clmae.data.sources.columns import label_column as find_label
from keras_clmae.data.sources.columns import labels_of
from keras_clmae.data.sources.damaged_files import readable_files
from keras_clmae.data.sources.record_dataset import record_dataset
from keras_clmae.data.sources.records import Records
from keras_clmae.data.sources.shard_files import common_folder
from keras_clmae.data.sources.shard_files import shard_files
from keras_clmae.optional_imports import require


def parquet_dataset(
    path,
    image_size,
    batch_size,
    split="train",
    image_column=None,
    label_column=None,
    labels=False,
    shuffle_window=10_000,
    on_error="skip",
    **arguments,
):
    """Makes batches of the images in a column of parquet files.

    A row group is read as a whole. In a training order the row groups come in
    a random order, and rows are shuffled within windows of `shuffle_window`
    rows, whose images (as stored) are in memory together.

    Args:
        path: str, path object or list of them: a file, a pattern such as
            `"data/train-*.parquet"`, or a folder, see `split`.
        image_size: int, or pair of int (height, width).
        batch_size: int. Examples in a batch of this process.
        split: str. Of a folder, files are read that are called so
            (`train-*.parquet`) or lie in a folder of that name; all of them
            for `"train"` where none are. Defaults to `"train"`.
        image_column: str. The column of images, bytes or a struct with
            `bytes`, as Hugging Face writes it; or `None` to find it. Defaults
            to `None`.
        label_column: str. The column of labels, integers or strings, or
            `None` to find it: a class label of Hugging Face, or one called
            `label`. Defaults to `None`.
        labels: bool. Whether batches are `(images, labels)`. Defaults to
            `False`.
        shuffle_window: int. See above. Defaults to `10_000`.
        on_error: `"skip"` to leave out damaged images, see `image_folder`,
            and files that cannot be opened, or `"raise"`. Defaults to
            `"skip"`.
        **arguments: Further arguments of `record_dataset`.

    Returns:
        See `record_dataset`.

    Raises:
        ImportError: If the package `pyarrow` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If a file is damaged and `on_error="raise"`, the column of
            images or labels cannot be found, or an argument cannot be used.

    Example:

    ```python
    dataset = keras_clmae.data.parquet_dataset(
        "data/train-*.parquet", image_size=224, batch_size=64
    )
    model.fit(dataset, epochs=100, shuffle=False)
    ```
    """
    records = _ParquetRecords(
        shard_files(path, ".parquet", split),
        image_column,
        label_column,
        labels,
        shuffle_window,
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


class _ParquetRecords(Records):
    """Rows of parquet files; a group of records is a row group.

    Args:
        files: list of str.
        image_column: str or `None`.
        label_column: str or `None`.
        labels: bool.
        window: int. Rows that are shuffled together.
        on_error: `"skip"` or `"raise"`.
    """

    def __init__(
        self, files, image_column, label_column, labels, window, on_error
    ):
        parquet = require("pyarrow.parquet", "`parquet_dataset`")
        pa = require("pyarrow", "`parquet_dataset`")
        # Files are opened anew for each row group: there may be more of them
        # than a process may have open.
        opened = readable_files(
            files, parquet.read_metadata, pa.ArrowException, on_error
        )
        self.title = common_folder(files)
        schemas = [metadata.schema.to_arrow_schema() for _, metadata in opened]
        schema = schemas[0]
        if image_column is None:
            image_column = find_image(schema, self.title)
        if labels and label_column is None:
            label_column = find_label(schema, self.title)
        for (path, _), each in zip(opened, schemas, strict=True):
            check_column(image_column, "image_column", path, each.names)
            if labels:
                check_column(label_column, "label_column", path, each.names)
        self._column = image_column
        self._files = opened
        # Of each row group: its file, its number there, its first row there.
        self._row_groups, sizes = [], []
        for position, (_, metadata) in enumerate(opened):
            row = 0
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                self._row_groups.append((position, group, row))
                sizes.append(rows)
                row += rows
        self._starts = np.cumsum([0, *sizes])
        self.groups = np.repeat(np.arange(len(sizes)), sizes)
        numbers, names = None, None
        if labels:
            stored = parquet.ParquetDataset([path for path, _ in opened])
            numbers, names = labels_of(
                stored.read([label_column])[label_column]
            )
            names = class_names_of(schema).get(label_column, names)
        super().__init__(self, numbers, names)
        # As many row groups as a window spans, and the next one's first.
        mean = max(1, len(self) // max(1, len(sizes)))
        self._group_column = functools.lru_cache(2 + -(-window // mean))(
            self._read_group
        )
        # Threads that want one row group wait for the first of them.
        self._lock = threading.Lock()

    def __len__(self):
        return int(self._starts[-1])

    def _place(self, number):
        group = int(self.groups[number])
        return group, int(number - self._starts[group])

    def name(self, number):
        group, row = self._place(number)
        position, _, first = self._row_groups[group]
        file = os.path.relpath(self._files[position][0], self.title)
        return f"{file}, row {first + row}"

    def image(self, number):
        group, row = self._place(number)
        with self._lock:
            column = self._group_column(group)
        return column[row].as_py()

    def _read_group(self, group):
        parquet = require("pyarrow.parquet", "`parquet_dataset`")
        position, number, _ = self._row_groups[group]
        path, metadata = self._files[position]
        with parquet.ParquetFile(path, metadata=metadata) as file:
            return file.read_row_group(number, [self._column])[self._column]
