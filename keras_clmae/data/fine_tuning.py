"""Augment labeled images strongly, and make transforms from their names."""

import math
import warnings

import keras

from keras_clmae.data.transforms import EvaluationTransform
from keras_clmae.data.transforms import ImageTransform
from keras_clmae.data.transforms import PretrainTransform
from keras_clmae.data.transforms import normalize
from keras_clmae.data.transforms import standardize_image_size
from keras_clmae.optional_imports import require

# The largest of RandAugment's paper; keras-cv goes from 0 to 1, where 0.3
# shears by 0.3, as the paper's operations do at 10.
_MAX_MAGNITUDE = 30
# Of the magnitude from image to image.
_MAGNITUDE_STDDEV = 0.5


class FineTuneTransform(PretrainTransform):
    """Random resized crop and strong augmentation, with labels.

    The crop's defaults are `PretrainTransform`'s.

    RandAugment, MixUp and CutMix are keras-cv's; half of the batches get
    MixUp, the other half CutMix. Labels come out as floats of shape
    `(batch, num_classes)`, mixed and smoothed, for
    `keras.losses.CategoricalCrossentropy`.

    Args:
        image_size: int, or pair of int (height, width).
        scale: pair of float in (0, 1]. Defaults to `(0.2, 1.0)`.
        aspect_ratio: pair of float. Defaults to `(3 / 4, 4 / 3)`.
        flip: bool or float in [0, 1]. As of `PretrainTransform`. Defaults to
            `True`.
        magnitude: float from 0 to 30. Strength of RandAugment's two
            operations on the scale of its paper; 0 leaves RandAugment out, as
            a warning says for images of other than 3 channels. Defaults to
            `9`.
        erasing_rate: float from 0 to 1. Share of the images of which a
            rectangle is replaced by noise. Defaults to `0.25`.
        mixup_alpha: float. Parameter of the Beta distribution of MixUp; 0
            leaves MixUp out. Defaults to `0.8`.
        cutmix_alpha: float. Parameter of the Beta distribution of CutMix;
            0 leaves CutMix out. Defaults to `1.0`.
        label_smoothing: float in [0, 1). Defaults to `0.1`.

    References:

    - [He et al., 2022](https://arxiv.org/abs/2111.06377), table 9
    - [Cubuk et al., 2020](https://arxiv.org/abs/1909.13719) (RandAugment)
    - [Zhong et al., 2020](https://arxiv.org/abs/1708.04896) (random erasing)
    - [Zhang et al., 2018](https://arxiv.org/abs/1710.09412) (MixUp)
    - [Yun et al., 2019](https://arxiv.org/abs/1905.04899) (CutMix)

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    transform = keras_clmae.data.FineTuneTransform(224, mixup_alpha=0.0)
    dataset = keras_clmae.data.image_folder(
        "photos", 224, batch_size=64, transform=transform, labels=True
    )
    ```
    """

    def __init__(
        self,
        image_size,
        scale=(0.2, 1.0),
        aspect_ratio=(3 / 4, 4 / 3),
        flip=True,
        magnitude=9,
        erasing_rate=0.25,
        mixup_alpha=0.8,
        cutmix_alpha=1.0,
        label_smoothing=0.1,
    ):
        super().__init__(image_size, scale, aspect_ratio, flip)
        for name, value, largest in (
            ("magnitude", magnitude, _MAX_MAGNITUDE),
            ("erasing_rate", erasing_rate, 1),
            ("mixup_alpha", mixup_alpha, math.inf),
            ("cutmix_alpha", cutmix_alpha, math.inf),
            ("label_smoothing", label_smoothing, 1),
        ):
            if not 0 <= value <= largest:
                raise ValueError(
                    f"`{name}` must be from 0 to {largest}. "
                    f"Received: {name}={value}"
                )
        # The augmentations are those of pixels from 0 to 255.
        self.takes_standardized = False
        self.magnitude = magnitude
        self.erasing_rate = erasing_rate
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.label_smoothing = label_smoothing
        self._augment, self._mixers = self._make_layers()

    def _make_layers(self):
        # keras-cv's layers, and those inside of them, compute in the global
        # type where they are made; pixels are float32.
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            return self._make_float32_layers()
        finally:
            keras.config.set_dtype_policy(policy)

    def _make_float32_layers(self):
        tf = require("tensorflow", "The fine-tuning transform")
        keras_cv = require("keras_cv", "The fine-tuning transform")
        augment = None
        # keras-cv's layers rely on `tf.function` to convert their `if`s.
        if self.magnitude:
            augment = tf.function(
                keras_cv.layers.RandAugment(
                    value_range=(0, 255),
                    augmentations_per_image=2,
                    magnitude=self.magnitude / _MAX_MAGNITUDE,
                    magnitude_stddev=_MAGNITUDE_STDDEV / _MAX_MAGNITUDE,
                )
            )
        mixers = []
        if self.mixup_alpha:
            mixers.append(keras_cv.layers.MixUp(alpha=self.mixup_alpha))
        if self.cutmix_alpha:
            mixers.append(keras_cv.layers.CutMix(alpha=self.cutmix_alpha))
        return augment, [tf.function(layer) for layer in mixers]

    def batch(self, images, labels, normalization, num_classes, seed):
        tf = require("tensorflow", "Transforming images")
        if self._augment is not None and images.shape[-1] == 3:
            images = self._augment(images)
        elif self._augment is not None:
            warnings.warn(
                "Left out RandAugment, which changes colors, for images of "
                f"{images.shape[-1]} channel(s). Pass `channels=3` to make "
                "them RGB, or `magnitude=0` to do so without this line.",
                stacklevel=2,
            )
        images = normalize(images, normalization)
        if self.erasing_rate:
            images = erase_rectangles(images, self.erasing_rate, seed)
        if labels is None:
            return images, None
        labels = tf.one_hot(labels, num_classes)
        labels = (
            labels * (1 - self.label_smoothing)
            + self.label_smoothing / num_classes
        )
        if not self._mixers:
            return images, labels

        def mix(layer):
            def mixed():
                outputs = layer({"images": images, "labels": labels})
                return outputs["images"], outputs["labels"]

            return mixed

        chosen = tf.random.stateless_uniform(
            (), seed + (2, 0), 0, len(self._mixers), "int32"
        )
        mixed, labels = tf.switch_case(
            chosen, [mix(layer) for layer in self._mixers]
        )
        return tf.ensure_shape(mixed, images.shape), labels


