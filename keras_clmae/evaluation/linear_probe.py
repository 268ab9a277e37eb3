"""Train a linear classifier on a frozen encoder."""

import keras
import numpy as np

from keras_clmae.evaluation.feature_arrays import check_labels
from keras_clmae.evaluation.feature_arrays import check_split
from keras_clmae.evaluation.features import extract_features
from keras_clmae.evaluation.logistic_regression import (
    logistic_regression_accuracy,
)
from keras_clmae.evaluation.prediction import known_num_batches
from keras_clmae.evaluation.schedule import probe_schedule
from keras_clmae.models.heads import batch_norm_head
from keras_clmae.models.image_classifier import ImageClassifier
from keras_clmae.models.label_checks import check_class_names
from keras_clmae.optimizers import LARS

# MAE's linear probe: table 10 of https://arxiv.org/abs/2111.06377, and the
# head's first weights in its main_linprobe.py.
HEAD_STDDEV = 0.01
MOMENTUM = 0.9
SOLVERS = ("lars", "sgd", "logistic_regression")


def linear_probe_accuracy(
    train_features,
    train_labels,
    test_features,
    test_labels,
    solver="lars",
    num_classes=None,
    base_learning_rate=0.1,
    batch_size=1024,
    epochs=90,
    warmup_epochs=10,
    seed=0,
    verbose=0,
):
    """Trains and scores a linear classifier on features computed once.

    MAE's protocol (https://arxiv.org/abs/2111.06377, appendix A.1), without
    augmentation: batch norm without scale and offset, a linear head, LARS with
    momentum 0.9 and no weight decay, warm-up and cosine, 90 epochs. The
    learning rate is `base_learning_rate * batch_size / 256`. The accuracy is
    the last epoch's, not the best one's.

    Args:
        train_features: array of shape `(train_images, width)`.
        train_labels: int array of shape `(train_images,)`.
        test_features: array of shape `(test_images, width)`.
        test_labels: int array of shape `(test_images,)`.
        solver: str. `"lars"`, `"sgd"` (momentum 0.9; where there are few
            images LARS takes too few steps) or `"logistic_regression"`
            (scikit-learn, solved to convergence: see
            `logistic_regression_accuracy`, which uses none of the arguments
            below but `num_classes`). Defaults to `"lars"`.
        num_classes: int. Labels must lie in `[0, num_classes)`. Defaults to
            one more than the highest label.
        base_learning_rate: float, for 256 images. Defaults to 0.1, MAE's.
        batch_size: int, at most the number of images. Defaults to 1024; MAE
            has 16,384 of 1.28 million.
        epochs: int. Defaults to 90.
        warmup_epochs: int. Defaults to 10; a fifth of the epochs where these
            are no more.
        seed: int. Of the head's first weights and the order of the images.
            Defaults to 0.
        verbose: 0, 1 or 2, as in `keras.Model.fit`. Defaults to 0.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: If the arrays do not fit each other, labels do not fit
            `num_classes`, or features hold NaN.
        ImportError: If `"logistic_regression"` does not find scikit-learn.

    Example:

    >>> import numpy as np, keras_clmae
    >>> features = np.eye(4, dtype="float32")
    >>> labels = np.arange(4)
    >>> keras_clmae.evaluation.linear_probe_accuracy(
    ...     features, labels, features, labels, solver="sgd", batch_size=4
    ... )
    1.0
    """
    _check_solver(solver, SOLVERS)
    train_features, train_labels, test_features, test_labels = check_split(
        train_features, train_labels, test_features, test_labels, num_classes
    )
    if solver == "logistic_regression":
        return logistic_regression_accuracy(
            train_features, train_labels, test_features, test_labels
        )
    if num_classes is None:
        num_classes = int(max(train_labels.max(), test_labels.max())) + 1
        check_labels(
            train_labels, len(train_labels), "train_labels", num_classes
        )
    batches = _FeatureBatches(train_features, train_labels, batch_size, seed)
    model = keras.Sequential(
        [
            keras.Input((train_features.shape[1],)),
            *batch_norm_head(num_classes, HEAD_STDDEV, seed),
        ]
    )
    schedule = probe_schedule(
        base_learning_rate,
        batches.batch_size,
        batches.num_batches,
        epochs,
        warmup_epochs,
    )
    model.compile(_optimizer(solver, schedule), _loss(), metrics=["accuracy"])
    model.fit(batches, epochs=epochs, shuffle=False, verbose=verbose)
    logits = model.predict(test_features, batch_size=1024, verbose=0)
    return float(np.mean(logits.argmax(axis=1) == test_labels))


