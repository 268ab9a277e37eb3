"""Compute the three terms that keep masks binary, sparse and diverse.

Forms and constants are read off the code published with
https://arxiv.org/abs/2308.16572. All work in float32 under any policy.
"""

import math

from keras import ops

GAUSSIAN_STDDEV = 0.12
DIVERSITY_SCALE = 0.1
# Below this squared distance two rows count as equal: the distance has no
# derivative there, and zero is the one that moves nothing.
_EQUAL_ROWS = 1e-12


def gaussian_loss(keep_scores, stddev=GAUSSIAN_STDDEV):
    """Drives scores away from 0.5, to 0 or 1.

    `mean(exp(-(s - 0.5)**2 / (2 stddev**2))) * stddev * sqrt(2 pi)`. The last
    factor divides by the density's peak, as the published code does.

    Args:
        keep_scores: tensor of shape (batch, tokens) in (0, 1).
        stddev: float. Width of the bump around 0.5. Defaults to `0.12`.

    Returns:
        Scalar float32 tensor.

    Example:

    >>> loss = keras_clmae.losses.gaussian_loss(keras.ops.full((2, 4), 0.5))
    >>> round(float(loss), 4)
    0.3008
    """
    distance = ops.cast(keep_scores, "float32") - 0.5
    bump = ops.exp(ops.square(distance) * (-0.5 / stddev**2))
    return ops.mean(bump) * (stddev * math.sqrt(2 * math.pi))


def kl_loss(keep_scores, mask_ratio, epsilon=1e-7):
    """Keeps the mean score of an image at the share of visible tokens.

    Per image, with k the mean score and r = 1 - mask_ratio, the
    Kullback-Leibler divergence `k log(k / r) + (1 - k) log((1 - k) / (1 - r))`,
    then the mean over images. (The published code sums over the images and
    fixes r = 0.25.)

    Args:
        keep_scores: tensor of shape (batch, tokens) in (0, 1).
        mask_ratio: float in (0, 1). Share of removed tokens.
        epsilon: float. Logarithms are taken of at least this. Defaults to
            `1e-7`.

    Returns:
        Scalar float32 tensor.

    Example:

    >>> loss = keras_clmae.losses.kl_loss(keras.ops.full((2, 4), 0.5), 0.75)
    >>> round(float(loss), 4)
    0.1438
    """
    kept = ops.mean(ops.cast(keep_scores, "float32"), axis=-1)
    removed = 1.0 - kept
    # A number by itself would be copied to the device, which PyTorch waits for.
    least = epsilon * ops.ones_like(kept)
    divergence = kept * (
        ops.log(ops.maximum(kept, least)) - math.log(1.0 - mask_ratio)
    ) + removed * (ops.log(ops.maximum(removed, least)) - math.log(mask_ratio))
    return ops.mean(divergence)


def diversity_loss(keep_scores, scale=DIVERSITY_SCALE):
    """Keeps the masks of different images apart.

    Mean over pairs of images i < j of `exp(-scale * ||s_i - s_j||)`. All
    distances come from one matrix product. Where two rows are equal the
    gradient is zero, not NaN.

    Args:
        keep_scores: tensor of shape (batch, tokens) in (0, 1).
        scale: float. Defaults to `0.1`.

    Returns:
        Scalar float32 tensor; 0 for a batch of one.

    Example:

    >>> scores = keras.ops.array([[0.0, 0.0], [0.6, 0.8]])
    >>> round(float(keras_clmae.losses.diversity_loss(scores)), 4)
    0.9048
    """
    scores = ops.cast(keep_scores, "float32")
    batch = ops.shape(scores)[0]
    # Distances do not change, but the product loses fewer digits.
    scores = scores - ops.stop_gradient(ops.mean(scores, axis=0))
    squares = ops.sum(ops.square(scores), axis=-1)
    products = ops.matmul(scores, ops.transpose(scores))
    squared_distances = squares[:, None] + squares[None, :] - 2.0 * products
    index = ops.arange(batch)
    other = index[:, None] != index[None, :]
    apart = ops.logical_and(other, squared_distances > _EQUAL_ROWS)
    # As tensors: see `kl_loss`.
    ones, zeros = ops.ones_like(products), ops.zeros_like(products)
    distances = ops.where(
        apart, ops.sqrt(ops.where(apart, squared_distances, ones)), zeros
    )
    similarity = ops.where(other, ops.exp(-scale * distances), zeros)
    num_ordered_pairs = ops.sum(ops.cast(other, "float32"))
    return ops.divide_no_nan(ops.sum(similarity), num_ordered_pairs)
