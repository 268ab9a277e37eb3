import keras
import numpy as np
from keras import ops

from keras_clmae.layers import PatchEmbedding
from keras_clmae.layers import patchify
from keras_clmae.layers import unpatchify


def test_order_inside_a_patch_is_row_column_channel():
    images = np.arange(2 * 4 * 6 * 3, dtype="float32").reshape(2, 4, 6, 3)
    patches = ops.convert_to_numpy(patchify(images, 2))
    assert patches.shape == (2, 6, 12)
    # Second patch of the first row: rows 0 and 1, columns 2 and 3.
    expected = images[0, 0:2, 2:4].reshape(-1)
    np.testing.assert_array_equal(patches[0, 1], expected)
    # First patch of the second row.
    np.testing.assert_array_equal(
        patches[1, 3], images[1, 2:4, 0:2].reshape(-1)
    )


def test_unpatchify_inverts_patchify():
    images = np.random.default_rng(0).normal(size=(2, 4, 6, 5))
    images = images.astype("float32")
    restored = unpatchify(patchify(images, 2), (2, 3), 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(restored), images)


def test_equals_the_strided_convolution():
    images = np.random.default_rng(0).normal(size=(2, 8, 12, 3))
    images = images.astype("float32")
    layer = PatchEmbedding(patch_size=4, hidden_dim=16)
    tokens = layer(images)
    convolution = keras.layers.Conv2D(16, 4, strides=4)
    convolution.build(images.shape)
    kernel, bias = layer.get_weights()
    convolution.set_weights([kernel.reshape(4, 4, 3, 16), bias])
    expected = ops.reshape(convolution(images), (2, 6, 16))
    np.testing.assert_allclose(
        ops.convert_to_numpy(tokens),
        ops.convert_to_numpy(expected),
        atol=1e-5,
    )
