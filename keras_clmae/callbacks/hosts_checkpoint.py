import os

import keras

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.callbacks.run_checkpoint import TrainingPosition


class HostsCheckpoint(keras.callbacks.OrbaxCheckpoint):
    """Saves the whole training state of several JAX processes, with Orbax.

    Every process makes one and writes the parts of the weights that it holds:
    `RunCheckpoint` cannot where no process holds them all. Needs
    `orbax-checkpoint`. Restore with `restore_newest_of_hosts`.

    Args:
        directory: folder of the checkpoints, on a file system that all
            processes see.
        every: int. Epochs between checkpoints; the last epoch is always saved.
            Defaults to `1`.
        keep: int. Number of newest checkpoints that stay. Defaults to `2`.

    Example:

    ```python
    model.fit(
        dataset,
        epochs=100,
        callbacks=[keras_clmae.callbacks.HostsCheckpoint("checkpoints")],
    )
    ```
    """

    def __init__(self, directory, every=1, keep=2):
        check_positive_integer("every", every)
        check_positive_integer("keep", keep)
        super().__init__(
            os.path.abspath(directory),
            max_to_keep=keep,
            # Else the end of a process could overtake its last checkpoint.
            save_on_background=False,
        )
        self.every = every

    def on_epoch_end(self, epoch, logs=None):
        last = (self.params or {}).get("epochs")
        if (epoch + 1) % self.every == 0 or epoch + 1 == last:
            super().on_epoch_end(epoch, logs)


def restore_newest_of_hosts(model, directory):
    """Restores what `HostsCheckpoint` saved last, in every process.

    Args:
        model: Keras model of the same sizes, compiled with the same optimizers.
        directory: folder that `HostsCheckpoint` wrote to.

    Returns:
        A `TrainingPosition`; the start where there is no checkpoint.

    Example:

    >>> model = keras_clmae.models.ViTEncoder((8, 8, 1), 4, 8, 1, 2)
    >>> keras_clmae.callbacks.restore_newest_of_hosts(
    ...     model, tempfile.mkdtemp()
    ... ).epoch
    0
    """
    # Orbax gives a folder its final name, the number of the epoch, when whole.
    saved = [int(name) for name in _listing(directory) if name.isdigit()]
    if not saved:
        return TrainingPosition()
    # Keras takes the newest one of the folder.
    model.load_weights(os.path.abspath(directory))
    return TrainingPosition(max(saved) + 1)


def _listing(directory):
    return os.listdir(directory) if os.path.isdir(directory) else []
