"""Save the state of a run on several hosts, and restore it."""

import os

import keras
import numpy as np

from keras_clmae.callbacks.training_position import StoppingCheckpoint
from keras_clmae.callbacks.training_position import TrainingPosition
from keras_clmae.callbacks.training_position import restoring
from keras_clmae.distribution.replicas import engine
from keras_clmae.optional_imports import require

# Orbax names a checkpoint by one number: finished epochs, then the finished
# steps of the next, of which no epoch has as many.
_MAX_STEPS = 10**8


class HostsCheckpoint(StoppingCheckpoint, keras.callbacks.OrbaxCheckpoint):
    """Saves the whole training state of several JAX processes, with Orbax.

    Every process makes one and writes the parts of the weights that it holds:
    `RunCheckpoint` cannot where no process holds them all. Needs
    `orbax-checkpoint`. Restore with `restore_newest_of_hosts`.

    Once SIGTERM reached one of the processes, all save before the same next
    step of training or validation, which JAX's preemption service chooses, and
    stop.

    Args:
        directory: str. Folder of the checkpoints, on a file system that all
            processes see.
        every: int. Epochs between checkpoints; the last epoch is always saved.
            Defaults to `1`.
        keep: int. Number of newest checkpoints that stay. Defaults to `2`.
        position: `TrainingPosition` that this `fit` starts from, with the rest
            of its epoch as data (see `keras_clmae.data.remaining_steps`); the
            log then covers the whole epoch. Defaults to the start of an epoch.

    Raises:
        ImportError: If `orbax-checkpoint` is not installed.
        TrainingInterrupted: After saving, where a process received SIGTERM.

    Example:

    ```python
    model.fit(
        dataset,
        epochs=100,
        callbacks=[keras_clmae.callbacks.HostsCheckpoint("checkpoints")],
    )
    ```
    """

    def __init__(self, directory, every=1, keep=2, position=None):
        _require_orbax()
        super().__init__(
            os.path.abspath(directory),
            max_to_keep=keep,
            # Else the end of a process could overtake its last checkpoint.
            save_on_background=False,
        )
        self._init_schedule(every, keep, position)
        self._asked = 0

    def _must_stop(self):
        # Equally often in every process.
        self._asked += 1
        return engine.must_stop_together(self._asked)

    def _save(self, epoch, step):
        number = epoch * _MAX_STEPS + step
        path = os.path.join(self.directory, str(number))
        # It is there where a resumed training stops before its first step.
        if not os.path.isdir(path):
            self._save_checkpoint(number)
        return path


def restore_newest_of_hosts(model, directory):
    """Restores what `HostsCheckpoint` saved last, in every process.

    Args:
        model: Keras model of the same sizes, compiled with the same optimizers.
        directory: str. Folder that `HostsCheckpoint` wrote to.

    Returns:
        A `TrainingPosition`; the start where there is no checkpoint.

    Raises:
        ValueError: Naming the folder, if it is damaged or of another model.

    Example:

    >>> model = keras_clmae.models.ViTEncoder((8, 8, 1), 4, 8, 1, 2)
    >>> keras_clmae.callbacks.restore_newest_of_hosts(
    ...     model, tempfile.mkdtemp()
    ... ).epoch
    0
    """
    # Orbax gives a folder its final name, the number, when it is whole.
    saved = [int(name) for name in _listing(directory) if name.isdigit()]
    if not saved:
        return TrainingPosition()
    orbax = _require_orbax().v1
    path = os.path.join(os.path.abspath(directory), str(max(saved)))
    with restoring(path):
        # Keras leaves out what has no counterpart, without a word.
        found = orbax.pytree_metadata(path, checkpointable_name="pytree")
        _check_same_names(found.metadata, model.get_state_tree())
        # It takes the newest one of the folder.
        model.load_weights(os.path.abspath(directory))
    epoch, step = divmod(max(saved), _MAX_STEPS)
    metrics = [np.asarray(v.value) for v in model.metrics_variables]
    return TrainingPosition(epoch, step, tuple(metrics) if step else ())


def _check_same_names(found, expected):
    found, expected = set(_names(found)), set(_names(expected))
    for what, names in (
        ("it lacks", expected - found),
        ("the model lacks", found - expected),
    ):
        if names:
            raise ValueError(
                f"{what} {len(names)} variables, such as {min(names)!r}"
            )


def _names(tree, prefix=""):
    if not isinstance(tree, dict):
        return [prefix]
    return [
        name
        for key, value in tree.items()
        for name in _names(value, f"{prefix}/{key}")
    ]


def _require_orbax():
    return require("orbax.checkpoint", "A checkpoint of several JAX processes")


def _listing(directory):
    return os.listdir(directory) if os.path.isdir(directory) else []
