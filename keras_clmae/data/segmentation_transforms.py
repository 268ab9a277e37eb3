"""Crop, flip and resize images together with their masks."""

from keras_clmae.data import crops
from keras_clmae.data.orientation import reverse
from keras_clmae.data.transforms import EvaluationTransform
from keras_clmae.data.transforms import PretrainTransform
from keras_clmae.data.transforms import normalize
from keras_clmae.optional_imports import require


class SegmentationTransform(PretrainTransform):
    """Random resized crop and horizontal flip of an image with its mask.

    Args:
        image_size: int, or pair of int (height, width).
        scale: pair of float in (0, 1]. Least and largest share of the
            image's area. Defaults to `(0.25, 1.0)`.
        aspect_ratio: pair of float. Least and largest width /
            height of the window. Defaults to `(3 / 4, 4 / 3)`.
        flip: bool or float in [0, 1]. Whether to mirror every other pair, or
            the share of pairs to mirror. Defaults to `True`.

    Example:

    ```python
    transform = keras_clmae.data.SegmentationTransform(224, flip=False)
    dataset = keras_clmae.data.segmentation_folder(
        "images", "masks", 224, batch_size=16, transform=transform
    )
    ```
    """

    def __init__(
        self,
        image_size,
        scale=(0.25, 1.0),
        aspect_ratio=(3 / 4, 4 / 3),
        flip=True,
    ):
        super().__init__(image_size, scale, aspect_ratio, flip)

    def window(self, shape, seed):
        """Draws the part of a pair that is shown.

        Args:
            shape: int tensor `(height, width)` of the image.
            seed: int tensor of shape `(2,)`.

        Returns:
            An int32 tensor `(top, left, height, width)`, and a scalar boolean
            tensor, whether to mirror it.
        """
        tf = require("tensorflow", "Transforming images")
        window = crops.random_window(shape, seed, self.scale, self.aspect_ratio)
        draw = tf.random.stateless_uniform((), seed + (1, 0))
        return window, draw < self.flip


class _CentralTransform(EvaluationTransform):
    """Shows the largest window in the middle that has the right shape."""

    def window(self, shape, seed):
        tf = require("tensorflow", "Transforming images")
        shape = tf.cast(shape, "float64")
        size = tf.constant(self.image_size, "float64")
        size = tf.round(size * tf.reduce_min(shape / size))
        window = tf.concat([(shape - size) // 2, size], axis=0)
        return tf.cast(window, "int32"), tf.constant(False)


class PairTransform:
    """Adapts a transform to pairs, for `make_batches`.

    On the way to the batch a mask is one more channel of its image.

    Args:
        transform: Has `window(shape, seed)` and `image_size`.
        reader: A `MaskReader`.
    """

    takes_standardized = False

    def __init__(self, transform, reader):
        self.transform = transform
        self.reader = reader

    def example(self, contents, decoder, seed):
        tf = require("tensorflow", "Transforming images")
        pixels = decoder.decode(contents[0])
        mask = tf.numpy_function(
            self.reader.read, [contents[1]], "float32", stateful=False
        )
        mask = tf.ensure_shape(mask, (None, None))[..., tf.newaxis]
        same = tf.debugging.assert_equal(
            tf.shape(mask)[:2], tf.shape(pixels)[:2]
        )
        with tf.control_dependencies([] if same is None else [same]):
            window, mirror = self.transform.window(tf.shape(pixels)[:2], seed)
        image_size = self.transform.image_size
        pixels = crops.resize_window(cut(pixels, window), image_size)
        # Bicubic interpolation overshoots at edges.
        pixels = tf.clip_by_value(pixels, 0.0, 255.0)
        mask = resize_mask(cut(mask, window), image_size)
        pair = reverse(tf.concat([pixels, mask], axis=-1), 1, mirror)
        return tf.ensure_shape(pair, (*image_size, decoder.channels + 1))

    def batch(self, images, labels, normalization, num_classes, seed):
        tf = require("tensorflow", "Transforming images")
        masks = tf.cast(images[..., -1], "int32")
        return normalize(images[..., :-1], normalization), masks


def cut(pixels, window):
    """Cuts a window out of an image.

    Args:
        pixels: tensor of shape `(height, width, channels)`.
        window: int tensor `(top, left, height, width)`.

    Returns:
        A tensor of shape `(window height, window width, channels)`.
    """
    top, left, height, width = (window[index] for index in range(4))
    return pixels[top : top + height, left : left + width]


def resize_mask(mask, image_size):
    """Resizes a mask by nearest neighbors: no label is made up.

    The label of a pixel is that of the pixel under its center, as bicubic
    interpolation of the image places centers.

    Args:
        mask: tensor of shape `(height, width, 1)`.
        image_size: pair of int. Height and width of the result.

    Returns:
        A tensor of shape `(*image_size, 1)`, of the same type.
    """
    tf = require("tensorflow", "Transforming images")
    return tf.image.resize(mask, image_size, method="nearest")


def get_pair_transform(transform, image_size):
    """Makes the transform that the argument `transform` names.

    Args:
        transform: `"fine_tune"`, `"evaluation"` or a `SegmentationTransform`.
        image_size: int, or pair of int (height, width).

    Returns:
        A transform with `window(shape, seed)`.

    Raises:
        ValueError: If there is none of the name, or it has another size.
    """
    if transform == "fine_tune":
        return SegmentationTransform(image_size)
    if transform == "evaluation":
        return _CentralTransform(image_size, crop_fraction=1.0)
    if isinstance(transform, SegmentationTransform):
        wanted = EvaluationTransform(image_size).image_size
        if transform.image_size == wanted:
            return transform
    raise ValueError(
        '`transform` must be "fine_tune", "evaluation" or a '
        f"`SegmentationTransform` of image_size={image_size}. Received: "
        f"transform={transform!r}"
    )
