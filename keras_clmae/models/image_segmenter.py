"""Classify the pixels of images: an encoder with a light head."""

import keras
import numpy as np
from keras import ops

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.batches import unpack_batch
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.encoder_copy import copy_encoder
from keras_clmae.models.heads import count_upsampling_layers
from keras_clmae.models.heads import upsampling_layers
from keras_clmae.models.label_checks import check_takes_logits
from keras_clmae.models.labeled_model import LabeledModel
from keras_clmae.models.mask_checks import check_class_names
from keras_clmae.models.mask_checks import check_dataset
from keras_clmae.models.mask_checks import check_ignore_label
from keras_clmae.models.mask_checks import check_loss
from keras_clmae.models.mask_checks import check_mask_shape
from keras_clmae.models.mask_checks import check_masks
from keras_clmae.models.mask_checks import foreign_pixels
from keras_clmae.models.segmentation_metrics import MeanIoU

_ARGUMENTS_OF_THE_HEAD = (
    *("ignore_label", "class_names"),
    *("freeze_encoder", "num_upsampling_layers"),
)


@keras.saving.register_keras_serializable(package="keras_clmae")
class ImageSegmenter(LabeledModel):
    """An encoder with a light head that classifies every pixel.

    Takes a copy of the encoder: the one that is passed stays as it is. The
    patch tokens after the encoder's final norm are laid out as a grid. Each of
    at most two transposed convolutions (2 by 2, stride 2) doubles the sides of
    the grid and halves the width, followed by a layer norm and GELU, as in
    ViTDet's simple feature pyramid (https://arxiv.org/abs/2203.16527). A
    linear layer makes the logits, and bilinear interpolation brings them to
    the size of the image. Kernel and stride are equal, so that a pixel hears of
    the image through the encoder only: the head is small (1.5 million weights
    on ViT-B, without classes) and leaves the work to pretrained layers.

    Args:
        encoder: `ViTEncoder`.
        num_classes: int. The background counts, where it is a class.
        ignore_label: int, none of [0, num_classes). Label of pixels that
            neither train nor count. Defaults to `255`. `None` for none.
        class_names: list of str, one per class. Defaults to `None`: those of
            the data set in `fit`, if it has any.
        freeze_encoder: bool. Whether only the head is trained, with the
            encoder's drop path off. Defaults to `False`.
        num_upsampling_layers: int. Number of transposed convolutions; 2 to
            their power must not exceed the patch size. Defaults to `None`: two,
            or one for patches of 2 or 3 pixels.
        drop_path_rate: float in [0, 1). Stochastic depth of the encoder.
            Defaults to `None`: the encoder's own.
        image_shape: tuple of int. (height, width, channels). Where the grid of
            patches differs, the position table is interpolated. Defaults to
            `None`: the encoder's own.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).
        training: bool.

    Returns:
        Logits, float32 tensor of shape (batch, height, width, num_classes).

    Raises:
        ValueError: If an argument does not fit; from `fit` and `evaluate`, if
            masks are not integers of shape (batch, height, width), or hold a
            label that is neither in [0, num_classes) nor `ignore_label` (those
            that cannot be seen before are counted, and refused at the end of
            the epoch), or a data set numbers its classes differently.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> segmenter = keras_clmae.models.ImageSegmenter(encoder, num_classes=3)
    >>> segmenter.compile(keras_clmae.optimizers.LayerDecayAdamW(1e-3))
    >>> images = np.zeros((4, 8, 8, 1), "float32")
    >>> masks = np.zeros((4, 8, 8), "uint8")
    >>> history = segmenter.fit(images, masks, verbose=0)
    >>> sorted(history.history)
    ['loss', 'mean_iou']
    >>> segmenter.predict(images, verbose=0).shape
    (4, 8, 8, 3)
    >>> segmenter.predict_classes(images).shape
    (4, 8, 8)
    """

    preset_prefix = "vit_"

    def __init__(
        self,
        encoder,
        num_classes,
        ignore_label=255,
        class_names=None,
        freeze_encoder=False,
        num_upsampling_layers=None,
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
        check_ignore_label(ignore_label, num_classes)
        check_class_names(class_names, num_classes)

        # === Config ===
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.class_names = None if class_names is None else list(class_names)
        self.freeze_encoder = freeze_encoder
        self.num_upsampling_layers = count_upsampling_layers(
            num_upsampling_layers, encoder.patch_size
        )

        # === Layers ===
        self.encoder = copy_encoder(encoder, image_shape, drop_path_rate)
        self.encoder.trainable = not freeze_encoder
        self.upsampling, self.upsampling_norms = [], []
        # In turn: stored optimizers know the weights by their order.
        for layer, norm in upsampling_layers(
            self.encoder, self.num_upsampling_layers
        ):
            self.upsampling.append(layer)
            self.upsampling_norms.append(norm)
        self.head = keras.layers.Dense(
            num_classes, name="head", dtype="float32"
        )
        self.build((None, *self.encoder.image_shape))

    @classmethod
    def from_sizes(cls, num_classes, **arguments):
        """Makes the segmenter with a new encoder, from its sizes.

        Args:
            num_classes: int. Number of classes.
            **arguments: `ignore_label`, `class_names`, `freeze_encoder` and
                `num_upsampling_layers` as the class takes them; the others are
                arguments of `ViTEncoder`.

        Returns:
            An `ImageSegmenter`.

        Example:

        >>> segmenter = keras_clmae.models.ImageSegmenter.from_sizes(
        ...     num_classes=3, image_shape=(8, 8, 1), patch_size=2,
        ...     hidden_dim=16, num_layers=1, num_heads=2,
        ... )
        >>> segmenter.num_upsampling_layers
        1
        """
        own = {
            name: arguments.pop(name)
            for name in _ARGUMENTS_OF_THE_HEAD
            if name in arguments
        }
        return cls(ViTEncoder.from_sizes(**arguments), num_classes, **own)

    def with_image_shape(self, image_shape):
        """Copies the segmenter for images of another size, with its weights.

        Args:
            image_shape: tuple of int. (height, width, channels), the sides
                multiples of the patch size.

        Returns:
            An `ImageSegmenter` that is not compiled.

        Raises:
            ValueError: If the number of channels differs, or the new sides are
                no multiples of the patch size.

        Example:

        >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
        >>> segmenter = keras_clmae.models.ImageSegmenter(encoder, 3)
        >>> wide = segmenter.with_image_shape((8, 20, 1))
        >>> wide.predict_classes(np.zeros((1, 8, 20, 1), "float32")).shape
        (1, 8, 20)
        """
        config = self.get_config() | {
            "encoder": self.encoder,
            "image_shape": tuple(image_shape),
        }
        copy = type(self)(**config)
        for own, others in zip(copy._head(), self._head(), strict=True):
            own.set_weights(others.get_weights())
        return copy

    def build(self, input_shape):
        if self.built:
            return
        grid = (None, *self.encoder.grid_size, self.encoder.hidden_dim)
        for layer in self._head():
            layer.build(grid)
            grid = layer.compute_output_shape(grid)
        self.built = True

    def _head(self):
        """Lists the layers of the head that have weights, in order."""
        stages = zip(self.upsampling, self.upsampling_norms, strict=True)
        return [*(layer for stage in stages for layer in stage), self.head]

    def call(self, images, training=None):
        images, _ = unpack_batch(images)
        tokens = self.encoder(
            images, training=training and not self.freeze_encoder
        )
        rows, columns = self.encoder.grid_size
        grid = ops.reshape(
            tokens[:, 1:], (-1, rows, columns, self.encoder.hidden_dim)
        )
        for layer, norm in zip(
            self.upsampling, self.upsampling_norms, strict=True
        ):
            grid = ops.gelu(norm(layer(grid)), approximate=False)
        logits = self.head(grid)
        size = tuple(self.encoder.image_shape[:2])
        if tuple(logits.shape[1:3]) == size:
            return logits
        return ops.image.resize(
            logits,
            size,
            interpolation="bilinear",
            data_format="channels_last",
        )

    def compute_output_shape(self, input_shape):
        if isinstance(input_shape, dict):
            input_shape, _ = unpack_batch(input_shape)
        height, width, _ = self.encoder.image_shape
        return (input_shape[0], height, width, self.num_classes)

    def compile(
        self, optimizer="rmsprop", loss="auto", metrics="auto", **kwargs
    ):
        """Configures training, with the loss and the metric of segmentation.

        Args:
            optimizer: As in `keras.Model.compile`.
            loss: As in `keras.Model.compile`; it must take logits. Defaults to
                `"auto"`: cross-entropy, the mean over the pixels that are not
                of `ignore_label`.
            metrics: As in `keras.Model.compile`. Defaults to `"auto"`: mean
                intersection over union, see `MeanIoU`.
            **kwargs: Further arguments of `keras.Model.compile`.

        Raises:
            ValueError: If the loss or a metric takes probabilities, or the
                loss does not leave out `ignore_label`.
        """
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=self.ignore_label
            )
        check_loss(loss, self.ignore_label)
        if metrics == "auto":
            metrics = [MeanIoU(self.num_classes, self.ignore_label)]
        for value in keras.tree.flatten(metrics):
            check_takes_logits("metrics", value)
        super().compile(optimizer, loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config):
        """Compiles a loaded model as it was compiled before it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y = unpack_batch(x)[1] if y is None else y
        check_mask_shape("y", y, self.encoder.image_shape[:2])
        y = ops.cast(y, "int32")
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _find_foreign_labels(self, y):
        return foreign_pixels(y, self.num_classes, self.ignore_label)

    def _expected_labels(self):
        return (
            f"labels in [0, {self.num_classes}) or `ignore_label`, "
            f"{self.ignore_label}"
        )

    def _check_fit(self, x, y, validation_data):
        if isinstance(validation_data, tuple | list):
            self._check_masks("validation_data", *validation_data[:2])
        elif validation_data is not None:
            self._check_masks("validation_data", validation_data, None)
        names = getattr(x, "class_names", None) or ()
        if self.class_names is None and len(names) == self.num_classes:
            self.class_names = list(names)

    def _check_data(self, x, y):
        self._check_masks("y", x, y)

    def _check_masks(self, name, x, y):
        """Refuses labels that are no class of the head."""
        check_dataset(name, x, self)
        if y is None and isinstance(x, dict):
            _, y = unpack_batch(x)
        if y is None and hasattr(x, "dtype"):
            check_mask_shape(name, None, self.encoder.image_shape[:2])
        # Data sets of arrays show their masks.
        masks = getattr(x, "labels", None) if y is None else y
        if hasattr(masks, "dtype"):
            check_masks(name, masks, self)

    def predict_classes(self, images, batch_size=8):
        """Predicts the most likely class of every pixel.

        The logits of only one batch are in memory at a time, other than with
        `predict`.

        Args:
            images: float array of shape (images, height, width, channels).
            batch_size: int. Defaults to `8`.

        Returns:
            int32 array of shape (images, height, width).

        Raises:
            ValueError: If there is no image or `batch_size` is not positive.
        """
        check_positive_integer("batch_size", batch_size)
        if not len(images):
            raise ValueError(
                "`images` must hold at least one image. Received: "
                f"images.shape={images.shape}"
            )
        classes = []
        for start in range(0, len(images), batch_size):
            batch = ops.convert_to_numpy(images[start : start + batch_size])
            number = len(batch)
            if start:
                # Every batch has the first one's size: one program is compiled.
                padding = [(0, batch_size - number)] + [(0, 0)] * 3
                batch = np.pad(batch, padding)
            logits = self.predict_on_batch(batch)[:number]
            classes.append(logits.argmax(axis=-1).astype("int32"))
        return np.concatenate(classes)

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
            "class_names": self.class_names,
            "freeze_encoder": self.freeze_encoder,
            "num_upsampling_layers": self.num_upsampling_layers,
            "drop_path_rate": self.encoder.drop_path_rate,
            "image_shape": self.encoder.image_shape,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(
            config["encoder"], custom_objects=custom_objects
        )
        return cls(**{**config, "encoder": encoder})
