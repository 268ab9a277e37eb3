"""Standardize the pixels of images, and bring them back."""

import keras
import numpy as np

# Of the ImageNet training set, red, green and blue, in units of white = 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PixelNormalization:
    """Standardizes the channels of images, and inverts it.

    `normalized = (pixels / 255 - mean) / std`, channel by channel.

    Args:
        mean: sequence of float. One per channel, in units of white = 1.
        std: sequence of float. One per channel.

    Raises:
        ValueError: If there is not one finite number per channel, or a standard
            deviation is not positive.

    Example:

    >>> normalization = PixelNormalization(mean=[0.5], std=[0.25])
    >>> images = np.full((1, 8, 8, 1), 255, "uint8")
    >>> float(normalization(images)[0, 0, 0, 0])
    2.0
    >>> int(normalization.inverse(normalization(images))[0, 0, 0, 0])
    255
    """

    def __init__(self, mean, std):
        mean = np.asarray(mean, "float32").reshape(-1)
        std = np.asarray(std, "float32").reshape(-1)
        if mean.shape != std.shape or not mean.size:
            raise ValueError(
                "`mean` and `std` must have one number per channel, "
                f"the same number of each. Received: mean={mean}, std={std}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise ValueError(
                "`mean` and `std` must be finite. "
                f"Received: mean={mean}, std={std}"
            )
        if (std <= 0).any():
            raise ValueError(
                f"`std` must be positive in every channel. Received: std={std}"
            )
        self.mean = mean
        self.std = std

    @property
    def channels(self):
        """Integer, number of channels."""
        return self.mean.size

    def __call__(self, pixels):
        """Standardizes images.

        Args:
            pixels: array of shape `(..., channels)`, 0 is black and 255
                white.

        Returns:
            A float32 array of the same shape.
        """
        pixels = np.asarray(pixels, "float32") / np.float32(255)
        return (pixels - self.mean) / self.std

    def inverse(self, images):
        """Turns standardized images back into pixels to look at.

        Args:
            images: array or tensor of any backend, shape `(..., channels)`.

        Returns:
            A uint8 NumPy array of the same shape, rounded and clipped to 0
            to 255.
        """
        images = keras.ops.convert_to_numpy(images).astype("float32")
        pixels = (images * self.std + self.mean) * 255
        return np.clip(np.rint(pixels), 0, 255).astype("uint8")

    def __repr__(self):
        return (
            f"PixelNormalization(mean={self.mean.tolist()}, "
            f"std={self.std.tolist()})"
        )


def imagenet_normalization(channels):
    """Makes the normalization with ImageNet's statistics.

    Args:
        channels: int. 3, or 1 for the means over the three colors.

    Returns:
        A `PixelNormalization`.

    Raises:
        ValueError: If there is another number of channels.
    """
    if channels == 3:
        return PixelNormalization(IMAGENET_MEAN, IMAGENET_STD)
    if channels == 1:
        return PixelNormalization(
            [np.mean(IMAGENET_MEAN)], [np.mean(IMAGENET_STD)]
        )
    raise ValueError(
        '`statistics="imagenet"` knows images of 1 or 3 channels. '
        f"Received: images of {channels} channels. Pass "
        '`statistics="from_data"` or a pair (mean, std)'
    )
