import os
import re

import keras

from keras_clmae.argument_validation import check_positive_integer

_NAME = re.compile(r"epoch_(\d+)\.weights\.h5")


class RunCheckpoint(keras.callbacks.Callback):
    """Saves the whole training state at the end of epochs, atomically.

    Weights, both optimizers and random states are written under another name,
    flushed to the disk and then renamed: whenever the process dies, each file
    named `epoch_....weights.h5` is whole. Restore with `restore_newest`.

    Args:
        directory: folder of the checkpoints, made if it does not exist.
        every: int. Epochs between checkpoints; the last epoch is always saved.
            Defaults to `1`.
        keep: int. Number of newest checkpoints that stay. Defaults to `2`.

    Example:

    >>> directory = tempfile.mkdtemp()
    >>> model = keras_clmae.models.ViTEncoder((8, 8, 1), 4, 8, 1, 2)
    >>> checkpoint = keras_clmae.callbacks.RunCheckpoint(directory, keep=1)
    >>> checkpoint.set_model(model)
    >>> checkpoint.on_epoch_end(0)
    >>> os.listdir(directory)
    ['epoch_00001.weights.h5']
    """

    def __init__(self, directory, every=1, keep=2):
        super().__init__()
        check_positive_integer("every", every)
        check_positive_integer("keep", keep)
        self.directory = directory
        self.every = every
        self.keep = keep

    def on_epoch_end(self, epoch, logs=None):
        last = (self.params or {}).get("epochs")
        if (epoch + 1) % self.every == 0 or epoch + 1 == last:
            self._save(epoch + 1)

    def _save(self, epoch):
        os.makedirs(self.directory, exist_ok=True)
        path = os.path.join(self.directory, f"epoch_{epoch:05d}.weights.h5")
        # Keras asks for the ending.
        unfinished = os.path.join(
            self.directory, f"unfinished_{os.getpid()}.weights.h5"
        )
        try:
            self.model.save_weights(unfinished, overwrite=True)
            with open(unfinished, "rb") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            if os.path.exists(unfinished):
                os.remove(unfinished)
        for _, old in list_checkpoints(self.directory)[: -self.keep]:
            os.remove(old)


def list_checkpoints(directory):
    """Finds the whole checkpoints of a folder.

    Args:
        directory: folder that `RunCheckpoint` wrote to; it need not exist.

    Returns:
        A list of (finished epochs, path), the oldest first.
    """
    if not os.path.isdir(directory):
        return []
    found = []
    for name in os.listdir(directory):
        match = _NAME.fullmatch(name)
        if match:
            found.append((int(match.group(1)), os.path.join(directory, name)))
    return sorted(found)


def restore_newest(model, directory):
    """Restores the newest checkpoint into a compiled model.

    Args:
        model: Keras model of the same sizes, compiled with the same optimizers.
        directory: folder that `RunCheckpoint` wrote to.

    Returns:
        Number of finished epochs, the `initial_epoch` for `fit`; 0 if there is
        no checkpoint.

    Example:

    >>> model = keras_clmae.models.ViTEncoder((8, 8, 1), 4, 8, 1, 2)
    >>> keras_clmae.callbacks.restore_newest(model, tempfile.mkdtemp())
    0
    """
    checkpoints = list_checkpoints(directory)
    if not checkpoints:
        return 0
    epoch, path = checkpoints[-1]
    model.load_weights(path)
    return epoch
