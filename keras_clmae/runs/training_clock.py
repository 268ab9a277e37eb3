"""Measure what the training of each epoch takes."""

import time

import keras


class TrainingClock(keras.callbacks.Callback):
    """Puts the seconds of each epoch into its log, without the validation.

    `processor_seconds`, of all threads of the process, and `wall_seconds`. Put
    it before the callbacks that write the log and those that take time.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._since = _now()

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.params.get("steps"):
            # JAX is still at work: its numbers are waited for.
            float(logs["loss"])

    def on_test_begin(self, logs=None):
        self._test_since = _now()

    def on_test_end(self, logs=None):
        # As if the epoch had begun later by what the validation took.
        self._since = {
            name: self._since[name] + now - self._test_since[name]
            for name, now in _now().items()
        }

    def on_epoch_end(self, epoch, logs=None):
        for name, now in _now().items():
            logs[name] = now - self._since[name]


def _now():
    return {
        "processor_seconds": time.process_time(),
        "wall_seconds": time.perf_counter(),
    }
