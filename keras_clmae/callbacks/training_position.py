"""Name a position in a training, and end a training there with its state."""

import contextlib
import warnings
from typing import NamedTuple

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.saving.errors import one_error


class TrainingInterrupted(Exception):
    """Error of a training that ended on request, with its state saved."""


class TrainingPosition(NamedTuple):
    """Position at which a training continues.

    Attributes:
        epoch: int. Finished epochs: the `initial_epoch` for `fit`.
        step: int. Finished steps of the epoch after these.
        metrics: tuple of arrays. The metrics' variables after these steps;
            empty between epochs.
    """

    epoch: int = 0
    step: int = 0
    metrics: tuple = ()


class StoppingCheckpoint:
    """Mixin of callbacks that save epochs, and may end a training early.

    Subclasses define `_must_stop()`, asked before each step of training and
    validation and after each epoch, and `_save(epoch, step)`, which gives the
    path of what it saved.
    """

    def _init_schedule(self, every, keep, position):
        check_positive_integer("every", every)
        check_positive_integer("keep", keep)
        self.every = every
        self.keep = keep
        self.position = position or TrainingPosition()
        self._epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._offset = 0
        if self.position.step and epoch == self.position.epoch:
            self._offset = self.position.step
            for variable, value in zip(
                self.model.metrics_variables, self.position.metrics, strict=True
            ):
                variable.assign(value)

    def on_train_batch_begin(self, batch, logs=None):
        if self._must_stop():
            self._stop(self._epoch, self._offset + batch)

    def on_test_batch_begin(self, batch, logs=None):
        # `evaluate` by itself, or by a callback, has no epoch.
        steps = (self.params or {}).get("steps")
        if self._epoch is not None and steps and self._must_stop():
            self._stop(self._epoch, self._offset + steps)

    def on_epoch_end(self, epoch, logs=None):
        self._epoch = None
        last = (self.params or {}).get("epochs")
        if self._must_stop():
            self._stop(epoch + 1, 0)
        if (epoch + 1) % self.every == 0 or epoch + 1 == last:
            self._save(epoch + 1, 0)

    def _stop(self, epoch, step):
        path = self._save(epoch, step)
        raise TrainingInterrupted(
            f"Stopped on request after epoch {epoch}, step {step}; the state "
            f"is in {path}"
        )


@contextlib.contextmanager
def restoring(path):
    """Raises one error that names the checkpoint, whatever the block raises."""
    with (
        one_error(
            path,
            "the state of a model of these sizes with these optimizers. Remove "
            "it to go on from an older one",
            opening=f"The checkpoint {path} must hold, whole,",
        ),
        warnings.catch_warnings(),
    ):
        # Keras only warns where the optimizers are others.
        warnings.filterwarnings("error", "Skipping variable loading")
        yield
