"""Classify images by a linear head on an encoder."""

import warnings

import keras

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.batches import unpack_batch
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.encoder_copy import copy_encoder
from keras_clmae.models.heads import batch_norm_head
from keras_clmae.models.heads import linear_head
from keras_clmae.models.label_checks import check_class_names
from keras_clmae.models.label_checks import check_labels
from keras_clmae.models.label_checks import check_same_classes
from keras_clmae.models.label_checks import check_takes_logits
from keras_clmae.models.label_checks import foreign_labels
from keras_clmae.models.labeled_model import LabeledModel
from keras_clmae.models.pooling import check_pooling
from keras_clmae.models.pooling import pool_tokens


@keras.saving.register_keras_serializable(package="keras_clmae")
class ImageClassifier(LabeledModel):
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
        image_shape: tuple of int. (height, width, channels). Where the grid of
            patches differs, the position table is interpolated. Defaults to
            `None`: the encoder's own.
        class_names: list of str. Names of the classes, in the order of their
            numbers. Defaults to `None`: those of the data set that `fit` is
            given, where it names its classes as `data.image_folder` does.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).
        training: bool.

    Returns:
        Logits, float32 tensor of shape (batch, num_classes).

    Raises:
        ValueError: If an argument does not fit; from `compile`, if a loss or
            metric takes probabilities, as the classifier gives logits; from
            `fit` and `evaluate`, if labels lie outside of [0, num_classes)
            (those that cannot be seen before are counted, and refused at the
            end of the epoch); from `fit`, `evaluate` and `predict`, if a data
            set numbers its classes in another way than `class_names`.

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

    preset_prefix = "vit_"

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
        class_names=None,
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
        if class_names is not None and len(class_names) > num_classes:
            raise ValueError(
                "`class_names` must hold at most one name per class, as "
                f"`num_classes` is {num_classes}. "
                f"Received: class_names={class_names}"
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
        self.class_names = None if class_names is None else list(class_names)
        self.build((None, *self.encoder.image_shape))

    @classmethod
    def from_sizes(
        cls,
        num_classes,
        pooling="mean_before_norm",
        head_norm=None,
        freeze_encoder=False,
        head_stddev=2e-5,
        **encoder_sizes,
    ):
        """Makes the classifier with a new encoder, from its sizes.

        Args:
            num_classes: int. Number of classes.
            pooling: str. As of the class. Defaults to `"mean_before_norm"`.
            head_norm: str. As of the class. Defaults to `None`: by `pooling`.
            freeze_encoder: bool. Whether only the head is trained. Defaults to
                `False`.
            head_stddev: float. Standard deviation of the head's first weights.
                Defaults to `2e-5`.
            **encoder_sizes: Arguments of `ViTEncoder`: `image_shape`,
                `patch_size`, `hidden_dim`, `num_layers`, `num_heads` and so
                on.

        Returns:
            An `ImageClassifier`.

        Example:

        >>> classifier = keras_clmae.models.ImageClassifier.from_sizes(
        ...     num_classes=10, image_shape=(8, 8, 1), patch_size=2,
        ...     hidden_dim=16, num_layers=1, num_heads=2,
        ... )
        >>> classifier.encoder.num_tokens
        16
        """
        return cls(
            ViTEncoder.from_sizes(**encoder_sizes),
            num_classes,
            pooling=pooling,
            head_norm=head_norm,
            freeze_encoder=freeze_encoder,
            head_stddev=head_stddev,
        )

    def build(self, input_shape):
        if self.built:
            return
        features_shape = (None, self.encoder.hidden_dim)
        self.norm.build(features_shape)
        self.head.build(features_shape)
        self.built = True

    def call(self, images, training=None):
        images, _ = unpack_batch(images)
        features = pool_tokens(
            self.encoder,
            images,
            self.pooling,
            training=training and not self.freeze_encoder,
        )
        return self.head(self.norm(features, training=training))

    def compute_output_shape(self, input_shape):
        if isinstance(input_shape, dict):
            input_shape, _ = unpack_batch(input_shape)
        return (input_shape[0], self.num_classes)

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        for name, values in (
            ("loss", loss),
            ("metrics", kwargs.get("metrics")),
            ("weighted_metrics", kwargs.get("weighted_metrics")),
        ):
            for value in keras.tree.flatten(values):
                check_takes_logits(name, value)
        super().compile(optimizer, loss, **kwargs)

    def compile_from_config(self, config):
        try:
            self.compile(**keras.saving.deserialize_keras_object(config))
        except ValueError as error:
            # Files from before the check of losses are still good models.
            warnings.warn(
                f"The stored classifier is loaded, but not compiled: {error}",
                stacklevel=2,
            )
            return
        self.optimizer.build(self.trainable_variables)

    def _check_fit(self, x, y, validation_data):
        if isinstance(validation_data, tuple | list):
            check_labels(
                "validation_data", *validation_data[:2], self.num_classes
            )
        elif validation_data is not None:
            check_labels(
                "validation_data", validation_data, None, self.num_classes
            )
            check_same_classes(x, validation_data)
        check_class_names(self, x)
        names = getattr(x, "class_names", None)
        if self.class_names is None and names is not None:
            self.class_names = list(names)
        check_class_names(self, validation_data)

    def _check_data(self, x, y):
        check_labels("y", x, y, self.num_classes)
        check_class_names(self, x)

    def _find_foreign_labels(self, y):
        return foreign_labels(y, self.num_classes)

    def _expected_labels(self):
        return (
            f"labels in [0, {self.num_classes}), as `num_classes` is "
            f"{self.num_classes}; leave out images without a class, whose "
            "label often is -1"
        )

    def predict(self, x, *args, **kwargs):
        check_class_names(self, x)
        return super().predict(x, *args, **kwargs)

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
            "class_names": self.class_names,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(
            config["encoder"], custom_objects=custom_objects
        )
        return cls(**{**config, "encoder": encoder})