def linear_probe_images(
    encoder,
    train_dataset,
    test_dataset,
    num_classes,
    batch_size,
    pooling="class_token",
    solver="lars",
    base_learning_rate=0.1,
    epochs=90,
    warmup_epochs=10,
    verbose=0,
):
    """Trains and scores a linear classifier on augmented images.

    MAE's protocol in full: as `linear_probe_accuracy`, but the frozen encoder
    sees each image anew in every epoch, as the data set augments it (MAE:
    random crops and flips).

    Args:
        encoder: `ViTEncoder`. It stays as it is.
        train_dataset: Batches `(images, labels)` with integer labels: a
            `keras.utils.PyDataset` or a `tf.data.Dataset` that knows its
            length.
        test_dataset: As `train_dataset`, or a pair of arrays.
        num_classes: int.
        batch_size: int. Images in a batch of `train_dataset`, which scales the
            learning rate.
        pooling: str. See `extract_features`. Defaults to `"class_token"`,
            MAE's.
        solver: str. `"lars"` or `"sgd"`. Defaults to `"lars"`.
        base_learning_rate: float, for 256 images. Defaults to 0.1.
        epochs: int. Defaults to 90.
        warmup_epochs: int. Defaults to 10; a fifth of the epochs where these
            are no more.
        verbose: 0, 1 or 2, as in `keras.Model.fit`. Defaults to 0.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: If labels do not fit `num_classes`, `train_dataset` does
            not know its length, or the data sets number their classes
            differently.

    Example:

    ```python
    accuracy = keras_clmae.evaluation.linear_probe_images(
        model.encoder,
        keras_clmae.data.image_folder("train", 224, 1024, labels=True),
        keras_clmae.data.image_folder(
            "test", 224, 1024, labels=True, transform="evaluation"
        ),
        num_classes=1000,
        batch_size=1024,
    )
    ```
    """
    _check_solver(solver, SOLVERS[:2])
    num_batches = known_num_batches(train_dataset, batch_size)
    classifier = ImageClassifier(
        encoder,
        num_classes,
        pooling=pooling,
        head_norm="batch_norm",
        freeze_encoder=True,
        head_stddev=HEAD_STDDEV,
        class_names=getattr(train_dataset, "class_names", None),
    )
    check_class_names(classifier, test_dataset)
    # The encoder is frozen: the test features are those of the end, too.
    test_features, test_labels = extract_features(
        encoder, test_dataset, pooling, verbose=0
    )
    test_labels = check_labels(
        test_labels, len(test_features), "test_dataset", num_classes
    )
    schedule = probe_schedule(
        base_learning_rate, batch_size, num_batches, epochs, warmup_epochs
    )
    classifier.compile(
        _optimizer(solver, schedule), _loss(), metrics=["accuracy"]
    )
    classifier.fit(train_dataset, epochs=epochs, shuffle=False, verbose=verbose)
    logits = classifier.head(classifier.norm(test_features, training=False))
    predictions = keras.ops.convert_to_numpy(logits).argmax(axis=1)
    return float(np.mean(predictions == test_labels))


class _FeatureBatches(keras.utils.PyDataset):
    """Full batches in an order that depends on seed and epoch only."""

    def __init__(self, features, labels, batch_size, seed):
        super().__init__()
        self.features = features
        self.labels = labels
        self.batch_size = min(batch_size, len(features))
        self.random = np.random.default_rng(seed)
        self.order = self.random.permutation(len(features))

    def __len__(self):
        return len(self.features) // self.batch_size

    def __getitem__(self, index):
        start = index * self.batch_size
        rows = self.order[start : start + self.batch_size]
        return self.features[rows], self.labels[rows]

    def on_epoch_end(self):
        self.order = self.random.permutation(len(self.features))


def _check_solver(solver, solvers):
    if solver not in solvers:
        raise ValueError(
            f"`solver` must be one of {solvers}. Received: solver={solver!r}"
        )


def _optimizer(solver, schedule):
    if solver == "lars":
        return LARS(schedule, momentum=MOMENTUM)
    return keras.optimizers.SGD(schedule, momentum=MOMENTUM)


def _loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
