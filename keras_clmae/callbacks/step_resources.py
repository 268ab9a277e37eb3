"""Log what the steps of an epoch are run with: rate, data, memory."""

import time

import keras

from keras_clmae.distribution.device_memory import peak_device_memory
from keras_clmae.trainers.batches import reads_within_step

_GIB = 2**30


class StepResources(keras.callbacks.Callback):
    """Puts learning rate, seconds waiting for data and memory into the log.

    - `learning_rate`: of the autoencoder, at the end of the epoch.
    - `data_wait_seconds`: what the program waited for batches between its
      steps. A GPU may have been at work meanwhile; far below the time of the
      epoch, reading the images is no bottleneck. On TensorFlow, which reads
      them within its compiled step, it is not known and left out.
    - `device_memory_gib`: the most that was used of the first GPU or TPU so
      far; left out where there is none.

    Put it before the callbacks that write the log.

    Example:

    >>> callback = keras_clmae.callbacks.StepResources()
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.5), "mse")
    >>> x = np.zeros((4, 1), "float32")
    >>> history = model.fit(x, x, verbose=0, callbacks=[callback])
    >>> history.history["learning_rate"]
    [0.5]
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._waited = 0.0
        # The first batch of an epoch is part of the wait.
        self._since = time.perf_counter()

    def on_train_batch_begin(self, batch, logs=None):
        self._waited += time.perf_counter() - self._since

    def on_train_batch_end(self, batch, logs=None):
        self._since = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        optimizer = getattr(
            self.model, "autoencoder_optimizer", self.model.optimizer
        )
        logs["learning_rate"] = float(optimizer.learning_rate)
        if not reads_within_step():
            logs["data_wait_seconds"] = self._waited
        memory = peak_device_memory()
        if memory is not None:
            logs["device_memory_gib"] = memory / _GIB
