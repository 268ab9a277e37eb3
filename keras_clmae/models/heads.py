"""Make the linear heads of classifiers."""

import keras


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
