"""Classify images by a linear head on an encoder."""

import inspect
import warnings

import keras
import numpy as np
from keras import ops

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.encoder_copy import copy_encoder
from keras_clmae.models.pooling import check_pooling
from keras_clmae.models.pooling import pool_tokens
from keras_clmae.models.presets import PresetModel
from keras_clmae.saving.keras_files import load_keras_model


@keras.saving.register_keras_serializable(package="keras_clmae")
class ImageClassifier(PresetModel):
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
        # In no log: only `_refuse_foreign_labels` reads it.
        self._foreign_labels = keras.metrics.Sum(name="foreign_labels")
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
        """Makes the encoder too, from its sizes.

        Args:
            num_classes: see the class.
            pooling: see the class.
            head_norm: see the class.
            freeze_encoder: see the class.
            head_stddev: see the class.
            **encoder_sizes: Arguments of `ViTEncoder`.

        Returns:
            An `ImageClassifier`.
        """
        return cls(
            ViTEncoder.from_sizes(**encoder_sizes),
            num_classes,
            pooling=pooling,
            head_norm=head_norm,
            freeze_encoder=freeze_encoder,
            head_stddev=head_stddev,
        )

    @classmethod
    def _from_folder(cls, folder, load_weights, overrides):
        """A stored classifier, or a new head on the encoder that is stored."""
        model = load_keras_model(folder, load_weights)
        if not isinstance(model, cls):
            return cls(getattr(model, "encoder", model), **overrides)
        if overrides:
            raise ValueError(
                "`overrides` apply to a new head on a stored encoder, not to a "
                f"stored ImageClassifier. Received: {', '.join(overrides)} for "
                f"preset={folder!r}"
            )
        return model

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

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        for name, values in (
            ("loss", loss),
            ("metrics", kwargs.get("metrics")),
            ("weighted_metrics", kwargs.get("weighted_metrics")),
        ):
            for value in keras.tree.flatten(values):
                _check_takes_logits(name, value)
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

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        **kwargs,
    ):
        self._check_labels("y", x, y)
        if isinstance(validation_data, tuple | list):
            self._check_labels("validation_data", *validation_data[:2])
        elif validation_data is not None:
            self._check_labels("validation_data", validation_data, None)
            _check_same_classes(x, validation_data)
        check_class_names(self, x)
        names = getattr(x, "class_names", None)
        if self.class_names is None and names is not None:
            self.class_names = list(names)
        check_class_names(self, validation_data)
        check = _RefusesForeignLabels()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(check)
        else:
            callbacks = [*keras.tree.flatten(callbacks or []), check]
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            **kwargs,
        )

    def evaluate(self, x=None, y=None, *args, **kwargs):
        self._check_labels("y", x, y)
        check_class_names(self, x)
        result = super().evaluate(x, y, *args, **kwargs)
        self._refuse_foreign_labels()
        return result

    def predict(self, x, *args, **kwargs):
        check_class_names(self, x)
        return super().predict(x, *args, **kwargs)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        foreign = self._find_foreign_labels(y)
        if foreign is not None:
            # Some backends stop at such a label, without naming an argument.
            y = ops.where(foreign, ops.zeros_like(y), y)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        foreign = self._find_foreign_labels(y)
        if foreign is not None:
            self._foreign_labels.update_state(ops.cast(foreign, "float32"))
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_metrics_result(self):
        results = super().get_metrics_result()
        results.pop(self._foreign_labels.name, None)
        return results

    @property
    def metrics_names(self):
        hidden = self._foreign_labels.name
        return [name for name in super().metrics_names if name != hidden]

    def _find_foreign_labels(self, y):
        """Finds the integer labels that are no class of the head.

        Inside a compiled step nothing can be raised; they are counted there.

        Returns:
            bool tensor of the shape of `y`, or `None` for other labels.
        """
        if not hasattr(y, "dtype"):
            return None
        if "int" not in keras.backend.standardize_dtype(y.dtype):
            return None
        if len(y.shape) > 1 and y.shape[-1] != 1:
            return None
        return ops.logical_or(y < 0, y >= self.num_classes)

    def _refuse_foreign_labels(self):
        count = int(self._foreign_labels.result())
        if count:
            raise ValueError(
                f"Labels must be in [0, {self.num_classes}), as `num_classes` "
                f"is {self.num_classes}; leave out images without a class "
                f"(-1). Received: {count} labels outside of it"
            )

    def _check_labels(self, name, x, y):
        """Raises where a class is seen to be none of the head's.

        It would give silent NaN or zero losses, by backend.
        """
        known = getattr(x, "num_classes", None)
        if known is not None and known > self.num_classes:
            raise ValueError(
                f"`{name}` must hold labels in [0, {self.num_classes}), as "
                f"`num_classes` is {self.num_classes}. Received: a data set "
                f"of {known} classes"
            )
        # The package's data sets of arrays and of folders show their labels.
        labels = getattr(x, "labels", None) if y is None else y
        if not hasattr(labels, "dtype"):
            return
        labels = ops.convert_to_numpy(labels)
        if labels.ndim == 2 and labels.shape[1] != 1:
            if labels.shape[1] != self.num_classes:
                raise ValueError(
                    f"`{name}` must hold one column a class, as `num_classes` "
                    f"is {self.num_classes}. Received: labels of shape "
                    f"{labels.shape}"
                )
        elif np.issubdtype(labels.dtype, np.integer) and (
            labels.min() < 0 or labels.max() >= self.num_classes
        ):
            raise ValueError(
                f"`{name}` must hold labels in [0, {self.num_classes}), as "
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
            "class_names": self.class_names,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(
            config["encoder"], custom_objects=custom_objects
        )
        return cls(**{**config, "encoder": encoder})


class _RefusesForeignLabels(keras.callbacks.Callback):
    """Ends a training whose labels are no classes, after its first epoch."""

    def on_test_begin(self, logs=None):
        # Validation starts the count anew.
        self.model._refuse_foreign_labels()

    def on_epoch_end(self, epoch, logs=None):
        self.model._refuse_foreign_labels()


def _check_takes_logits(name, value):
    """Raises where a loss or a metric is one of probabilities."""
    getter = keras.losses.get if name == "loss" else keras.metrics.get
    if isinstance(value, str):
        try:
            value = getter(value)
        except ValueError:
            # Keras says so itself.
            return
    if inspect.isclass(value):
        value = value()
    if hasattr(value, "get_config"):
        from_logits = value.get_config().get("from_logits")
    elif callable(value):
        parameter = inspect.signature(value).parameters.get("from_logits")
        from_logits = parameter and parameter.default
    else:
        return
    if from_logits is False:
        kind = getattr(value, "__name__", type(value).__name__)
        raise ValueError(
            f"`{name}` must take logits, which is what an ImageClassifier "
            "gives, for instance `keras.losses.SparseCategoricalCrossentropy("
            f"from_logits=True)`. Received: {kind} with from_logits=False"
        )


def check_class_names(classifier, dataset):
    """Raises where a data set numbers its classes in another way.

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


def _check_same_classes(train, validation):
    """Raises where two data sets say that they number classes differently."""
    names = [getattr(each, "class_names", None) for each in (train, validation)]
    if None not in names and list(names[0]) != list(names[1]):
        raise ValueError(
            "`validation_data` must number its classes as the training data: "
            "make it with `class_names=train.class_names`. Received: "
            f"class_names={names[1]}, in training {names[0]}"
        )


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
