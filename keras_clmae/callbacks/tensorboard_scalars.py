"""Write the logs of a training as TensorBoard events."""

import keras

from keras_clmae.optional_imports import require


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the log of every epoch as TensorBoard events, on any backend.

    Keras's own `TensorBoard` callback needs TensorFlow; this one needs
    `tensorboardX` only. Steps are finished epochs, as in the names of figures
    and checkpoints: 1 after the first. Keras's `CSVLogger` calls that epoch 0.

    Args:
        directory: str. Folder of the events; training and validation go to
            `train` and `validation` below it.

    Raises:
        ImportError: If tensorboardX is not installed.

    Example:

    >>> directory = tempfile.mkdtemp()
    >>> callback = keras_clmae.callbacks.TensorBoardScalars(directory)
    >>> callback.on_train_begin()
    >>> callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    >>> callback.on_train_end()
    >>> sorted(os.listdir(directory))
    ['train', 'validation']
    """

    def __init__(self, directory):
        super().__init__()
        self._writer_class = summary_writer_class()
        self._writers = {}
        self.directory = directory

    def on_train_begin(self, logs=None):
        self._writers = {
            name: self._writer_class(f"{self.directory}/{name}")
            for name in ("train", "validation")
        }

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            self._writers[part].add_scalar(
                name.removeprefix("val_"), value, epoch + 1
            )
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()


def summary_writer_class():
    """Returns the writer class of tensorboardX, or says what to install."""
    return require("tensorboardX", "Writing TensorBoard events").SummaryWriter
