"""Check arguments and images that several classes take."""

import math

import keras


def check_positive_integer(name, value):
    """Refuses a `value` that is no integer > 0.

    Raises:
        ValueError: If it is none. The message names `name`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )


def check_number(name, value):
    """Refuses a `value` that is no finite number.

    Raises:
        ValueError: If it is none. The message names `name`.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
    ):
        raise ValueError(
            f"`{name}` must be a finite number. Received: {name}={value!r}"
        )


def check_fraction(name, value):
    """Refuses a `value` outside of [0, 1).

    Raises:
        ValueError: If it is outside. The message names `name`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        valid = False
    else:
        valid = 0.0 <= value < 1.0
    if not valid:
        raise ValueError(
            f"`{name}` must be a number in [0, 1). Received: {name}={value!r}"
        )


def check_heads(hidden_dim, num_heads):
    """Refuses a width that does not split evenly into the heads.

    Raises:
        ValueError: If it does not.
    """
    check_positive_integer("hidden_dim", hidden_dim)
    check_positive_integer("num_heads", num_heads)
    if hidden_dim % num_heads:
        raise ValueError(
            "`hidden_dim` must be divisible by `num_heads`. "
            f"Received: hidden_dim={hidden_dim}, num_heads={num_heads}"
        )


def check_choice(name, value, choices):
    """Refuses a `value` that is not in `choices`.

    Raises:
        ValueError: If it is none of them. The message names `name`.
    """
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"`{name}` must be one of {listed}. Received: {name}={value!r}"
        )


def check_image_shape(image_shape, patch_size):
    """Returns `image_shape` as a tuple of three integers, checked.

    Args:
        image_shape: tuple of int. (height, width, channels), in pixels.
        patch_size: int. Both sides of the image must be multiples of it.

    Raises:
        ValueError: If it is no such shape, or no multiple of the patch size.
    """
    check_positive_integer("patch_size", patch_size)
    try:
        height, width, channels = (int(side) for side in image_shape)
    except (TypeError, ValueError):
        raise ValueError(
            "`image_shape` must be three positive integers (height, width, "
            f"channels). Received: image_shape={image_shape!r}"
        ) from None
    if min(height, width, channels) < 1:
        raise ValueError(
            "`image_shape` must be three positive integers (height, width, "
            f"channels). Received: image_shape={image_shape!r}"
        )
    if height % patch_size or width % patch_size:
        raise ValueError(
            "`image_shape` must have a height and a width that are multiples "
            f"of `patch_size`. Received: image_shape={image_shape!r}, "
            f"patch_size={patch_size}"
        )
    return height, width, channels


def check_images(images, image_shape):
    """Refuses `images` that are not float or not of `image_shape`.

    Args:
        images: tensor or array, expected (batch, height, width, channels).
        image_shape: tuple of int. (height, width, channels) that the model was
            made for.

    Raises:
        ValueError: If they are not.
    """
    if not hasattr(images, "dtype"):
        raise ValueError(
            "`images` must be a tensor or an array, such as batch['image'] of "
            f"a batch that is a dict. Received: images={type(images).__name__}"
        )
    dtype = keras.backend.standardize_dtype(images.dtype)
    if "float" not in dtype:
        raise ValueError(
            "`images` must be of a floating-point type, normalized (for "
            "instance `images / 127.5 - 1`). "
            f"Received: images.dtype={dtype}"
        )
    if tuple(images.shape[1:]) != tuple(image_shape):
        raise ValueError(
            "`images` must be of shape (batch, height, width, channels) = "
            f"(batch, {', '.join(map(str, image_shape))}). "
            f"Received: images.shape={tuple(images.shape)}"
        )


def check_shown_channels(name, shown_channels, channels):
    """Returns the channels to show as a tuple of one or three, checked.

    Args:
        name: str. Name of the argument.
        shown_channels: sequence of one or three channels, or `None` for the
            first three, or the first if there are fewer.
        channels: int. Number of channels of the images.

    Returns:
        tuple of int.

    Raises:
        ValueError: If they are not one or three of the image's channels.
    """
    if shown_channels is None:
        return (0, 1, 2) if channels >= 3 else (0,)
    if isinstance(shown_channels, int):
        shown_channels = (shown_channels,)
    shown_channels = tuple(shown_channels)
    valid = len(shown_channels) in (1, 3) and all(
        isinstance(channel, int) and 0 <= channel < channels
        for channel in shown_channels
    )
    if not valid:
        raise ValueError(
            f"`{name}` must be one or three channels, each from 0 to "
            f"{channels - 1}. Received: {name}={shown_channels!r}"
        )
    return shown_channels
