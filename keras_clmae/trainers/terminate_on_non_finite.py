"""Stop a training whose loss is infinite or not a number."""

import math
import threading

import keras


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Stops training with an error at a loss that is infinite or not a number.

    The running means of the log stay non-finite once a term was, so the first
    batch with one names the term and the step. Keras may call it from another
    thread, without stalling the training: it then raises at the next batch.

    Args:
        order: sequence of str. Names of the log, causes before consequences: of
            several terms the first is named. The other terms follow in the
            log's order.

    Raises:
        FloatingPointError: Naming the term and the step.

    Example:

    >>> callback = keras_clmae.trainers.TerminateOnNonFinite()
    >>> callback.on_epoch_begin(0)
    >>> try:
    ...     callback.on_train_batch_end(3, {"loss": float("nan")})
    ...     callback.on_train_batch_begin(4)
    ... except FloatingPointError as error:
    ...     print(error)
    `loss` is nan at step 3 of epoch 0 (both count from 0).
    """

    # Keras may then dispatch the batch hooks asynchronously.
    async_safe = True

    def __init__(self, order=("loss",)):
        super().__init__()
        self.order = tuple(order)
        self._lock = threading.Lock()
        self._epoch = 0
        self._first = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        logs = logs or {}
        for name in (*self.order, *logs):
            if name in logs and not math.isfinite(logs[name]):
                with self._lock:
                    if self._first is None or batch < self._first[1]:
                        self._first = (name, batch, logs[name])
                return

    def on_train_batch_begin(self, batch, logs=None):
        self._raise_if_found()

    def on_epoch_end(self, epoch, logs=None):
        self._raise_if_found()

    def _raise_if_found(self):
        if self._first is not None:
            name, batch, value = self._first
            raise FloatingPointError(
                f"`{name}` is {value} at step {batch} of epoch {self._epoch} "
                "(both count from 0)."
            )


def terminating_callbacks(callbacks, model, order):
    """Puts a `TerminateOnNonFinite` in front of the callbacks of `fit`.

    Args:
        callbacks: as `fit` takes them: `None`, a callback, several, or Keras's
            `CallbackList`, into which it goes.
        model: Keras model.
        order: sequence of str. See `TerminateOnNonFinite`.

    Returns:
        A list, or the `CallbackList`.
    """
    terminate = TerminateOnNonFinite(order)
    if isinstance(callbacks, keras.callbacks.CallbackList):
        terminate.set_model(model)
        callbacks.callbacks.insert(0, terminate)
        return callbacks
    if callbacks is None:
        return [terminate]
    if not isinstance(callbacks, (list, tuple)):
        callbacks = [callbacks]
    return [terminate, *callbacks]
