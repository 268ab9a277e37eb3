import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae.layers import DropPath
from keras_clmae.layers import SelfAttention
from keras_clmae.layers import TransformerBlock


def tokens_of(shape=(2, 5, 8)):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_attention_equals_numpy():
    tokens = tokens_of()
    layer = SelfAttention(num_heads=2)
    layer.build(tokens.shape)
    layer.set_weights(
        [
            np.random.default_rng(i).normal(size=w.shape, scale=0.5)
            for i, w in enumerate(layer.get_weights())
        ]
    )
    qkv_kernel, qkv_bias, kernel, bias = layer.get_weights()
    query, key, value = np.moveaxis(
        np.einsum("btd,dnhk->btnhk", tokens, qkv_kernel) + qkv_bias, 2, 0
    )
    logits = np.einsum("bqhk,bthk->bhqt", query, key) / np.sqrt(4)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    attended = np.einsum("bhqt,bthk->bqhk", weights, value).reshape(2, 5, 8)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(tokens)),
        attended @ kernel + bias,
        atol=1e-4,
    )


def test_fused_kernel_has_the_bound_of_the_fused_matrix():
    layer = SelfAttention(num_heads=4)
    layer.build((None, 5, 64))
    kernel = ops.convert_to_numpy(layer.qkv_kernel)
    bound = np.sqrt(6 / (64 + 3 * 64))
    assert np.abs(kernel).max() <= bound
    assert np.abs(kernel).max() > 0.99 * bound
    assert abs(kernel.std() - bound / np.sqrt(3)) < 0.01 * bound


def test_chosen_queries_are_what_they_are_among_all_tokens():
    tokens = ops.convert_to_tensor(tokens_of())
    block = TransformerBlock(num_heads=2, mlp_dim=16)
    everything = ops.convert_to_numpy(block(tokens))
    chosen = ops.convert_to_numpy(block(tokens, queries=tokens[:, 1:3]))
    np.testing.assert_allclose(chosen, everything[:, 1:3], atol=1e-5)


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    inputs = np.ones((4000, 3, 2), "float32")
    dropped = DropPath(0.25, seed=1)(inputs, training=True)
    dropped = ops.convert_to_numpy(dropped)
    per_image = dropped[:, 0, 0]
    np.testing.assert_array_equal(
        dropped, np.broadcast_to(per_image[:, None, None], dropped.shape)
    )
    assert set(np.round(per_image, 3).tolist()) == {0.0, np.float32(1.333)}
    # Five standard deviations of a binomial share.
    assert abs((per_image == 0).mean() - 0.25) < 5 * np.sqrt(0.1875 / 4000)


def test_drop_path_is_still_outside_training():
    inputs = tokens_of()
    outputs = DropPath(0.5)(inputs, training=False)
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), inputs)


def test_norm_and_softmax_do_not_overflow_in_bfloat16():
    block = TransformerBlock(num_heads=2, mlp_dim=16, dtype="mixed_bfloat16")
    outputs = block(100.0 * tokens_of())
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert np.isfinite(ops.convert_to_numpy(ops.cast(outputs, "float32"))).all()


def test_width_must_be_divisible_by_heads():
    with pytest.raises(ValueError, match="divisible by `num_heads`"):
        TransformerBlock(num_heads=3, mlp_dim=16).build((None, 5, 8))
