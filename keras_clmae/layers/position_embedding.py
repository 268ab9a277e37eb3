"""Add sine-cosine or learned positions to tokens."""

import keras
import numpy as np

from keras_clmae.argument_validation import check_positive_integer


def sincos_position_table(grid_size, hidden_dim, num_prefix_tokens=0):
    """Computes MAE's fixed two-dimensional sine-cosine position table.

    The first half of the channels encodes the column, the second half the row.
    Each half is `[sin, cos]` of the coordinate times the frequencies
    `1 / 10000**(2 i / half)`, where `half = hidden_dim / 2`.

    Args:
        grid_size: tuple of int. (rows, columns) of patches.
        hidden_dim: int. Width of the tokens, a multiple of 4.
        num_prefix_tokens: int. Rows of zeros put in front, one for every token
            that precedes the patches. Defaults to `0`.

    Returns:
        float32 array of shape (num_prefix_tokens + rows * columns, hidden_dim).

    Raises:
        ValueError: If `hidden_dim` is no multiple of 4.

    Example:

    >>> keras_clmae.layers.sincos_position_table((2, 3), 16).shape
    (6, 16)
    """
    check_positive_integer("hidden_dim", hidden_dim)
    if hidden_dim % 4:
        raise ValueError(
            "`hidden_dim` must be a multiple of 4 for a two-dimensional "
            f"sine-cosine table. Received: hidden_dim={hidden_dim}"
        )
    rows, columns = grid_size
    half = hidden_dim // 2
    frequencies = 10000.0 ** (-2.0 * np.arange(half // 2) / half)

    def encode(coordinates):
        angles = np.outer(coordinates, frequencies)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    row_of_token, column_of_token = np.divmod(
        np.arange(rows * columns), columns
    )
    table = np.concatenate(
        [encode(column_of_token), encode(row_of_token)], axis=1
    )
    prefix = np.zeros((num_prefix_tokens, hidden_dim))
    return np.concatenate([prefix, table]).astype("float32")


@keras.saving.register_keras_serializable(package="keras_clmae")
class PositionEmbedding(keras.layers.Layer):
    """Adds a position table, sine-cosine at the start and fixed by default.

    Args:
        grid_size: tuple of int. (rows, columns) of patches.
        num_prefix_tokens: int. Tokens in front of the patches (a class token);
            their rows of the table are zeros. Defaults to `0`.
        learned: bool. Whether training moves the table. Defaults to `False`.

    Call arguments:
        tokens: tensor of shape (batch, num_prefix_tokens + rows * columns,
            hidden_dim).

    Returns:
        Tensor of the same shape.

    Example:

    >>> layer = keras_clmae.layers.PositionEmbedding(grid_size=(2, 3))
    >>> layer(keras.ops.zeros((1, 6, 16))).shape
    (1, 6, 16)
    """

    def __init__(self, grid_size, num_prefix_tokens=0, learned=False, **kwargs):
        super().__init__(**kwargs)
        self.grid_size = tuple(grid_size)
        self.num_prefix_tokens = num_prefix_tokens
        self.learned = learned

    def build(self, input_shape):
        def initializer(shape, dtype=None):
            table = sincos_position_table(
                self.grid_size, shape[-1], self.num_prefix_tokens
            )
            return keras.ops.convert_to_tensor(table, dtype=dtype)

        rows, columns = self.grid_size
        self.position_table = self.add_weight(
            shape=(self.num_prefix_tokens + rows * columns, input_shape[-1]),
            initializer=initializer,
            trainable=self.learned,
            name="position_table",
        )

    def call(self, tokens):
        return tokens + self.position_table

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "grid_size": self.grid_size,
            "num_prefix_tokens": self.num_prefix_tokens,
            "learned": self.learned,
        }
