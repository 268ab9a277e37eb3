"""Fit logistic regressions on features: the quick linear probe, few-shot."""

import numpy as np

from keras_clmae.evaluation.feature_arrays import check_labels
from keras_clmae.evaluation.feature_arrays import check_split
from keras_clmae.optional_imports import require


def logistic_regression_accuracy(
    train_features,
    train_labels,
    test_features,
    test_labels,
    num_classes=None,
    regularization=1.0,
    max_iterations=1000,
):
    """Computes the accuracy of scikit-learn's logistic regression.

    A linear probe that is solved to convergence (L-BFGS, L2 penalty) and needs
    no learning rate: features are standardized by the training set's mean and
    deviation, as the batch norm of MAE's probe does.

    Args:
        train_features: array of shape `(train_images, width)`.
        train_labels: int array of shape `(train_images,)`.
        test_features: array of shape `(test_images, width)`.
        test_labels: int array of shape `(test_images,)`.
        num_classes: int. Where given, labels must lie in `[0, num_classes)`.
        regularization: float. Inverse strength of the penalty, scikit-learn's
            `C`. Defaults to 1.0, scikit-learn's own.
        max_iterations: int. Defaults to 1000.

    Returns:
        A float in [0, 1].

    Raises:
        ImportError: If scikit-learn is missing.
        ValueError: If the arrays do not fit each other, features hold NaN, or
            there is only one class.

    Example:

    >>> import numpy as np
    >>> from keras_clmae.evaluation import logistic_regression_accuracy
    >>> features = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> labels = np.array([0, 0, 1, 1])
    >>> logistic_regression_accuracy(features, labels, features, labels)
    1.0
    """
    train_features, train_labels, test_features, test_labels = check_split(
        train_features, train_labels, test_features, test_labels, num_classes
    )
    if len(np.unique(train_labels)) < 2:
        raise ValueError(
            "`train_labels` must hold at least two classes. Received: "
            f"only class {train_labels[0]}"
        )
    if not regularization > 0:
        raise ValueError(
            "`regularization` must be a positive number. Received: "
            f"regularization={regularization}"
        )
    classifier = _import_classifier(regularization, max_iterations)
    classifier.fit(train_features, train_labels)
    return float(np.mean(classifier.predict(test_features) == test_labels))


def draw_few_shot(labels, shots, seed, num_classes=None):
    """Draws the same number of images of each class.

    Draws with the same seed are nested: the images for 1 shot are among those
    for 2, and so on.

    Args:
        labels: int array of shape `(images,)`.
        shots: int. Images to draw of each class.
        seed: int. The same seed draws the same images.
        num_classes: int. The classes are 0 to `num_classes - 1`. Defaults to
            `None`: the classes that occur in `labels`.

    Returns:
        int array of shape `(classes * shots,)`: indices into `labels`,
        ordered by class.

    Raises:
        ValueError: If a class has fewer than `shots` images.

    Example:

    >>> import numpy as np
    >>> from keras_clmae.evaluation import draw_few_shot
    >>> labels = np.array([1, 0, 1, 0, 1, 1])
    >>> labels[draw_few_shot(labels, shots=2, seed=0)]
    array([0, 0, 1, 1])
    """
    labels = check_labels(labels, len(labels), "labels", num_classes)
    if not isinstance(shots, int) or shots < 1:
        raise ValueError(
            f"`shots` must be a positive integer. Received: shots={shots}"
        )
    random = np.random.default_rng(seed)
    drawn = []
    classes = np.unique(labels) if num_classes is None else range(num_classes)
    for each in classes:
        members = np.flatnonzero(labels == each)
        if len(members) < shots:
            raise ValueError(
                f"`labels` must hold at least {shots} images of each "
                f"class, as `shots` is {shots}. Received: {len(members)} "
                f"images of class {each}"
            )
        drawn.append(random.permutation(members)[:shots])
    return np.concatenate(drawn)


def few_shot_accuracy(
    train_features,
    train_labels,
    test_features,
    test_labels,
    shots=(1, 2, 4, 8, 16),
    num_draws=5,
    seed=0,
    num_classes=None,
    regularization=1.0,
):
    """Computes few-shot accuracy: a few labeled images per class.

    Nothing but the drawn images is used: features are standardized by their
    mean and deviation.

    Args:
        train_features: array of shape `(train_images, width)`.
        train_labels: int array of shape `(train_images,)`.
        test_features: array of shape `(test_images, width)`.
        test_labels: int array of shape `(test_images,)`.
        shots: sequence of int. Images a class. Defaults to (1, 2, 4, 8, 16).
        num_draws: int, at least 2. Draws for each of them. Defaults to 5.
        seed: int. Draw i uses `seed + i`. Defaults to 0.
        num_classes: int. Where given, every class below it must occur.
        regularization: float. scikit-learn's `C`. Defaults to 1.0.

    Returns:
        A dict that maps each number of shots to `{"mean": ..., "std": ...,
        "accuracies": [...]}`; the standard deviation is over the draws, with
        n - 1 in the denominator.

    Raises:
        ImportError: If scikit-learn is missing.
        ValueError: If the arrays do not fit each other, or a class has fewer
            images than are to be drawn.

    Example:

    >>> import numpy as np
    >>> from keras_clmae.evaluation import few_shot_accuracy
    >>> features = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> labels = np.array([0, 0, 1, 1])
    >>> few_shot_accuracy(
    ...     features, labels, features, labels, shots=[1], num_draws=2
    ... )
    {1: {'mean': 1.0, 'std': 0.0, 'accuracies': [1.0, 1.0]}}
    """
    train_features, train_labels, test_features, test_labels = check_split(
        train_features, train_labels, test_features, test_labels, num_classes
    )
    if not isinstance(num_draws, int) or num_draws < 2:
        raise ValueError(
            "`num_draws` must be an integer of at least 2. Received: "
            f"num_draws={num_draws}"
        )
    results = {}
    for each in shots:
        accuracies = []
        for draw in range(num_draws):
            drawn = draw_few_shot(train_labels, each, seed + draw, num_classes)
            accuracies.append(
                logistic_regression_accuracy(
                    train_features[drawn],
                    train_labels[drawn],
                    test_features,
                    test_labels,
                    regularization=regularization,
                )
            )
        results[each] = {
            "mean": float(np.mean(accuracies)),
            "std": float(np.std(accuracies, ddof=1)),
            "accuracies": accuracies,
        }
    return results


def _import_classifier(regularization, max_iterations):
    linear_model, pipeline, preprocessing = (
        require(f"sklearn.{name}", "Logistic regression")
        for name in ("linear_model", "pipeline", "preprocessing")
    )
    return pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(
            C=regularization, max_iter=max_iterations
        ),
    )