def erase_rectangles(images, rate, seed):
    """Replaces a rectangle of some images with normal noise.

    Its area is uniform in 2% to a third of the image's, the logarithm of
    its height / width uniform in 0.3 to 1 / 0.3 (Zhong et al., 2020).

    Args:
        images: float32 tensor of shape `(batch, height, width, channels)`,
            standardized.
        rate: float from 0 to 1. Share of the images.
        seed: int tensor of shape `(2,)`.

    Returns:
        A tensor of the same shape.
    """
    tf = require("tensorflow", "Transforming images")
    shape = tf.shape(images)
    height, width = (float(side) for side in images.shape[1:3])
    draws = tf.random.stateless_uniform((5, shape[0]), seed + (3, 0))
    chosen, area, ratio, top, left = tf.unstack(draws)
    area = (0.02 + (1 / 3 - 0.02) * area) * height * width
    ratio = tf.exp((2 * ratio - 1) * math.log(1 / 0.3))
    heights = tf.minimum(tf.round(tf.sqrt(area * ratio)), height)
    widths = tf.minimum(tf.round(tf.sqrt(area / ratio)), width)
    tops = tf.floor(top * (height - heights + 1))
    lefts = tf.floor(left * (width - widths + 1))

    def between(positions, starts, lengths):
        distance = positions - starts[:, tf.newaxis]
        return (distance >= 0) & (distance < lengths[:, tf.newaxis])

    rows = between(tf.range(height), tops, heights)
    columns = between(tf.range(width), lefts, widths)
    inside = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    inside &= (chosen < rate)[:, tf.newaxis, tf.newaxis]
    noise = tf.random.stateless_normal(shape, seed + (4, 0))
    return tf.where(inside[..., tf.newaxis], noise, images)


TRANSFORMS = {
    "pretrain": PretrainTransform,
    "fine_tune": FineTuneTransform,
    "evaluation": EvaluationTransform,
}


def get_transform(transform, image_size, labels):
    """Makes a transform from its name.

    Args:
        transform: `"pretrain"`, `"fine_tune"`, `"evaluation"`, or a
            transform, which is returned as it is.
        image_size: int, or pair of int (height, width).
        labels: bool. Whether the images have labels, which the named
            `"fine_tune"` mixes. A `FineTuneTransform` does without.

    Returns:
        A transform.

    Raises:
        ValueError: If the name is unknown, or the transform is for other labels
            or another image size.
    """
    image_size = standardize_image_size(image_size)
    if isinstance(transform, ImageTransform):
        if transform.image_size != image_size:
            raise ValueError(
                "`image_size` must be that of the transform, "
                f"{transform.image_size}. Received: image_size={image_size}"
            )
        return transform
    if transform not in TRANSFORMS:
        raise ValueError(
            f"`transform` must be one of {sorted(TRANSFORMS)} or a "
            f"transform. Received: transform={transform!r}"
        )
    if transform == "fine_tune" and not labels:
        raise ValueError(
            '`labels` must be True with `transform="fine_tune"`. '
            f"Received: labels={labels}"
        )
    return TRANSFORMS[transform](image_size)
