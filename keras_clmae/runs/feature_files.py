"""Write features with the names of their images, as they are computed.

Only a batch is held in memory, and each file is whole or absent.
"""

import contextlib
import csv
import importlib.util
import os
import tempfile

import numpy as np

from keras_clmae.saving import atomic_write

_CSV_HEADER = ("name", "label", "class_name")


@contextlib.contextmanager
def open_feature_file(path, num_features, has_labels, class_names, metadata):
    """Opens a file of features; yields a function that appends to it.

    Args:
        path: str. Ends in `.parquet`, `.npz` or `.npy`.
        num_features: int. Numbers per image.
        has_labels: bool. Whether labels come with the features.
        class_names: list of str, or `None`.
        metadata: dict from str to str, which parquet files keep.

    Yields:
        Function of `(names, features, labels)` of a batch: list of str, float32
        array of shape `(batch, num_features)`, int array or `None`.

    Raises:
        ImportError: if pyarrow is missing, for `.parquet`.
    """
    ending = os.path.splitext(path)[1]
    if ending == ".parquet":
        opened = _parquet(path, num_features, has_labels, class_names, metadata)
    else:
        write = {".npz": _write_npz, ".npy": _write_npy}[ending]
        opened = _numpy(path, num_features, class_names, write)
    with opened as append:
        yield append


def check_can_write(path):
    """Raises `ImportError` where a file needs a package that is missing.

    Args:
        path: str. The file of features.
    """
    if path.endswith(".parquet") and not importlib.util.find_spec("pyarrow"):
        raise ImportError(
            "A `.parquet` file needs pyarrow: pip install "
            '"keras-clmae[sources]"; or write .npz.'
        )


@contextlib.contextmanager
def _parquet(path, num_features, has_labels, class_names, metadata):
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field("name", pa.string())]
    if has_labels:
        fields.append(pa.field("label", pa.int64()))
    if has_labels and class_names:
        fields.append(pa.field("class_name", pa.string()))
    fields.append(pa.field("features", pa.list_(pa.float32(), num_features)))
    schema = pa.schema(fields, metadata=metadata)

    with (
        atomic_write(path) as unfinished,
        pq.ParquetWriter(unfinished, schema) as writer,
    ):

        def append(names, features, labels):
            columns = [pa.array(names)]
            if has_labels:
                columns.append(pa.array(labels.astype("int64")))
            if has_labels and class_names:
                classes = [_class_name(class_names, each) for each in labels]
                columns.append(pa.array(classes, pa.string()))
            flat = pa.array(np.ravel(features))
            rows = pa.FixedSizeListArray.from_arrays(flat, num_features)
            columns.append(rows)
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))

        yield append


@contextlib.contextmanager
def _numpy(path, num_features, class_names, write):
    """Collects rows in a file beside `path`, and names and labels in memory."""
    all_names, all_labels = [], []
    with tempfile.TemporaryFile(
        dir=os.path.dirname(os.path.abspath(path))
    ) as rows:

        def append(names, features, labels):
            rows.write(np.ascontiguousarray(features, "<f4").tobytes())
            all_names.extend(names)
            all_labels.extend(() if labels is None else labels.tolist())

        yield append
        rows.flush()
        shape = (len(all_names), num_features)
        features = np.memmap(rows, "<f4", "r", shape=shape)
        write(path, features, all_names, all_labels or None, class_names)


def _write_npz(path, features, names, labels, class_names):
    arrays = {"features": features, "names": np.array(names, str)}
    if labels is not None:
        arrays["labels"] = np.array(labels, "int64")
        if class_names:
            arrays["class_names"] = np.array(class_names, str)
    with atomic_write(path) as unfinished:
        np.savez(unfinished, **arrays)


def _write_npy(path, features, names, labels, class_names):
    width = 1 if labels is None else 3 if class_names else 2
    with (
        atomic_write(path) as unfinished,
        atomic_write(f"{os.path.splitext(path)[0]}.csv") as unfinished_csv,
    ):
        with open(unfinished_csv, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_CSV_HEADER[:width])
            for row, name in enumerate(names):
                label = -1 if labels is None else labels[row]
                class_name = _class_name(class_names, label)
                writer.writerow((name, label, class_name)[:width])
        np.save(unfinished, features)


def _class_name(class_names, label):
    """Name of a class; `None` for an image without a label."""
    return class_names[label] if class_names and label >= 0 else None
