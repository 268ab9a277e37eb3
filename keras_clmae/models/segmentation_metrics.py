"""Measure the overlap of predicted and true masks."""

import warnings

import keras


@keras.saving.register_keras_serializable(package="keras_clmae")
class MeanIoU(keras.metrics.MeanIoU):
    """Mean intersection over union of logits with integer masks.

    The IoU of a class is TP / (TP + FP + FN) over all pixels of all batches.
    The mean is over the classes that occur in the masks or in the predictions.
    This is `keras.metrics.MeanIoU` for logits, with counts in float32: Keras's
    default, int32 on JAX and PyTorch, overflows after 2 ** 31 pixels, which is
    less than one epoch of a large data set.

    Args:
        num_classes: int.
        ignore_class: int. Label of pixels that do not count. Defaults to
            `None`: all pixels count.
        name: str. Defaults to `"mean_iou"`.

    Example:

    >>> metric = keras_clmae.models.MeanIoU(num_classes=2, ignore_class=255)
    >>> masks = np.array([[[0, 0, 1, 255]]])
    >>> logits = np.eye(2)[[[[0, 1, 1, 1]]]]
    >>> metric.update_state(masks, logits)
    >>> print(f"{float(metric.result()):.2f}")  # 1/2 and 1/2
    0.50
    """

    def __init__(self, num_classes, ignore_class=None, name="mean_iou"):
        super().__init__(
            num_classes,
            name=name,
            dtype="float32",
            ignore_class=ignore_class,
            sparse_y_pred=False,
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the pixels of a batch.

        Args:
            y_true: int tensor of shape (batch, height, width).
            y_pred: float tensor of shape (batch, height, width, num_classes).
            sample_weight: tensor that broadcasts to `y_true`. Defaults to
                `None`: every pixel counts once.
        """
        with warnings.catch_warnings():
            # Keras asks for int64 indices, which JAX shortens with a warning.
            warnings.filterwarnings("ignore", "Explicitly requested dtype")
            super().update_state(y_true, y_pred, sample_weight)

    def get_config(self):
        return {
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
            "name": self.name,
        }
