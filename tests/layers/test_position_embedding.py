import math

import numpy as np
import pytest

from keras_clmae.layers import PositionEmbedding
from keras_clmae.layers import sincos_position_table


def test_values_worked_by_hand():
    table = sincos_position_table((2, 3), 8)
    # Token 5 is row 1, column 2; the frequencies of half = 4 are 1 and 0.01.
    column = [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    row = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]
    np.testing.assert_allclose(table[5], column + row, atol=1e-6)


def test_prefix_rows_are_zero_and_the_table_is_fixed():
    layer = PositionEmbedding((2, 3), num_prefix_tokens=1)
    layer.build((None, 7, 8))
    (table,) = layer.get_weights()
    np.testing.assert_array_equal(table[0], np.zeros(8))
    np.testing.assert_array_equal(table[1:], sincos_position_table((2, 3), 8))
    assert layer.trainable_variables == []


def test_learned_table_moves():
    layer = PositionEmbedding((2, 3), learned=True)
    layer.build((None, 6, 8))
    assert len(layer.trainable_variables) == 1


def test_width_must_be_a_multiple_of_four():
    with pytest.raises(ValueError, match="`hidden_dim` must be a multiple"):
        sincos_position_table((2, 3), 6)
