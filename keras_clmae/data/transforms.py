"""Crop, resize and flip images between their file and the model."""

from keras_clmae.data import crops
from keras_clmae.data.augmentation import augment_batch
from keras_clmae.data.augmentation import jitter_colors
from keras_clmae.data.decoding import REDUCTIONS
from keras_clmae.data.orientation import exif_orientation
from keras_clmae.data.orientation import reverse
from keras_clmae.data.orientation import reversed_axes
from keras_clmae.data.orientation import transpose
from keras_clmae.optional_imports import require

# A JPEG is reduced while it is decoded as far as leaves so many times the
# pixels of the result along each side, for the kernel that follows.
_CLEAN = 2


class ImageTransform:
    """Brings image files to arrays of one size. Base class.

    Subclasses define `example`, which runs on each image in `tf.data`, and may
    define `batch`, which runs on each batch after it.

    Args:
        image_size: int, or pair of int (height, width).
    """

    # Whether a data set is in random order with this transform by default.
    is_training = False
    # Whether `batch` takes pixels that are standardized already: image by
    # image, while they are in the processor's cache, it is faster.
    takes_standardized = True

    def __init__(self, image_size):
        self.image_size = standardize_image_size(image_size)

    def example(self, contents, decoder, seed):
        """Turns the bytes of one image file into pixels.

        Args:
            contents: scalar string tensor.
            decoder: An `ImageDecoder`.
            seed: int tensor of shape `(2,)`, of the random draws.

        Returns:
            A float32 tensor of shape `(*image_size, channels)`, 0 is black
            and 255 white.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `example`."
        )

    def batch(self, images, labels, normalization, num_classes, seed):
        """Finishes a batch; here there is nothing left to do.

        Args:
            images: float32 tensor of shape `(batch, *image_size, channels)`,
                from `example`, standardized where `takes_standardized`.
            labels: int32 tensor of shape `(batch,)`, or `None`.
            normalization: A `PixelNormalization`.
            num_classes: int or `None`.
            seed: int tensor of shape `(2,)`, of the random draws.

        Returns:
            A pair of the images and the labels.
        """
        return images, labels


class EvaluationTransform(ImageTransform):
    """Resizes the short side to 256 / 224 of the target, cuts the center out.

    A JPEG file that is far larger than the result is reduced by 2, 4 or 8
    while it is decoded, which changes its pixels by less than one of 255 levels
    in the mean.

    Args:
        image_size: int, or pair of int (height, width).
        crop_fraction: float in (0, 1]. Share of the resized image's short
            side that is kept. Defaults to `224 / 256`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    transform = keras_clmae.data.EvaluationTransform(224)
    dataset = keras_clmae.data.image_folder(
        "photos", image_size=224, batch_size=64, transform=transform
    )
    ```
    """

    def __init__(self, image_size, crop_fraction=224 / 256):
        super().__init__(image_size)
        if not 0 < crop_fraction <= 1:
            raise ValueError(
                "`crop_fraction` must be in (0, 1]. "
                f"Received: crop_fraction={crop_fraction}"
            )
        self.crop_fraction = crop_fraction

    def example(self, contents, decoder, seed):
        tf = require("tensorflow", "Transforming images")

        def size_of(shape):
            return crops.covering_size(
                shape, self.image_size, self.crop_fraction
            )

        def read_jpeg():
            shape = tf.io.extract_jpeg_shape(contents)[:2]
            orientation = exif_orientation(contents)
            upright = tf.where(orientation >= 5, shape[::-1], shape)
            size = size_of(upright)
            index = crops.reduction_index(upright, _CLEAN * size)
            pixels = decoder.decode_reduced_jpeg(contents, index)
            pixels = transpose(pixels, orientation)
            reduction = tf.gather(REDUCTIONS, index)
            # Of what was the last pixel and is the first one now.
            missing = tf.where(
                tf.stack(reversed_axes(orientation)),
                -upright % reduction,
                0,
            )
            pixels = reverse(pixels, orientation)
            return pixels, size, upright, reduction, missing

        def read_other():
            pixels = decoder.decode_other(contents)
            shape = tf.shape(pixels)[:2]
            return pixels, size_of(shape), shape, 1, tf.zeros(2, "int32")

        pixels, *geometry = tf.cond(
            decoder.is_jpeg(contents), read_jpeg, read_other
        )
        pixels = crops.central_resize(pixels, self.image_size, *geometry)
        # Bicubic interpolation overshoots at edges.
        pixels = tf.clip_by_value(pixels, 0.0, 255.0)
        return tf.ensure_shape(pixels, (*self.image_size, decoder.channels))


class PretrainTransform(ImageTransform):
    """Random resized crop and horizontal flip: MAE's augmentation.

    Jitter of the colors and a function of your own may follow.

    Of a JPEG file only the window is decoded, and a window that is far larger
    than the result is reduced by 2, 4 or 8 while it is decoded, which changes
    pixels by less than one of 255 levels in the mean. A window at least twice
    as large as the result gets bicubic interpolation with the wider kernel,
    which keeps fine patterns from turning into coarse ones, a smaller one the
    plain kernel.

    Args:
        image_size: int, or pair of int (height, width).
        scale: pair of float in (0, 1]. Least and largest share of the
            image's area. Defaults to `(0.2, 1.0)`.
        aspect_ratio: pair of float. Least and largest width /
            height of the window. Defaults to `(3 / 4, 4 / 3)`.
        flip: bool or float in [0, 1]. Whether to mirror every other image
            from left to right, or the share of images to mirror. Defaults to
            `True`.
        color_jitter: float in [0, 1]. Brightness, contrast and, of RGB images,
            saturation are multiplied by numbers that differ from 1 by at most
            so much. Defaults to `0.0`: colors stay.
        augmentation: callable, or `None`. Called for each image, after the
            above, as `augmentation(image, generator)`: a float32 NumPy array
            of shape `(height, width, channels)`, where 0 is black and 255
            white, and a `numpy.random.Generator`. It returns an array of the
            same shape. What it draws from the generator depends on the seed of
            the data set, the epoch and the place in it only. It runs in Python,
            one image at a time. Defaults to `None`.

    Reference:

    - [He et al., 2022](https://arxiv.org/abs/2111.06377), appendix A.1

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    def add_noise(image, generator):
        return image + generator.normal(0, 5, image.shape)


    transform = keras_clmae.data.PretrainTransform(
        224, scale=(0.5, 1.0), color_jitter=0.4, augmentation=add_noise
    )
    dataset = keras_clmae.data.image_folder(
        "photos", image_size=224, batch_size=64, transform=transform
    )
    ```
    """

    is_training = True

    def __init__(
        self,
        image_size,
        scale=(0.2, 1.0),
        aspect_ratio=(3 / 4, 4 / 3),
        flip=True,
        color_jitter=0.0,
        augmentation=None,
    ):
        super().__init__(image_size)
        scale = tuple(scale)
        aspect_ratio = tuple(aspect_ratio)
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(
                "`scale` must be a pair of increasing numbers in "
                f"(0, 1]. Received: scale={scale}"
            )
        if len(aspect_ratio) != 2 or not 0 < aspect_ratio[0] <= aspect_ratio[1]:
            raise ValueError(
                "`aspect_ratio` must be a pair of increasing "
                f"positive numbers. Received: aspect_ratio={aspect_ratio}"
            )
        for name, value in (("flip", flip), ("color_jitter", color_jitter)):
            if not 0 <= value <= 1:
                raise ValueError(
                    f"`{name}` must be a number in [0, 1]. "
                    f"Received: {name}={value}"
                )
        if augmentation is not None and not callable(augmentation):
            raise ValueError(
                "`augmentation` must be a function of an image and a "
                f"`numpy.random.Generator`. Received: {augmentation!r}"
            )
        self.scale = scale
        self.aspect_ratio = aspect_ratio
        # Share of images that are mirrored.
        self.flip = flip / 2 if isinstance(flip, bool) else flip
        self.color_jitter = color_jitter
        self.augmentation = augmentation
        # Functions of the user's own see pixels from 0 to 255.
        self.takes_standardized = augmentation is None

    def example(self, contents, decoder, seed):
        tf = require("tensorflow", "Transforming images")
        # As few nodes as can be: each costs time even where it is not needed.
        is_jpeg = decoder.is_jpeg(contents)

        def look_at_jpeg():
            shape = tf.io.extract_jpeg_shape(contents)[:2]
            empty = tf.zeros((0, 0, decoder.channels))
            return shape, exif_orientation(contents), empty

        def read_other():
            pixels = decoder.decode_other(contents)
            return tf.shape(pixels)[:2], 1, pixels

        shape, orientation, pixels = tf.cond(is_jpeg, look_at_jpeg, read_other)
        # The file holds the image as the camera saw it. The place of the
        # window is uniform, so that only its sides need to be exchanged.
        is_lying = orientation >= 5
        window = crops.random_window(
            tf.where(is_lying, shape[::-1], shape),
            seed,
            self.scale,
            self.aspect_ratio,
        )
        window = tf.where(is_lying, tf.gather(window, (1, 0, 3, 2)), window)
        pixels, place = tf.cond(
            is_jpeg,
            lambda: self._decode_window(
                contents, decoder, window, shape, is_lying
            ),
            lambda: _cut(pixels, window),
        )
        place = tf.where(is_lying, tf.gather(place, (1, 0, 3, 2)), place)
        pixels = crops.resize_window(
            transpose(pixels, orientation), self.image_size, place
        )
        mirror = tf.random.stateless_uniform((), seed + (1, 0)) < self.flip
        pixels = reverse(pixels, orientation, mirror)
        # Bicubic interpolation overshoots at edges.
        pixels = tf.raw_ops.ClipByValue(
            t=pixels, clip_value_min=0.0, clip_value_max=255.0
        )
        pixels = tf.ensure_shape(pixels, (*self.image_size, decoder.channels))
        if self.color_jitter:
            pixels = jitter_colors(pixels, self.color_jitter, seed)
        return pixels

    def batch(self, images, labels, normalization, num_classes, seed):
        if self.augmentation is None:
            return images, labels
        images = augment_batch(self.augmentation, images, seed)
        return normalize(images, normalization), labels

    def _decode_window(self, contents, decoder, window, shape, is_lying):
        tf = require("tensorflow", "Transforming images")
        size = _CLEAN * tf.constant(self.image_size)
        size = tf.where(is_lying, size[::-1], size)
        index = crops.reduction_index(window[2:], size)
        reduction = tf.gather(REDUCTIONS, index)
        # The pixels that hold the window, of which it may begin and end within
        # one; the last one may reach beyond the image.
        start = window[:2] // reduction
        end = -(-tf.minimum(window[:2] + window[2:], shape) // reduction)
        reduced = tf.concat([start, end - start], axis=0)

        def decode(reduction):
            return lambda: decoder.decode_jpeg_window(
                contents, reduced, reduction
            )

        pixels = tf.switch_case(index, [decode(r) for r in REDUCTIONS])
        place = tf.cast(window, "float32") / tf.cast(reduction, "float32")
        place -= tf.cast(tf.pad(start, [[0, 2]]), "float32")
        return tf.cast(pixels, "float32"), place


def _cut(pixels, window):
    """Cuts a window out; it fills what is left."""
    tf = require("tensorflow", "Transforming images")
    top, left, height, width = (window[index] for index in range(4))
    cut = pixels[top : top + height, left : left + width]
    place = tf.stack([0, 0, height, width])
    return cut, tf.cast(place, "float32")


def normalize(images, normalization):
    """Standardizes the pixels of images in `tf.data`.

    Args:
        images: float32 tensor of shape `(..., width, channels)`.
        normalization: A `PixelNormalization`.

    Returns:
        A tensor of the same shape.
    """
    tf = require("tensorflow", "Transforming images")
    width = images.shape[-2]
    # A whole row of pixels at a time: broadcasting over a few channels alone
    # is several times slower.
    scale = tf.tile(tf.constant(1 / (255 * normalization.std)), [width])
    offset = tf.tile(
        tf.constant(-normalization.mean / normalization.std), [width]
    )
    rows = tf.reshape(images, (-1, width * normalization.channels))
    return tf.reshape(rows * scale + offset, tf.shape(images))


def standardize_image_size(image_size):
    """Checks an image size and makes it a pair.

    Args:
        image_size: int, or pair of int (height, width).

    Returns:
        A pair of integers.

    Raises:
        ValueError: If it is neither.
    """
    sides = (image_size,) * 2 if isinstance(image_size, int) else image_size
    sides = tuple(sides)
    if len(sides) != 2 or any(int(side) != side or side < 1 for side in sides):
        raise ValueError(
            "`image_size` must be a positive integer or a pair of "
            f"them (height, width). Received: image_size={image_size}"
        )
    return tuple(int(side) for side in sides)
