import keras
import numpy as np
import pytest

from keras_clmae.layers import Linear


# PyTorch rounds once where Dense rounds the product and then the sum.
@pytest.mark.parametrize(
    "dtype, tolerance", [("float32", 1e-6), ("mixed_bfloat16", 2**-7)]
)
def test_is_a_dense_layer(dtype, tolerance):
    inputs = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    linear, dense = Linear(5, dtype=dtype), keras.layers.Dense(5, dtype=dtype)
    for layer in (linear, dense):
        layer.build(inputs.shape)
        layer.kernel.assign(np.linspace(-1, 1, 20).reshape(4, 5))
        layer.bias.assign(np.arange(5.0))
    assert linear(inputs).dtype == dense(inputs).dtype
    np.testing.assert_allclose(
        *(
            keras.ops.convert_to_numpy(keras.ops.cast(layer(inputs), "float32"))
            for layer in (linear, dense)
        ),
        rtol=tolerance,
        atol=tolerance,
    )


def test_inputs_and_bias_stay():
    linear = Linear(3)
    inputs = keras.ops.ones((2, 3))
    linear(inputs), linear(inputs)
    assert keras.ops.convert_to_numpy(linear.bias).tolist() == [0, 0, 0]
    assert keras.ops.convert_to_numpy(inputs).min() == 1


def test_takes_no_activation():
    with pytest.raises(TypeError, match="activation"):
        Linear(3, activation="relu")
