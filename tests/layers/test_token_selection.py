import numpy as np
from keras import ops

from keras_clmae.layers import gather_tokens
from keras_clmae.layers import keep_top_tokens
from keras_clmae.layers import restore_tokens


def selection_of(scores, num_keep):
    selection = keep_top_tokens(ops.convert_to_tensor(scores), num_keep)
    return [ops.convert_to_numpy(part) for part in selection]


def test_keeps_the_highest_scores():
    scores = np.array([[0.1, 0.9, 0.4, 0.7], [0.8, 0.2, 0.3, 0.1]], "float32")
    keep, removed, _, mask = selection_of(scores, 2)
    np.testing.assert_array_equal(keep, [[1, 3], [0, 2]])
    np.testing.assert_array_equal(removed, [[2, 0], [1, 3]])
    np.testing.assert_array_equal(mask, [[1, 0, 1, 0], [0, 1, 0, 1]])


def test_the_first_of_equal_scores_stay():
    scores = np.tile(np.array([0.5, 0.9, 0.5, 0.5], "float32"), (40, 50))
    keep, _, _, _ = selection_of(scores, 60)
    high = np.arange(1, 200, 4)
    low = [index for index in range(200) if index % 4 != 1][:10]
    expected = np.concatenate([high, low])
    np.testing.assert_array_equal(keep, np.tile(expected, (40, 1)))


def test_restore_indices_invert_the_order():
    scores = np.random.default_rng(0).normal(size=(5, 9)).astype("float32")
    keep, removed, restore, mask = selection_of(scores, 4)
    order = np.concatenate([keep, removed], axis=1)
    restored = np.take_along_axis(order, restore, axis=1)
    np.testing.assert_array_equal(restored, np.tile(np.arange(9), (5, 1)))
    np.testing.assert_array_equal(mask.sum(axis=1), np.full(5, 5))


def test_gather_is_take_along_axis():
    generator = np.random.default_rng(0)
    tokens = generator.normal(size=(3, 7, 4)).astype("float32")
    indices = generator.integers(0, 7, size=(3, 5))
    expected = np.take_along_axis(tokens, indices[..., None], axis=1)
    gathered = gather_tokens(ops.convert_to_tensor(tokens), indices)
    np.testing.assert_array_equal(ops.convert_to_numpy(gathered), expected)


def test_restore_puts_the_mask_token_where_tokens_were_removed():
    generator = np.random.default_rng(0)
    tokens = generator.normal(size=(3, 7, 4)).astype("float32")
    scores = generator.normal(size=(3, 7)).astype("float32")
    mask_token = generator.normal(size=(1, 1, 4)).astype("float32")
    selection = keep_top_tokens(ops.convert_to_tensor(scores), 3)
    visible = gather_tokens(
        ops.convert_to_tensor(tokens), selection.keep_indices
    )
    restored = restore_tokens(
        visible, ops.convert_to_tensor(mask_token), selection.restore_indices
    )
    mask = ops.convert_to_numpy(selection.mask)[..., None]
    expected = np.where(mask == 1, mask_token, tokens)
    np.testing.assert_array_equal(ops.convert_to_numpy(restored), expected)
