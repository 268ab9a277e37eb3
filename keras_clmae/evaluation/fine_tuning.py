"""Fine-tune an encoder by MAE's protocol."""

import keras
import numpy as np

from keras_clmae.evaluation.feature_arrays import check_labels
from keras_clmae.evaluation.prediction import known_num_batches
from keras_clmae.evaluation.prediction import predict_dataset
from keras_clmae.evaluation.schedule import probe_schedule
from keras_clmae.models.image_classifier import ImageClassifier
from keras_clmae.models.label_checks import check_class_names
from keras_clmae.optimizers import LayerDecayAdamW


def fine_tune(
    encoder,
    train_dataset,
    num_classes,
    batch_size,
    epochs=100,
    base_learning_rate=5e-4,
    layer_decay=0.75,
    weight_decay=0.05,
    warmup_epochs=5,
    drop_path_rate=0.1,
    label_smoothing=0.1,
    pooling="mean_before_norm",
    ema_momentum=None,
    image_shape=None,
    validation_data=None,
    callbacks=(),
    verbose=0,
):
    """Fine-tunes a copy of an encoder with a linear head.

    The defaults are MAE's for ViT-B (https://arxiv.org/abs/2111.06377, table
    9; learning rate and drop path from its FINETUNE.md): AdamW with layer-wise
    learning-rate decay, warm-up, then a cosine down to 1e-6. Augmentation is
    the data set's: see `data.FineTuneTransform`.

    Args:
        encoder: `ViTEncoder`. It stays as it is.
        train_dataset: Batches `(images, labels)`: a `keras.utils.PyDataset` or
            a `tf.data.Dataset` that knows its length. Labels are integers of
            shape `(batch,)` or, mixed and smoothed already, floats of shape
            `(batch, num_classes)`.
        num_classes: int.
        batch_size: int. Images in a batch, which scales the learning rate:
            `base_learning_rate * batch_size / 256`.
        epochs: int. Defaults to 100.
        base_learning_rate: float, of the head, for 256 images. Defaults to
            5e-4.
        layer_decay: float in (0, 1]. See `LayerDecayAdamW`. Defaults to 0.75.
        weight_decay: float. Defaults to 0.05.
        warmup_epochs: int. Defaults to 5; a fifth of the epochs where these
            are no more.
        drop_path_rate: float. Defaults to 0.1.
        label_smoothing: float in [0, 1), for integer labels. Defaults to 0.1.
        pooling: str. See `ImageClassifier`. Defaults to `"mean_before_norm"`.
        ema_momentum: float in (0, 1). Where given, the classifier ends with
            the exponential moving average of its weights. Defaults to `None`.
        image_shape: tuple of int. (height, width, channels), if other than the
            encoder's.
        validation_data: As in `keras.Model.fit`, with labels of the same kind.
        callbacks: As in `keras.Model.fit`.
        verbose: 0, 1 or 2, as in `keras.Model.fit`. Defaults to 0.

    Returns:
        A trained, compiled `ImageClassifier`.

    Raises:
        ValueError: If `train_dataset` does not know its length, or labels that
            can be seen do not fit `num_classes`.

    Example:

    >>> import numpy as np, keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> images = np.zeros((8, 8, 8, 1), "float32")
    >>> dataset = keras_clmae.data.ArrayDataset(images, np.arange(8) % 2)
    >>> classifier = keras_clmae.evaluation.fine_tune(
    ...     encoder, dataset, num_classes=2, batch_size=8, epochs=1,
    ...     warmup_epochs=0,
    ... )
    """
    classifier = ImageClassifier(
        encoder,
        num_classes,
        pooling=pooling,
        drop_path_rate=drop_path_rate,
        image_shape=image_shape,
    )
    fit_by_protocol(
        classifier,
        train_dataset,
        batch_size,
        epochs,
        base_learning_rate,
        layer_decay,
        weight_decay,
        warmup_epochs,
        ema_momentum,
        {
            "loss": ClassificationLoss(label_smoothing),
            "metrics": [
                keras.metrics.MeanMetricWrapper(label_accuracy, name="accuracy")
            ],
        },
        validation_data=validation_data,
        callbacks=list(callbacks),
        verbose=verbose,
    )
    return classifier


