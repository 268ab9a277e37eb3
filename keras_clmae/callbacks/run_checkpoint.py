"""Save the whole state of a run, and restore the newest."""

import os
import re

import h5py
import keras
import numpy as np

from keras_clmae.callbacks.training_position import StoppingCheckpoint
from keras_clmae.callbacks.training_position import TrainingPosition
from keras_clmae.callbacks.training_position import restoring
from keras_clmae.distribution.plan import is_first_process
from keras_clmae.distribution.reading import readable_weights
from keras_clmae.distribution.replicas import engine
from keras_clmae.saving.atomic_write import UNFINISHED
from keras_clmae.saving.atomic_write import atomic_write

_NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?\.weights\.h5")
# Group of the file, beside those of Keras, with the sums behind the log.
_METRICS = "keras_clmae_metrics"


class RunCheckpoint(StoppingCheckpoint, keras.callbacks.Callback):
    """Saves the whole training state at the end of epochs, atomically.

    Weights, both optimizers and random states are written under another name,
    flushed to the disk and then renamed: whenever the process dies, each file
    named `epoch_....weights.h5` is whole. Restore with `restore_newest`.

    With `stop_event` it also saves in the middle of an epoch: once the event is
    set (by a handler of SIGTERM, say), before the next step of training or
    validation, or else at the end of the epoch.

    Of several processes the first one writes. With `stop_event` all of them
    must have this callback: once the event of one is set they stop together.
    Several JAX processes take `HostsCheckpoint` instead.

    Args:
        directory: str. Folder of the checkpoints, made if it does not exist.
        every: int. Epochs between checkpoints; the last epoch is always saved.
            Defaults to `1`.
        keep: int. Number of newest checkpoints that stay. Defaults to `2`.
        stop_event: `threading.Event`. Defaults to `None`.
        position: `TrainingPosition` that this `fit` starts from, with the rest
            of its epoch as data (see `keras_clmae.data.remaining_steps`); the
            log then covers the whole epoch. Defaults to the start of an epoch.

    Raises:
        TrainingInterrupted: After saving, where `stop_event` was set.
        OSError: If a checkpoint cannot be written; older ones stay.

    Example:

    >>> directory = tempfile.mkdtemp()
    >>> model = keras_clmae.models.ViTEncoder((8, 8, 1), 4, 8, 1, 2)
    >>> checkpoint = keras_clmae.callbacks.RunCheckpoint(directory, keep=1)
    >>> checkpoint.set_model(model)
    >>> checkpoint.on_epoch_end(0)
    >>> os.listdir(directory)
    ['epoch_00001.weights.h5']
    """

    def __init__(
        self, directory, every=1, keep=2, stop_event=None, position=None
    ):
        super().__init__()
        self._init_schedule(every, keep, position)
        self.directory = directory
        self.stop_event = stop_event

    def on_train_begin(self, logs=None):
        if is_first_process():
            self._remove_unfinished()

    def _must_stop(self):
        if self.stop_event is None:
            return False
        return engine.in_any_process(self.stop_event.is_set())

    def _save(self, epoch, step):
        path = self._path(epoch, step)
        # Between workers of TensorFlow it takes all to read them.
        metrics = [
            keras.ops.convert_to_numpy(variable)
            for variable in (self.model.metrics_variables if step else ())
        ]
        if is_first_process():
            self._replace(path, metrics)
        if self.stop_event is not None:
            # None ends, which may end all, before the file is there.
            engine.in_any_process(False)
        return path

    def _path(self, epoch, step):
        name = f"epoch_{epoch:05d}" + (f"_step_{step:08d}" if step else "")
        return os.path.join(self.directory, f"{name}.weights.h5")

    def _replace(self, path, metrics):
        try:
            os.makedirs(self.directory, exist_ok=True)
            with atomic_write(path) as unfinished:
                self._check_room(unfinished)
                self._write(unfinished, metrics)
            _flush(self.directory)
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"The checkpoint {path} could not be written ({error}). Older "
                "checkpoints are as they were: make room, then resume."
            ) from error
        finally:
            self._remove_unfinished()
        for _, old in list_checkpoints(self.directory)[: -self.keep]:
            os.remove(old)

    def _check_room(self, path):
        # The HDF5 library can crash the process where its writes fail, so room
        # is asked for first; 4 KiB per variable for names and places.
        model = self.model
        variables = [*model.variables]
        if getattr(model, "optimizer", None) is not None:
            variables += model.optimizer.variables
        if not hasattr(os, "posix_fallocate"):  # As on macOS.
            return
        # No variable has more than 8 bytes per number; nearly all have 4.
        size = sum(
            int(np.prod(v.shape)) * (4 if "float" in v.dtype else 8)
            for v in variables
        )
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size + 4096 * len(variables))

    def _write(self, path, metrics):
        with readable_weights(self.model):
            self.model.save_weights(path, overwrite=True)
        if metrics:
            with h5py.File(path, "a") as file:
                group = file.create_group(_METRICS)
                for index, value in enumerate(metrics):
                    group.create_dataset(f"{index:03d}", data=value)
        _flush(path)

    def _remove_unfinished(self):
        if os.path.isdir(self.directory):
            for name in os.listdir(self.directory):
                # Also what a process left that was killed.
                if name.startswith(UNFINISHED):
                    os.remove(os.path.join(self.directory, name))


def _flush(path):
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_checkpoints(directory):
    """Finds the whole checkpoints of a folder.

    Args:
        directory: str. Folder that `RunCheckpoint` wrote to; it need not exist.

    Returns:
        A list of (finished epochs, path), the oldest first.

    Example:

    >>> keras_clmae.callbacks.list_checkpoints("no such folder")
    []
    """
    return [(epoch, path) for epoch, _, path in _checkpoints(directory)]


def _checkpoints(directory):
    if not os.path.isdir(directory):
        return []
    found = []
    for name in os.listdir(directory):
        match = _NAME.fullmatch(name)
        if match:
            epoch, step = match.groups(default="0")
            path = os.path.join(directory, name)
            found.append((int(epoch), int(step), path))
    return sorted(found)


def restore_newest(model, directory):
    """Restores the newest checkpoint into a compiled model.

    Args:
        model: Keras model of the same sizes, compiled with the same optimizers.
        directory: str. Folder that `RunCheckpoint` wrote to.

    Returns:
        A `TrainingPosition`; the start where there is no checkpoint.

    Raises:
        ValueError: Naming the file, if it is damaged or of another model.

    Example:

    >>> model = keras_clmae.models.ViTEncoder((8, 8, 1), 4, 8, 1, 2)
    >>> keras_clmae.callbacks.restore_newest(model, tempfile.mkdtemp()).epoch
    0
    """
    checkpoints = _checkpoints(directory)
    if not checkpoints:
        return TrainingPosition()
    epoch, step, path = checkpoints[-1]
    with restoring(path):
        model.load_weights(path)
        with h5py.File(path, "r") as file:
            group = file.get(_METRICS, {})
            metrics = tuple(np.asarray(group[name]) for name in sorted(group))
    return TrainingPosition(epoch, step, metrics)
