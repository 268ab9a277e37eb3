"""Read weights that are split or copied over processes."""

import contextlib

from keras_clmae.distribution import engine


@contextlib.contextmanager
def readable_weights(model):
    """Lets one process of several read, and so save, the weights.

    With `setup("model")` over several JAX processes Keras cannot read them:
    their other copies lie in other processes. Inside this context they are
    NumPy arrays, put together from the parts that this process holds; nothing
    is sent. One of several TensorFlow workers leaves the scope of its strategy,
    in which Keras's saving would wait for the others. The model must not be
    called in it. Elsewhere it does nothing.

    Args:
        model: Keras model. Its weights and its optimizer's state are meant.

    Example:

    >>> model = keras_clmae.models.ViTEncoder((8, 8, 1), 4, 8, 1, 2)
    >>> with keras_clmae.distribution.readable_weights(model):
    ...     model.save(os.path.join(tempfile.mkdtemp(), "encoder.keras"))
    """
    variables = list(model.variables)
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    with engine.readable(variables):
        yield
