"""Multiply by a matrix and add a bias."""

import keras
from keras import ops

from keras_clmae.kernels import linear
from keras_clmae.kernels.weights import LinearWeights


@keras.saving.register_keras_serializable(package="keras_clmae")
class Linear(keras.layers.Dense):
    """A dense layer with a bias and no activation.

    On PyTorch the matrix product adds the bias, too, instead of a pass of its
    own. JAX and TensorFlow fuse the two anyway.

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
        return linear(inputs, self.weight_tensors())

    def weight_tensors(self):
        """Returns the `LinearWeights`, in the type that is computed in."""
        return LinearWeights(
            ops.convert_to_tensor(self.kernel),
            ops.convert_to_tensor(self.bias),
        )

    def get_config(self):
        return {**keras.layers.Layer.get_config(self), "units": self.units}
