import keras
from keras import ops


def linear(inputs, kernel, bias):
    """What `Linear` computes, of given weights."""
    outputs = ops.matmul(inputs, kernel)
    # Where tensors cannot change this makes a new one.
    outputs += bias
    return outputs


@keras.saving.register_keras_serializable(package="keras_clmae")
class Linear(keras.layers.Dense):
    """A dense layer with a bias and no activation, one pass cheaper on PyTorch.

    There the bias is added to the matrix product in place instead of into a
    tensor of its own. JAX and TensorFlow fuse the two anyway.

    Args:
        units: int. Width of the output.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tensor of shape (..., width).

    Returns:
        Tensor of shape (..., units).

    Example:

    >>> keras_clmae.layers.Linear(5)(keras.ops.ones((2, 3))).shape
    (2, 5)
    """

    def __init__(self, units, **kwargs):
        super().__init__(units, activation=None, use_bias=True, **kwargs)

    def call(self, inputs, training=None):
        return linear(inputs, *self.parts())

    def parts(self):
        """The weights in the order in which `linear` takes them."""
        return (
            ops.convert_to_tensor(self.kernel),
            ops.convert_to_tensor(self.bias),
        )

    def get_config(self):
        return {**keras.layers.Layer.get_config(self), "units": self.units}
