"""Average the named scalars of a log."""

import keras
from keras import ops


class TermMeans(keras.metrics.Metric):
    """Running means of several named scalars, in one variable.

    Args:
        term_names: sequence of str. Names of the scalars, in the order of the
            log.
        name: str.

    Example:

    >>> means = keras_clmae.trainers.TermMeans(("a", "b"))
    >>> means.update_state({"a": 1.0, "b": 2.0}, sample_weight=3)
    >>> means.update_state({"a": 5.0, "b": 2.0}, sample_weight=1)
    >>> {name: float(value) for name, value in means.result().items()}
    {'a': 2.0, 'b': 2.0}
    """

    def __init__(self, term_names, name="term_means"):
        super().__init__(name=name, dtype="float32")
        self.term_names = tuple(term_names)
        self.totals = self.add_variable(
            shape=(len(self.term_names),), initializer="zeros", name="totals"
        )
        self.weight = self.add_variable(
            shape=(), initializer="zeros", name="weight"
        )

    def update_state(self, terms, sample_weight=1.0):
        """Adds one value of each term.

        Args:
            terms: dict from each name to a scalar.
            sample_weight: scalar. Weight of these values in the means.
        """
        values = ops.stack(
            [ops.cast(terms[name], "float32") for name in self.term_names]
        )
        sample_weight = ops.cast(sample_weight, "float32")
        self.totals.assign_add(values * sample_weight)
        self.weight.assign_add(sample_weight)

    def result(self):
        means = ops.divide_no_nan(self.totals.value, self.weight.value)
        return {
            name: means[index] for index, name in enumerate(self.term_names)
        }
