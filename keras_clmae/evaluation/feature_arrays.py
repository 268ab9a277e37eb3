"""Check the arrays that feature-based protocols take."""

import numpy as np


def check_features(features, name):
    """Returns `features` as a finite float32 matrix.

    Args:
        features: array of shape `(images, width)`.
        name: str. The argument's name, for the error.

    Returns:
        NumPy array of shape `(images, width)`, float32.

    Raises:
        ValueError: If the array is not a non-empty matrix, or holds NaN or
            infinite values.
    """
    features = np.asarray(features)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"`{name}` must have shape (images, width), neither of "
            f"them zero. Received: shape={features.shape}"
        )
    features = features.astype("float32", copy=False)
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"`{name}` must hold finite numbers only. Received: "
            f"{np.count_nonzero(~finite)} of {len(features)} rows with NaN or "
            f"infinity, the first at index {int(np.argmin(finite))}."
        )
    return features


def check_labels(labels, num_images, name, num_classes=None):
    """Returns `labels` as a vector of class indices.

    Args:
        labels: int array of shape `(images,)` or `(images, 1)`.
        num_images: int. How many labels there must be.
        name: str. The argument's name, for the error.
        num_classes: int. Where given, each label must lie in
            `[0, num_classes)`.

    Returns:
        NumPy array of shape `(images,)`, int64.

    Raises:
        ValueError: If shape, type, number or range do not fit.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`{name}` must be a vector of integer class indices (not "
            f"one-hot). Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    if len(labels) != num_images:
        raise ValueError(
            f"`{name}` must hold one label for each of the "
            f"{num_images} images. Received: {len(labels)} labels"
        )
    labels = labels.astype("int64", copy=False)
    negative = labels < 0
    if negative.any():
        raise ValueError(
            f"`{name}` must hold class indices from 0 on; leave out images "
            "without a class, whose label often is -1. Received: "
            f"{np.count_nonzero(negative)} of {len(labels)} labels below 0, "
            f"the first, {labels[negative][0]}, at index "
            f"{int(np.argmax(negative))}"
        )
    if num_classes is not None and labels.max() >= num_classes:
        raise ValueError(
            f"`{name}` must hold labels in [0, {num_classes}), as "
            f"`num_classes` is {num_classes}. Received: labels from "
            f"{labels.min()} to {labels.max()}"
        )
    return labels


def check_split(
    train_features,
    train_labels,
    test_features,
    test_labels,
    num_classes=None,
):
    """Checks a training and a test set that are to be compared.

    Args:
        train_features: array of shape `(train_images, width)`.
        train_labels: int array of shape `(train_images,)`.
        test_features: array of shape `(test_images, width)`.
        test_labels: int array of shape `(test_images,)`.
        num_classes: int. Where given, the bound of every label.

    Returns:
        The four arrays, features as float32 and labels as int64.

    Raises:
        ValueError: If one of them is malformed, or the widths differ.
    """
    train_features = check_features(train_features, "train_features")
    test_features = check_features(test_features, "test_features")
    if train_features.shape[1] != test_features.shape[1]:
        raise ValueError(
            "`train_features` and `test_features` must have the same "
            f"width. Received: {train_features.shape[1]} and "
            f"{test_features.shape[1]}"
        )
    return (
        train_features,
        check_labels(
            train_labels, len(train_features), "train_labels", num_classes
        ),
        test_features,
        check_labels(
            test_labels, len(test_features), "test_labels", num_classes
        ),
    )
