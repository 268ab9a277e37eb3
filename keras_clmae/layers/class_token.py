"""Put a learned class token in front of the patches."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_clmae")
class ClassToken(keras.layers.Layer):
    """Puts one learned token in front of a sequence.

    The token has a row of a position table of its own, `position`, which is
    fixed and zero unless weights with another value are loaded.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim).

    Returns:
        Tensor of shape (batch, tokens + 1, hidden_dim).

    Example:

    >>> keras_clmae.layers.ClassToken()(keras.ops.zeros((2, 6, 16))).shape
    (2, 7, 16)
    """

    def build(self, input_shape):
        shape = (1, 1, input_shape[-1])
        # MAE draws it from a normal distribution (appendix A.1 of
        # https://arxiv.org/abs/2111.06377; standard deviation of ViT).
        self.token = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="token",
        )
        self.position = self.add_weight(
            shape=shape,
            initializer="zeros",
            trainable=False,
            name="position",
        )

    def call(self, tokens):
        token = ops.broadcast_to(
            ops.cast(self.token + self.position, tokens.dtype),
            (ops.shape(tokens)[0], 1, tokens.shape[-1]),
        )
        return ops.concatenate([token, tokens], axis=1)

    def compute_output_shape(self, input_shape):
        batch, tokens, hidden_dim = input_shape
        return (batch, None if tokens is None else tokens + 1, hidden_dim)