def fit_by_protocol(
    model,
    train_dataset,
    batch_size,
    epochs,
    base_learning_rate,
    layer_decay,
    weight_decay,
    warmup_epochs,
    ema_momentum,
    compile_arguments,
    **fit_arguments,
):
    """Compiles and trains an encoder with a head by MAE's protocol.

    Args:
        model: Model with an encoder and a head.
        train_dataset: As in `fine_tune`.
        batch_size: int. Images in a batch.
        epochs: int. Passes over the images.
        base_learning_rate: float. The highest one, after the warm-up, for 256
            images.
        layer_decay: float. See `LayerDecayAdamW`.
        weight_decay: float. Decoupled weight decay.
        warmup_epochs: int. Epochs of the warm-up.
        ema_momentum: float. Momentum of the moving average of the weights, or
            `None`: no average.
        compile_arguments: dict. Arguments of `compile` but the optimizer.
        **fit_arguments: Arguments of `fit` but data, epochs and order.

    Raises:
        ValueError: If `train_dataset` does not know its length.
    """
    num_batches = known_num_batches(train_dataset, batch_size)
    schedule = probe_schedule(
        base_learning_rate,
        batch_size,
        num_batches,
        epochs,
        warmup_epochs,
        final=1e-6,
    )
    optimizer = LayerDecayAdamW(
        schedule,
        layer_decay=layer_decay,
        weight_decay=weight_decay,
        use_ema=ema_momentum is not None,
        ema_momentum=ema_momentum or 0.99,
    )
    model.compile(optimizer, **compile_arguments)
    model.fit(train_dataset, epochs=epochs, shuffle=False, **fit_arguments)


def classifier_accuracy(classifier, dataset, batch_size=256, verbose=0):
    """Computes the share of images that a classifier classifies correctly.

    Args:
        classifier: Keras model from images to logits `(batch, num_classes)`.
        dataset: images with integer labels, as in `extract_features`.
        batch_size: int. Images in a batch where arrays are given. Defaults
            to 256.
        verbose: 0, 1 or 2. Defaults to 0.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: If labels are missing or do not fit the classes, or the
            data set numbers its classes in another way than the classifier.

    Example:

    >>> import numpy as np, keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> classifier = keras_clmae.models.ImageClassifier(encoder, 1)
    >>> images = np.zeros((8, 8, 8, 1), "float32")
    >>> keras_clmae.evaluation.classifier_accuracy(
    ...     classifier, (images, np.zeros(8, int))
    ... )
    1.0
    """
    check_class_names(classifier, dataset)
    logits, labels = predict_dataset(classifier, dataset, batch_size, verbose)
    labels = check_labels(labels, len(logits), "dataset", logits.shape[1])
    return float(np.mean(logits.argmax(axis=1) == labels))


@keras.saving.register_keras_serializable(package="keras_clmae")
class ClassificationLoss(keras.losses.Loss):
    """Cross-entropy of logits with integer labels or with soft ones.

    Args:
        label_smoothing: float in [0, 1). Share of a label that is spread over
            all classes; for integer labels only, as soft labels are smoothed
            where they are mixed. Defaults to 0.0.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: If `label_smoothing` is out of range, or labels do not fit
            the logits.

    Example:

    >>> import numpy as np, keras_clmae
    >>> loss = keras_clmae.evaluation.ClassificationLoss()
    >>> print(f"{float(loss(np.array([0]), np.zeros((1, 4)))):.3f}")
    1.386
    """

    def __init__(self, label_smoothing=0.0, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                "`label_smoothing` must be in [0, 1). Received: "
                f"label_smoothing={label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        num_classes = y_pred.shape[-1]
        if not _is_soft(y_true, y_pred):
            if len(y_true.shape) == 2 and y_true.shape[-1] != 1:
                raise ValueError(
                    "`y_true` must have one column per class, or hold indices "
                    f"of classes. Received: shape {tuple(y_true.shape)} for "
                    f"{num_classes} classes"
                )
            labels = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
            y_true = keras.ops.one_hot(labels, num_classes)
            y_true = (
                y_true * (1 - self.label_smoothing)
                + self.label_smoothing / num_classes
            )
        return keras.losses.categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="keras_clmae")
def label_accuracy(y_true, y_pred):
    """Computes accuracy for integer labels, or for the largest of soft ones.

    Args:
        y_true: Labels of shape `(batch,)` or `(batch, num_classes)`.
        y_pred: Logits of shape `(batch, num_classes)`.

    Returns:
        Tensor of shape `(batch,)` of zeros and ones.
    """
    if _is_soft(y_true, y_pred):
        return keras.metrics.categorical_accuracy(y_true, y_pred)
    return keras.metrics.sparse_categorical_accuracy(y_true, y_pred)


def _is_soft(y_true, y_pred):
    return len(y_true.shape) == 2 and y_true.shape[-1] == y_pred.shape[-1]
