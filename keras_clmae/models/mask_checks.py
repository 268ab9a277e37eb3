"""Refuse masks, losses and data sets that do not fit a segmenter."""

import keras
import numpy as np

from keras_clmae.models.label_checks import check_num_classes
from keras_clmae.models.label_checks import check_takes_logits

# Images whose masks are looked at together, to bound the memory it takes.
_CHUNK = 64


def check_ignore_label(ignore_label, num_classes):
    """Refuses an ignored label that is one of the classes.

    Args:
        ignore_label: int or `None`.
        num_classes: int.

    Raises:
        ValueError: If it is a class, or no integer.
    """
    if ignore_label is None:
        return
    if type(ignore_label) is not int or 0 <= ignore_label < num_classes:
        raise ValueError(
            "`ignore_label` must be `None` or an integer outside of "
            f"[0, {num_classes}), as `num_classes` is {num_classes}. "
            f"Received: ignore_label={ignore_label!r}"
        )


def check_class_names(class_names, num_classes):
    """Refuses names unless there is one per class.

    Args:
        class_names: list of str, or `None`.
        num_classes: int.

    Raises:
        ValueError: If there are more or fewer names, or two are the same.
    """
    if class_names is None:
        return
    names = [class_names] if isinstance(class_names, str) else class_names
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ValueError(
            f"`class_names` must hold {num_classes} different names, as "
            f"`num_classes` is {num_classes}. Received: "
            f"class_names={class_names!r}"
        )


def check_loss(loss, ignore_label):
    """Refuses a cross-entropy that does not fit the head.

    Args:
        loss: As `keras.Model.compile` takes it.
        ignore_label: int or `None`.

    Raises:
        ValueError: If it takes probabilities, or counts ignored pixels.
    """
    check_takes_logits("loss", loss)
    if not isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return
    if not loss.from_logits or loss.ignore_class != ignore_label:
        raise ValueError(
            "`loss` must have `from_logits=True` and "
            f"`ignore_class={ignore_label}`, the segmenter's `ignore_label`. "
            f"Received: from_logits={loss.from_logits}, "
            f"ignore_class={loss.ignore_class}"
        )


def check_mask_shape(name, masks, image_size):
    """Refuses masks that are not one integer per pixel.

    Args:
        name: str. Name of the argument.
        masks: tensor, or `None`. Sides that are not known pass.
        image_size: tuple of int. (height, width).

    Raises:
        ValueError: If the shape or the dtype is another.
    """
    expected = (
        f"`{name}` must be integer masks of shape (batch, height, width) = "
        f"(batch, {image_size[0]}, {image_size[1]})"
    )
    if not hasattr(masks, "shape"):
        raise ValueError(f"{expected}. Received: {masks!r}")
    shape = getattr(masks.shape, "rank", 3) and tuple(masks.shape)
    fits = shape is None or (
        len(shape) == 3
        and all(
            side in (None, wanted)
            for side, wanted in zip(shape[1:], image_size, strict=True)
        )
    )
    dtype = keras.backend.standardize_dtype(masks.dtype)
    if not fits or "int" not in dtype:
        raise ValueError(f"{expected}. Received: shape={shape}, dtype={dtype}")


def check_masks(name, masks, segmenter):
    """Refuses masks with a label that a segmenter does not have.

    Args:
        name: str. Name of the argument.
        masks: array of shape (images, height, width).
        segmenter: `ImageSegmenter`.

    Raises:
        ValueError: If the shape, the dtype or a label does not fit.
    """
    check_mask_shape(name, masks, segmenter.encoder.image_shape[:2])
    for start in range(0, len(masks), _CHUNK):
        labels = keras.ops.convert_to_numpy(masks[start : start + _CHUNK])
        unknown = unknown_labels(
            labels, segmenter.num_classes, segmenter.ignore_label
        )
        if unknown.size:
            raise ValueError(
                f"`{name}` must hold labels in [0, {segmenter.num_classes}) or "
                f"`ignore_label`, {segmenter.ignore_label}. Received: "
                f"{describe_labels(unknown)} in the {len(labels)} masks from "
                f"index {start} on"
            )


def unknown_labels(labels, num_classes, ignore_label):
    """Finds labels that are neither a class nor the label of ignored pixels.

    Args:
        labels: int array of any shape.
        num_classes: int.
        ignore_label: int or `None`.

    Returns:
        int array of shape (number,), sorted, each label once.

    Example:

    >>> unknown_labels(np.array([[0, 7], [255, 2]]), 3, 255)
    array([7])
    """
    unknown = (labels < 0) | (labels >= num_classes)
    if ignore_label is not None:
        unknown &= labels != ignore_label
    return np.unique(labels[unknown])


def foreign_pixels(masks, num_classes, ignore_label):
    """Finds the pixels of masks whose label is foreign, in a compiled step.

    Args:
        masks: int tensor of any shape.
        num_classes: int.
        ignore_label: int or `None`.

    Returns:
        bool tensor of the shape of `masks`.
    """
    # An unsigned type would wrap a negative `ignore_label`.
    labels = keras.ops.cast(masks, "int32")
    foreign = keras.ops.logical_or(labels < 0, labels >= num_classes)
    if ignore_label is None:
        return foreign
    return keras.ops.logical_and(foreign, labels != ignore_label)


def describe_labels(labels):
    """Writes the first few labels, for an error.

    Args:
        labels: int array of shape (number,).

    Returns:
        A string.

    Example:

    >>> describe_labels(np.arange(10, 20))
    '10, 11, 12, 13, 14 and 5 more'
    """
    shown = ", ".join(str(label) for label in labels[:5].tolist())
    more = len(labels) - 5
    return f"{shown} and {more} more" if more > 0 else shown


def check_dataset(name, dataset, segmenter):
    """Refuses a data set that tells other classes than a segmenter.

    Args:
        name: str. Name of the argument.
        dataset: data set with or without the attributes `num_classes`,
            `class_names` and `ignore_label`, or an array.
        segmenter: `ImageSegmenter`.

    Raises:
        ValueError: If it has more classes, other names or another ignored
            label.
    """
    check_num_classes(name, dataset, segmenter.num_classes)
    names = getattr(dataset, "class_names", None)
    known = segmenter.class_names
    if None not in (names, known) and list(names) != known:
        raise ValueError(
            f"`{name}` must number its classes as the segmenter does: make it "
            f"with `class_names=segmenter.class_names`, {known}. Received: "
            f"class_names={list(names)}"
        )
    if hasattr(dataset, "ignore_label"):
        ignored = dataset.ignore_label
        if ignored not in (None, segmenter.ignore_label):
            raise ValueError(
                f"`{name}` must mark ignored pixels as the segmenter does, by "
                f"ignore_label={segmenter.ignore_label}. Received: "
                f"ignore_label={ignored}"
            )
