import os

import keras
import numpy as np


class MaskSnapshots(keras.callbacks.Callback):
    """Keeps learned masks and reconstructions of some images over training.

    Each snapshot is a file `epoch_....npz` with the arrays `keep_scores`,
    `mask`, `images` (the reconstruction) and `visible`, as
    `CLMAE.reconstruct` gives them.

    Args:
        images: float array of shape (batch, height, width, channels).
        directory: folder of the snapshots, made if it does not exist.
        epochs: numbers of finished epochs after which to take one; 0 is before
            training.

    Example:

    >>> directory = tempfile.mkdtemp()
    >>> callback = keras_clmae.callbacks.MaskSnapshots(
    ...     np.zeros((2, 32, 32, 3), "float32"), directory, epochs=(0, 10)
    ... )
    >>> callback.set_model(
    ...     keras_clmae.models.CLMAE.from_preset(
    ...         "clmae_tiny_patch4_32", load_weights=False, num_layers=1
    ...     )
    ... )
    >>> callback.on_train_begin()
    >>> os.listdir(directory)
    ['epoch_00000.npz']
    """

    def __init__(self, images, directory, epochs):
        super().__init__()
        self.images = np.asarray(images)
        self.directory = directory
        self.epochs = frozenset(epochs)

    def on_train_begin(self, logs=None):
        # A resumed run has it from its first start.
        if 0 in self.epochs and not os.path.exists(self._path(0)):
            self._take(0)

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 in self.epochs:
            self._take(epoch + 1)

    def _path(self, epoch):
        return os.path.join(self.directory, f"epoch_{epoch:05d}.npz")

    def _take(self, epoch):
        os.makedirs(self.directory, exist_ok=True)
        outputs = self.model.reconstruct(self.images)
        arrays = {
            name: keras.ops.convert_to_numpy(value)
            for name, value in outputs.items()
        }
        unfinished = f"{self._path(epoch)}.unfinished"
        with open(unfinished, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(unfinished, self._path(epoch))


def load_snapshots(directory):
    """Reads what `MaskSnapshots` kept.

    Args:
        directory: folder of the snapshots.

    Returns:
        A dict from the number of finished epochs to a dict of arrays, the
        earliest first.
    """
    snapshots = {}
    for name in sorted(os.listdir(directory)):
        if name.startswith("epoch_") and name.endswith(".npz"):
            with np.load(os.path.join(directory, name)) as arrays:
                snapshots[int(name[6:-4])] = dict(arrays)
    return snapshots
