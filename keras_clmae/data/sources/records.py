"""Hold the images of a source as records that are read by number."""

import dataclasses

import numpy as np

from keras_clmae.data.damage import display_name


class Records:
    """Images, and labels where there are any, by number.

    The base of what a source gives to `record_dataset`, and a wrapper of any
    sequence: items are images or pairs of an image and its label.

    Args:
        items: Has `len` and takes a number in brackets, such as a list or a
            PyTorch `Dataset`. Images are what `image_bytes` takes.
        labels: int array, one label for each record, -1 where there is
            none; or `None` where records bring their labels along, or have
            none. Defaults to `None`.
        class_names: list of str, or `None`. Defaults to `None`.

    Attributes:
        title: str. What messages call the source.
        labels: int32 array, or `None`.
        class_names: list of str, or `None`.
        groups: int array, for each record the number of the shard (or
            whatever is read as a whole) that holds it, ascending; or `None`
            where each record is read for itself.
    """

    title = "records"
    groups = None

    def __init__(self, items, labels=None, class_names=None):
        self.items = items
        self.title = getattr(items, "title", type(items).__name__)
        self.labels = None if labels is None else np.asarray(labels, "int32")
        self.class_names = class_names

    def __len__(self):
        return len(self.items)

    def name(self, number):
        """Names a record within its source.

        Args:
            number: int.

        Returns:
            str. The same wherever the source lies.
        """
        return f"record {number}"

    def full_name(self, number):
        """Names a record for messages.

        Args:
            number: int.

        Returns:
            str.
        """
        return display_name(f"{self.title}: {self.name(number)}")

    def image(self, number):
        """Reads the image of a record.

        Args:
            number: int.

        Returns:
            What `image_bytes` takes.
        """
        return self.items[number]

    def read(self, number):
        """Reads a record.

        Args:
            number: int.

        Returns:
            A pair of the image, as `image_bytes` takes it, and an integer,
            the label, -1 where there is none.
        """
        image, label = self.image(number), -1
        if isinstance(image, (tuple, list)):
            image, label = image[0], image[1] if len(image) > 1 else -1
        if self.labels is not None:
            label = self.labels[number]
        return image, int(label)


@dataclasses.dataclass(frozen=True)
class RecordList:
    """Some of the records of a source.

    Attributes:
        records: A `Records`.
        numbers: int64 array, which of its records.
    """

    records: Records
    numbers: np.ndarray

    def __len__(self):
        return len(self.numbers)

    @property
    def names(self):
        """List of strings, the names of the records within their source."""
        return [self.records.name(number) for number in self.numbers]

    @property
    def labels(self):
        """int32 array, the labels, or `None`."""
        labels = self.records.labels
        return None if labels is None else labels[self.numbers]

    @property
    def group_sizes(self):
        """List of integers, records of each shard, or `None`."""
        if self.records.groups is None:
            return None
        groups = self.records.groups[self.numbers]
        return np.unique(groups, return_counts=True)[1].tolist()

    def select(self, chosen):
        """Takes some of the records.

        Args:
            chosen: bool array, one entry for each record.

        Returns:
            A `RecordList`.
        """
        return dataclasses.replace(self, numbers=self.numbers[chosen])


def class_numbers(values):
    """Numbers the classes of labels as they are stored.

    Args:
        values: sequence of integers, or of strings; `None` and negative
            numbers stand for a record without a label.

    Returns:
        A pair of an int32 array of labels, -1 where there is none, and the
        list of the names of the classes, sorted, or `None` for integers.

    Raises:
        ValueError: If the values are neither.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return np.maximum(values.astype("int64"), -1).astype("int32"), None
    known = [value for value in values if value is not None]
    if all(isinstance(value, str) for value in known):
        names = sorted(set(known))
        index = {name: number for number, name in enumerate(names)}
        labels = [index.get(value, -1) for value in values]
        return np.array(labels, "int32"), names or None
    if all(isinstance(value, (int, np.integer)) for value in known):
        labels = [-1 if value is None else value for value in values]
        return class_numbers(np.array(labels, "int64"))
    odd = next(v for v in known if not isinstance(v, (int, np.integer)))
    raise ValueError(
        "Labels must be integers, or strings in all records. "
        f"Received: {odd!r} of the type {type(odd).__name__}"
    )


def with_classes(records, class_names):
    """Renumbers the labels of records to the classes of other ones.

    Args:
        records: A `Records` with `class_names`.
        class_names: list of str. May hold more classes.

    Returns:
        int32 array, the labels.

    Raises:
        ValueError: If the records have a class that is not in `class_names`,
            or their classes have no names.
    """
    if not set(records.class_names or ("",)) <= set(class_names):
        raise ValueError(
            "`class_names` must hold the name of each class of the records. "
            f"Received: {records.title!r} with {records.class_names}, and "
            f"class_names={class_names}"
        )
    index = {name: number for number, name in enumerate(class_names)}
    numbers = [index[name] for name in records.class_names]
    # The last entry is that of -1, no label.
    return np.array([*numbers, -1], "int32")[records.labels]
