"""Keep the images with the highest numbers while a data set streams by."""

import numpy as np


class Highest:
    """The `count` highest of a stream, with what belongs to them.

    Of equal ones, the first stay.

    Args:
        count: int.

    Attributes:
        values: float array, highest first.
        rows: tuple of arrays or lists, in the same order.
    """

    def __init__(self, count):
        self.count = count
        self.values = np.zeros((0,))
        self.rows = []

    def update(self, values, *columns):
        """Adds a batch.

        Args:
            values: float array of shape (batch,).
            *columns: sequences of the same length.
        """
        rows = [*self.rows, *zip(*columns, strict=True)]
        values = np.concatenate([self.values, values])
        best = np.argsort(-values, kind="stable")[: self.count]
        self.values = values[best]
        self.rows = [rows[index] for index in best]

    def columns(self):
        """The columns that were added, of the highest; tuple of tuples."""
        return tuple(zip(*self.rows, strict=True))
