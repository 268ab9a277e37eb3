"""Select visible tokens and restore removed ones, with static shapes."""

from typing import NamedTuple

from keras import ops


class TokenSelection(NamedTuple):
    """The tokens of every image split into visible and removed ones.

    Attributes:
        keep_indices: int tensor of shape (batch, visible). Positions of the
            visible tokens, the highest score first.
        removed_indices: int tensor of shape (batch, removed). Positions of the
            removed tokens.
        restore_indices: int tensor of shape (batch, tokens). Where the token of
            each position stands in the sequence `[visible, removed]`.
        mask: float32 tensor of shape (batch, tokens), 1 = removed, 0 = visible.
    """

    keep_indices: object
    removed_indices: object
    restore_indices: object
    mask: object


def keep_top_tokens(scores, num_keep):
    """Keeps the `num_keep` tokens with the highest scores of each image.

    Among equal scores the token with the lower index stays, on every backend,
    so that equal scores keep the first `num_keep` tokens.

    Args:
        scores: float tensor of shape (batch, tokens), high = stays visible.
            No gradient passes through the choice.
        num_keep: int. Number of visible tokens, the same for every image.

    Returns:
        A `TokenSelection`.

    Example:

    >>> scores = keras.ops.array([[0.1, 0.9, 0.4, 0.7]])
    >>> selection = keras_clmae.layers.keep_top_tokens(scores, num_keep=2)
    >>> print(keras.ops.convert_to_numpy(selection.mask))
    [[1. 0. 1. 0.]]
    """
    order = ops.argsort(-scores, axis=-1)
    # The inverse of a permutation is what sorts it.
    restore_indices = ops.argsort(order, axis=-1)
    return TokenSelection(
        keep_indices=order[:, :num_keep],
        removed_indices=order[:, num_keep:],
        restore_indices=restore_indices,
        mask=ops.cast(restore_indices >= num_keep, "float32"),
    )


def gather_tokens(tokens, indices):
    """Picks tokens by position, image by image.

    Args:
        tokens: tensor of shape (batch, tokens, dim).
        indices: int tensor of shape (batch, picked), each in [0, tokens).

    Returns:
        Tensor of shape (batch, picked, dim).

    Example:

    >>> tokens = keras.ops.reshape(keras.ops.arange(6.0), (1, 3, 2))
    >>> picked = keras_clmae.layers.gather_tokens(tokens, [[2, 0]])
    >>> print(keras.ops.convert_to_numpy(picked))
    [[[4. 5.]
      [0. 1.]]]
    """
    # Whole rows of one flat table: an element-wise `take_along_axis` is several
    # times slower, above all in its gradient.
    num_tokens, dim = tokens.shape[1:]
    indices = ops.convert_to_tensor(indices, dtype="int32")
    offsets = ops.arange(ops.shape(tokens)[0], dtype="int32") * num_tokens
    rows = ops.reshape(indices + offsets[:, None], (-1,))
    picked = ops.take(ops.reshape(tokens, (-1, dim)), rows, axis=0)
    return ops.reshape(picked, (-1, indices.shape[1], dim))


def restore_tokens(visible, mask_token, restore_indices):
    """Puts visible tokens back in place and the mask token everywhere else.

    Args:
        visible: tensor of shape (batch, visible, dim).
        mask_token: tensor of shape (1, 1, dim).
        restore_indices: int tensor of shape (batch, tokens), as
            `keep_top_tokens` gives it.

    Returns:
        Tensor of shape (batch, tokens, dim).

    Example:

    >>> selection = keras_clmae.layers.keep_top_tokens(
    ...     keras.ops.array([[0.1, 0.9, 0.4]]), num_keep=1
    ... )
    >>> restored = keras_clmae.layers.restore_tokens(
    ...     keras.ops.ones((1, 1, 1)),
    ...     keras.ops.zeros((1, 1, 1)),
    ...     selection.restore_indices,
    ... )
    >>> print(keras.ops.convert_to_numpy(restored)[0, :, 0])
    [0. 1. 0.]
    """
    num_visible, dim = visible.shape[1:]
    mask_token = ops.broadcast_to(
        ops.cast(mask_token, visible.dtype), (ops.shape(visible)[0], 1, dim)
    )
    table = ops.concatenate([visible, mask_token], axis=1)
    # A number by itself would be copied to the device, which PyTorch waits for.
    last_row = num_visible * ops.ones_like(restore_indices)
    return gather_tokens(table, ops.minimum(restore_indices, last_row))


def mask_overlap(mask):
    """Measures the share of visible tokens that two images have in common.

    Mean over pairs of images of the share of one's visible positions that are
    visible in the other too. Random masks give `1 - mask_ratio`; 1 means that
    all images have the same mask.

    Args:
        mask: tensor of shape (batch, tokens), 1 = removed, each row with
            equally many zeros.

    Returns:
        Scalar float32 tensor; 0 for a batch of one.

    Example:

    >>> mask = keras.ops.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    >>> float(keras_clmae.models.mask_overlap(mask))
    0.5
    """
    visible = 1.0 - ops.cast(mask, "float32")
    # Its length as a number would be copied to the device; see `kl_loss`.
    batch = ops.sum(ops.ones_like(visible[:, 0]))
    times_visible = ops.sum(visible, axis=0)
    shared = ops.sum(times_visible * (times_visible - 1.0))
    return ops.divide_no_nan(shared, ops.sum(visible) * (batch - 1.0))
