"""Measure how well patches are reconstructed."""

from keras import ops


def normalize_patches(patches, epsilon=1e-6):
    """Standardizes each patch with its own mean and unbiased variance.

    The target of MAE's "norm pix" loss (section 4.1 of
    https://arxiv.org/abs/2111.06377). The variance divides by n - 1, as in the
    published code; at small patches that differs visibly from n.

    Args:
        patches: tensor of shape (batch, tokens, patch_dim), patch_dim > 1.
        epsilon: float. Added to the variance. Defaults to `1e-6`.

    Returns:
        Tensor of the same shape, each patch with mean 0 and variance near 1.

    Example:

    >>> patches = keras.random.normal((2, 6, 48))
    >>> keras_clmae.losses.normalize_patches(patches).shape
    (2, 6, 48)
    """
    mean, variance = patch_statistics(patches)
    return (ops.convert_to_tensor(patches) - mean) / ops.sqrt(
        variance + epsilon
    )


def patch_statistics(patches):
    """Computes mean and unbiased variance of each patch.

    Args:
        patches: tensor of shape (batch, tokens, patch_dim), patch_dim > 1.

    Returns:
        Two tensors of shape (batch, tokens, 1): mean and variance (n - 1).

    Example:

    >>> mean, variance = keras_clmae.losses.patch_statistics(
    ...     keras.ops.array([[[1.0, 3.0]]])
    ... )
    >>> float(mean[0, 0, 0]), float(variance[0, 0, 0])
    (2.0, 2.0)
    """
    patches = ops.convert_to_tensor(patches)
    mean = ops.mean(patches, axis=-1, keepdims=True)
    squares = ops.sum(ops.square(patches - mean), axis=-1, keepdims=True)
    return mean, squares / (patches.shape[-1] - 1)


def patch_errors(predictions, targets):
    """Computes the mean squared error of every patch, in float32.

    Args:
        predictions: tensor of shape (batch, tokens, patch_dim).
        targets: tensor of the same shape.

    Returns:
        float32 tensor of shape (batch, tokens).

    Example:

    >>> errors = keras_clmae.losses.patch_errors(
    ...     keras.ops.ones((1, 2, 4)), keras.ops.zeros((1, 2, 4))
    ... )
    >>> print(keras.ops.convert_to_numpy(errors))
    [[1. 1.]]
    """
    difference = ops.cast(predictions, "float32") - ops.cast(targets, "float32")
    return ops.mean(ops.square(difference), axis=-1)


def weighted_reconstruction_loss(errors, weights):
    """Averages patch errors: sum(weights * errors) / sum(weights).

    With the binary mask (1 = removed) it is MAE's loss; with `1 - keep_scores`
    it is the masking module's, through which the gradient reaches the scores.

    Args:
        errors: float tensor of shape (batch, tokens).
        weights: float tensor of the same shape, each >= 0.

    Returns:
        Scalar tensor; 0 where all weights are 0.

    Example:

    >>> loss = keras_clmae.losses.weighted_reconstruction_loss(
    ...     keras.ops.array([[1.0, 5.0]]), keras.ops.array([[3.0, 1.0]])
    ... )
    >>> float(loss)
    2.0
    """
    return ops.divide_no_nan(ops.sum(weights * errors), ops.sum(weights))
