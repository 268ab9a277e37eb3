"""Refuse labels, losses and data sets that do not fit a classifier."""

import inspect

import keras
import numpy as np
from keras import ops

from keras_clmae.batches import unpack_batch


def check_num_classes(name, dataset, num_classes):
    """Refuses a data set of more classes than a head has.

    Args:
        name: str. Name of the argument.
        dataset: data set with or without the attribute `num_classes`, or an
            array.
        num_classes: int. Classes of the head.

    Raises:
        ValueError: If the data set has more.
    """
    known = getattr(dataset, "num_classes", None)
    if known is not None and known > num_classes:
        raise ValueError(
            f"`{name}` must hold labels in [0, {num_classes}), as "
            f"`num_classes` is {num_classes}. Received: a data set of {known} "
            "classes"
        )


def foreign_labels(y, num_classes):
    """Finds the integer labels that are no class.

    Inside a compiled step nothing can be raised; they are counted there.

    Args:
        y: int tensor of labels; of others nothing is said.
        num_classes: int.

    Returns:
        bool tensor of the shape of `y`, or `None` for other labels.
    """
    if not hasattr(y, "dtype"):
        return None
    if "int" not in keras.backend.standardize_dtype(y.dtype):
        return None
    if len(y.shape) > 1 and y.shape[-1] != 1:
        return None
    return ops.logical_or(y < 0, y >= num_classes)


def check_labels(name, x, y, num_classes):
    """Refuses labels that are no class of the head, where they can be seen.

    They would give silent NaN or zero losses, depending on the backend.

    Args:
        name: str. Name of the argument.
        x: images, a dict of images and labels, or a data set.
        y: array of labels, or `None`: those in `x`.
        num_classes: int.

    Raises:
        ValueError: If a label is outside of [0, num_classes), or `x` has more
            classes.
    """
    check_num_classes(name, x, num_classes)
    if y is None and isinstance(x, dict):
        _, y = unpack_batch(x)
    # The package's data sets of arrays and of folders show their labels.
    labels = getattr(x, "labels", None) if y is None else y
    if not hasattr(labels, "dtype"):
        return
    labels = ops.convert_to_numpy(labels)
    if labels.ndim == 2 and labels.shape[1] != 1:
        if labels.shape[1] != num_classes:
            raise ValueError(
                f"`{name}` must hold one column per class, as `num_classes` "
                f"is {num_classes}. Received: labels of shape "
                f"{labels.shape}"
            )
    elif np.issubdtype(labels.dtype, np.integer) and (
        labels.min() < 0 or labels.max() >= num_classes
    ):
        raise ValueError(
            f"`{name}` must hold labels in [0, {num_classes}), as "
            f"`num_classes` is {num_classes}. Received: labels from "
            f"{labels.min()} to {labels.max()}"
        )


def check_takes_logits(name, value):
    """Refuses a loss or a metric that takes probabilities.

    Args:
        name: str. Name of the argument, `"loss"` or another for metrics.
        value: one loss or metric, as `keras.Model.compile` takes it.

    Raises:
        ValueError: If it has `from_logits=False`.
    """
    getter = keras.losses.get if name == "loss" else keras.metrics.get
    # Keras chooses among its cross-entropies by the labels.
    if name == "loss" and str(value).lower() in ("crossentropy", "ce"):
        value = "categorical_crossentropy"
    if isinstance(value, str):
        try:
            value = getter(value)
        except ValueError:
            # Keras says so itself.
            return
    if inspect.isclass(value):
        value = value()
    kind = getattr(value, "__name__", type(value).__name__)
    if hasattr(value, "get_config"):
        from_logits = value.get_config().get("from_logits")
    elif callable(value):
        parameter = inspect.signature(value).parameters.get("from_logits")
        from_logits = parameter and parameter.default
    else:
        return
    # It knows no logits.
    if from_logits is False or kind in ("KLDivergence", "kl_divergence"):
        found = "" if from_logits is None else " with from_logits=False"
        raise ValueError(
            f"`{name}` must take logits, which is what the model gives, for "
            "instance `keras.losses.SparseCategoricalCrossentropy("
            f"from_logits=True)`. Received: {kind}{found}"
        )


def check_class_names(classifier, dataset):
    """Refuses a data set that numbers its classes in another way.

    Args:
        classifier: `ImageClassifier`, or another model, which passes.
        dataset: data set. One without `class_names` passes.

    Raises:
        ValueError: If its `class_names` are not those of the classifier.
    """
    known = getattr(classifier, "class_names", None)
    names = getattr(dataset, "class_names", None)
    if known is None or names is None or list(names) == list(known):
        return
    raise ValueError(
        "A data set must number its classes as the classifier does: make it "
        "with `class_names=classifier.class_names`. Received: "
        f"class_names={list(names)}, and the classifier has {list(known)}"
    )


def check_same_classes(train, validation):
    """Refuses two data sets that number their classes differently.

    Args:
        train: data set. One without `class_names` passes.
        validation: data set, likewise.

    Raises:
        ValueError: If their `class_names` differ.
    """
    names = [getattr(each, "class_names", None) for each in (train, validation)]
    if None not in names and list(names[0]) != list(names[1]):
        raise ValueError(
            "`validation_data` must number its classes as the training data: "
            "make it with `class_names=train.class_names`. Received: "
            f"class_names={names[1]}, in training {names[0]}"
        )
