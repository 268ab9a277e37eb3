"""Keep images on the accelerator, and crop and flip them there."""

import warnings

import numpy as np
from keras import ops

from keras_clmae import kernels
from keras_clmae.data.arrays import ArrayDataset
from keras_clmae.data.crops import ATTEMPTS
from keras_clmae.data.device_crops import crop_batch
from keras_clmae.data.device_crops import windows_of_draws
from keras_clmae.data.normalization import PixelNormalization
from keras_clmae.data.pipeline import get_normalization
from keras_clmae.data.transforms import PretrainTransform


class DeviceDataset(ArrayDataset):
    """Batches of images that stay on the accelerator, where they are cropped.

    For small images of one size, such as CIFAR-10's: on a GPU a step of a small
    model is faster than the processor can prepare the next batch. All pixels
    are copied to the device once (50,000 images of 32 by 32 pixels take 154
    MB); per batch only the places of the images and their windows follow. It
    needs no TensorFlow. Windows have the distribution of `PretrainTransform`,
    not its draws. On TensorFlow batches still pass through `tf.data`, and so
    through the memory of the host.

    Order, windows and flips depend on `seed`, the epoch and the number of the
    batch only. A batch without labels is a tuple of one tensor, which is the
    form that Keras asks for.

    Args:
        images: array of shape `(num_examples, height, width, channels)`, or
            `(num_examples, height, width)` for gray images; 0 is black and 255
            white. uint8 takes a quarter of the memory of floats.
        labels: array of shape `(num_examples, ...)`, or `None` for batches of
            images alone. Defaults to `None`.
        transform: `PretrainTransform` without `color_jitter` and
            `augmentation`. Defaults to `None`: that of the images' own size.
        statistics: `"imagenet"`, `"from_data"`, a pair (mean, std) in units of
            white = 1, or a `PixelNormalization`. Defaults to `"imagenet"`.
        **order: `batch_size`, `shuffle`, `seed`, `drop_remainder`,
            `process_index` and `process_count` of `ArrayDataset`.

    Attributes:
        normalization: `PixelNormalization` of the images.
        transform: The transform.

    Raises:
        ValueError: If the transform does more, pixels are not 0 to 255, or an
            argument does not fit.

    Example:

    >>> images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3))
    >>> dataset = keras_clmae.data.DeviceDataset(
    ...     images.astype("uint8"), batch_size=4
    ... )
    >>> (images,) = dataset[0]
    >>> tuple(images.shape)
    (4, 32, 32, 3)
    """

    def __init__(
        self,
        images,
        labels=None,
        transform=None,
        statistics="imagenet",
        **order,
    ):
        super().__init__(images, labels, **order)
        images = self.images
        if transform is None:
            transform = PretrainTransform(images.shape[1:3])
        check_device_transform(transform)
        _check_levels(images)
        self.transform = transform
        self.normalization = get_normalization(
            statistics, images.shape[-1], lambda: _measure(images)
        )
        if images.dtype != "uint8":
            images = images.astype("float32")
        self.images = ops.convert_to_tensor(images)
        self._make_batch = kernels.compiled(self._crop, lambda: [])

    def __getitem__(self, index):
        chosen = self._choose(index)
        sampler = self._sampler
        random = np.random.default_rng(
            (sampler.seed, self.epoch, index, sampler.process_index)
        )
        transform = self.transform
        windows = windows_of_draws(
            random.random((len(chosen), ATTEMPTS + 1, 2)),
            self.images.shape[1:3],
            transform.scale,
            transform.aspect_ratio,
        )
        mirror = random.random(len(chosen)) < transform.flip
        images = self._make_batch(self.images, chosen, windows, mirror)
        if self.labels is None:
            # Keras takes bare arrays of NumPy only.
            return (images,)
        return images, self.labels[chosen]

    def _crop(self, images, chosen, windows, mirror):
        pixels = crop_batch(
            ops.take(images, chosen, axis=0),
            windows,
            mirror,
            self.transform.image_size,
        )
        mean = ops.convert_to_tensor(self.normalization.mean)
        std = ops.convert_to_tensor(self.normalization.std)
        return (pixels / 255.0 - mean) / std


def check_device_transform(transform):
    """Refuses a transform that does more than crop and flip.

    Args:
        transform: An `ImageTransform`.

    Raises:
        ValueError: If it does.
    """
    if not isinstance(transform, PretrainTransform):
        received = type(transform).__name__
    elif transform.color_jitter:
        received = f"color_jitter={transform.color_jitter}"
    elif transform.augmentation:
        received = f"augmentation={transform.augmentation!r}"
    else:
        return
    raise ValueError(
        "`transform` must be a PretrainTransform without `color_jitter` and "
        "`augmentation`: on the device images are cropped and flipped only. "
        f"Received: {received}"
    )


def _check_levels(images):
    """Refuses pixels beyond 0 to 255, and warns of floats up to 1."""
    low, high = images.min(), images.max()
    # Not a number compares as false, and is refused too.
    if not (low >= 0 and high <= 255):
        raise ValueError(
            "`images` must be from 0, black, to 255, white. Received: "
            f"{images.dtype} from {low:.6g} to {high:.6g}"
        )
    if images.dtype.kind == "f" and high <= 1:
        warnings.warn(
            f"`images` are {images.dtype} up to {high:.6g}, nearly black where "
            "255 is white. Multiply them by 255 if 1 is white.",
            stacklevel=3,
        )


def _measure(images):
    """Mean and deviation of the channels over all pixels."""
    pixels = images.reshape(-1, images.shape[-1])
    std = pixels.std(axis=0, dtype="float64") / 255
    if not std.all():
        raise ValueError(
            '`statistics="from_data"` needs images that vary in '
            f"every channel. Received: standard deviations {std}"
        )
    return PixelNormalization(pixels.mean(axis=0, dtype="float64") / 255, std)
