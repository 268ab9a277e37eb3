"""Make the layers of the heads of classifiers and segmenters."""

import keras

# Logits for every fourth pixel are what segmentation networks usually make;
# bilinear interpolation does the rest.
_MOST_UPSAMPLING_LAYERS = 2


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


def count_upsampling_layers(number, patch_size):
    """Checks the number of transposed convolutions, or chooses it.

    Args:
        number: int, or `None` to choose it.
        patch_size: int. Each layer halves it.

    Returns:
        int.

    Raises:
        ValueError: If patches cannot be halved so often.
    """
    most = patch_size.bit_length() - 1
    if number is None:
        return min(_MOST_UPSAMPLING_LAYERS, most)
    if type(number) is not int or not 0 <= number <= most:
        raise ValueError(
            f"`num_upsampling_layers` must be an integer from 0 to {most}, as "
            f"patches have sides of {patch_size} pixels. Received: "
            f"num_upsampling_layers={number!r}"
        )
    return number


def upsampling_layers(encoder, number):
    """Layers that double the sides of a grid of tokens and halve its width.

    Args:
        encoder: `ViTEncoder` that makes the tokens.
        number: int.

    Returns:
        A list of pairs of a `keras.layers.Conv2DTranspose` and the
        `keras.layers.LayerNormalization` after it.
    """
    policy = {"dtype": encoder.dtype_policy}
    return [
        (
            keras.layers.Conv2DTranspose(
                max(1, encoder.hidden_dim // 2 ** (index + 1)),
                kernel_size=2,
                strides=2,
                data_format="channels_last",
                name=f"upsampling_{index}",
                **policy,
            ),
            keras.layers.LayerNormalization(
                epsilon=encoder.layer_norm_epsilon,
                name=f"upsampling_norm_{index}",
                **policy,
            ),
        )
        for index in range(number)
    ]
