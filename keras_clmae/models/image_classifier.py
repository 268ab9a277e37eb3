import keras
import numpy as np
from keras import ops

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.encoder_copy import copy_encoder
from keras_clmae.models.exporting import ExportsForServing
from keras_clmae.models.pooling import check_pooling
from keras_clmae.models.pooling import pool_tokens


@keras.saving.register_keras_serializable(package="keras_clmae")
class ImageClassifier(ExportsForServing, keras.Model):
    """An encoder with a linear head, to fine-tune or to probe.

    Takes a copy of the encoder: the one that is passed stays as it is. The
    defaults are MAE's fine-tuning (https://arxiv.org/abs/2111.06377 and its
    `main_finetune.py`): the mean of the patch tokens, a new layer norm in
    place of the encoder's last one, and a head that starts near zero. MAE's
    linear probe is `pooling="class_token", head_norm="batch_norm",
    freeze_encoder=True, head_stddev=0.01`.

    Args:
        encoder: `ViTEncoder`.
        num_classes: int.
        pooling: str. `"mean_before_norm"`, `"mean"` or `"class_token"`: see
            `evaluation.extract_features`. Defaults to `"mean_before_norm"`.
        head_norm: str. What comes between pooling and head: `"layer_norm"`,
            `"batch_norm"` (without scale and offset) or `"none"`. Defaults to
            `None`: a layer norm with `"mean_before_norm"`, else nothing.
        freeze_encoder: bool. Whether only the head is trained, with the
            encoder's drop path off. Defaults to `False`.
        head_stddev: float. Standard deviation of the head's first weights; its
            biases start at 0. Defaults to `2e-5`, MAE's for fine-tuning.
        drop_path_rate: float in [0, 1). Stochastic depth of the encoder.
            Defaults to `None`: the encoder's own.
        image_shape: (height, width, channels). Where the grid of patches
            differs, the position table is interpolated. Defaults to `None`:
            the encoder's own.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).
        training: bool.

    Returns:
        Logits, float32 tensor of shape (batch, num_classes).

    Raises:
        ValueError: If an argument does not fit; from `fit` and `evaluate`, if
            an array of labels holds a class outside of [0, num_classes).

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> classifier = keras_clmae.models.ImageClassifier(encoder, 10)
    >>> classifier.compile(
    ...     keras_clmae.optimizers.LayerDecayAdamW(1e-3),
    ...     keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"],
    ... )
    >>> images = np.zeros((4, 8, 8, 1), "float32")
    >>> history = classifier.fit(images, np.arange(4), verbose=0)
    >>> classifier.predict(images, verbose=0).shape
    (4, 10)
    """

    def __init__(
        self,
        encoder,
        num_classes,
        pooling="mean_before_norm",
        head_norm=None,
        freeze_encoder=False,
        head_stddev=2e-5,
        drop_path_rate=None,
        image_shape=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(encoder, ViTEncoder):
            raise ValueError(
                "`encoder` must be a ViTEncoder, such as `model.encoder`. "
                f"Received: encoder={encoder!r}"
            )
        check_positive_integer("num_classes", num_classes)
        check_pooling(pooling)
        before_norm = pooling == "mean_before_norm"
        if head_norm is None:
            head_norm = "layer_norm" if before_norm else "none"
        check_choice(
            "head_norm", head_norm, ("layer_norm", "batch_norm", "none")
        )

        # === Layers ===
        self.encoder = copy_encoder(encoder, image_shape, drop_path_rate)
        self.encoder.trainable = not freeze_encoder
        if before_norm:
            # Nothing reads it, so nothing may move it either.
            self.encoder.norm.trainable = False
        if head_norm == "batch_norm":
            self.norm, self.head = batch_norm_head(num_classes, head_stddev)
        else:
            self.norm = (
                keras.layers.LayerNormalization(
                    epsilon=encoder.layer_norm_epsilon,
                    name="head_norm",
                    dtype="float32",
                )
                if head_norm == "layer_norm"
                else keras.layers.Identity(name="head_norm")
            )
            self.head = linear_head(num_classes, head_stddev)

        # === Config ===
        self.num_classes = num_classes
        self.pooling = pooling
        self.head_norm = head_norm
        self.freeze_encoder = freeze_encoder
        self.head_stddev = head_stddev
        self.build((None, *self.encoder.image_shape))

    def build(self, input_shape):
        if self.built:
            return
        features_shape = (None, self.encoder.hidden_dim)
        self.norm.build(features_shape)
        self.head.build(features_shape)
        self.built = True

    def call(self, images, training=None):
        features = pool_tokens(
            self.encoder,
            images,
            self.pooling,
            training=training and not self.freeze_encoder,
        )
        return self.head(self.norm(features, training=training))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def fit(self, x=None, y=None, *args, **kwargs):
        # A data set of arrays shows its labels.
        self._check_labels(getattr(x, "labels", y))
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        # A data set of arrays shows its labels.
        self._check_labels(getattr(x, "labels", y))
        return super().evaluate(x, y, *args, **kwargs)

    def _check_labels(self, labels):
        # A class too high gives silent NaN or zero losses, by backend.
        if labels is None or not hasattr(labels, "dtype"):
            return
        labels = ops.convert_to_numpy(labels)
        if not np.issubdtype(labels.dtype, np.integer) or labels.ndim > 1:
            return
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(
                f"`y` must hold labels in [0, {self.num_classes}), as "
                f"`num_classes` is {self.num_classes}. Received: labels from "
                f"{labels.min()} to {labels.max()}"
            )

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "num_classes": self.num_classes,
            "pooling": self.pooling,
            "head_norm": self.head_norm,
            "freeze_encoder": self.freeze_encoder,
            "head_stddev": self.head_stddev,
            "drop_path_rate": self.encoder.drop_path_rate,
            "image_shape": self.encoder.image_shape,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(
            config["encoder"], custom_objects=custom_objects
        )
        return cls(**{**config, "encoder": encoder})


def linear_head(num_classes, stddev, seed=None):
    """The linear layer of a classifier, in float32.

    Args:
        num_classes: int.
        stddev: float. Standard deviation of its first weights.
        seed: int. Defaults to `None`: drawn.

    Returns:
        A `keras.layers.Dense`.
    """
    return keras.layers.Dense(
        num_classes,
        # MAE truncates at an absolute 2, far out: a plain normal.
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=stddev, seed=seed
        ),
        name="head",
        dtype="float32",
    )


def batch_norm_head(num_classes, stddev, seed=None):
    """Head of MAE's linear probe: batch norm without scale and offset first.

    Args:
        num_classes: int.
        stddev: float. Standard deviation of the linear layer's first weights.
        seed: int. Defaults to `None`: drawn.

    Returns:
        A `keras.layers.BatchNormalization` and a `keras.layers.Dense`.
    """
    # Epsilon and momentum: MAE's main_linprobe.py, in Keras's terms.
    norm = keras.layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-6,
        center=False,
        scale=False,
        name="head_norm",
        dtype="float32",
    )
    return norm, linear_head(num_classes, stddev, seed)
