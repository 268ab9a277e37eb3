"""Draw and keep the learned masks over training."""

import os

import numpy as np

from keras_clmae.callbacks.gallery import Gallery
from keras_clmae.saving import atomic_write
from keras_clmae.visualization.masks import masks_figure
from keras_clmae.visualization.reconstructing import reconstruct_arrays


class MaskGallery(Gallery):
    """Draws the learned masks over training, and keeps their numbers.

    One column per image: the image, its keep scores as a heat map, the visible
    patches, and the reconstruction with the visible patches pasted in. Beside
    each `epoch_....png` lies an `epoch_....npz` with the arrays `keep_scores`,
    `mask` and `reconstruction`, from which `load_snapshots` and
    `visualization.mask_animation` draw figures over training; the images
    themselves are in `images.npy`.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model sees them.
        directory: str. Folder of the files, made if it does not exist.
        every: int. Epochs from one figure to the next; there is one before
            training and one after the last epoch, too. Defaults to `10`.
        inverse: callable. Maps the model's images to uint8 images, such as
            `dataset.normalization.inverse`. Defaults to `None`: the darkest
            value is black and the brightest white.
        shown_channels: tuple of int. One or three channels to show. Defaults to
            `None`: the first three, or the first if there are fewer.
        tensorboard: str. Folder of TensorBoard events that get the figures,
            too. Defaults to `None`: no events.

    Raises:
        ImportError: If matplotlib, or with `tensorboard` tensorboardX, is not
            installed.
        ValueError: If an argument does not fit, or the model has no masking
            module.

    Example:

    >>> directory = tempfile.mkdtemp()
    >>> callback = keras_clmae.callbacks.MaskGallery(
    ...     np.random.normal(size=(2, 8, 8, 3)), directory, every=5
    ... )
    >>> callback.set_model(
    ...     keras_clmae.models.CLMAE.from_sizes(
    ...         masking_module=keras_clmae.models.MaskingModule(1, 2),
    ...         image_shape=(8, 8, 3), patch_size=2,
    ...         hidden_dim=16, num_layers=1, num_heads=2, decoder_hidden_dim=16,
    ...         decoder_num_layers=1, decoder_num_heads=2,
    ...     )
    ... )
    >>> callback.on_train_begin()
    >>> sorted(os.listdir(directory))
    ['epoch_00000.npz', 'epoch_00000.png', 'images.npy']
    """

    def on_train_begin(self, logs=None):
        os.makedirs(self.directory, exist_ok=True)
        path = os.path.join(self.directory, "images.npy")
        with atomic_write(path) as unfinished:
            np.save(unfinished, self.images)
        super().on_train_begin(logs)

    def write(self, epoch):
        self._arrays = reconstruct_arrays(self.model, self.images)
        with atomic_write(self.path(epoch, "npz")) as unfinished:
            np.savez_compressed(unfinished, **self._arrays)
        super().write(epoch)

    def draw(self, title):
        return masks_figure(
            self.images,
            self._arrays,
            self.rgb,
            self.model.encoder.grid_size,
            title,
        )


def load_snapshots(directory):
    """Reads the numbers that `MaskGallery` kept.

    Args:
        directory: str. Folder of the gallery.

    Returns:
        The images, an array of shape (batch, height, width, channels), and a
        dict from the number of finished epochs to a dict of arrays, the
        earliest first: `keep_scores` (batch, tokens), `mask` (batch, tokens)
        and `reconstruction`, of the shape of the images.

    Raises:
        ValueError: If the folder holds no gallery.

    Example:

    >>> model = keras_clmae.models.CLMAE.from_sizes(
    ...     masking_module=keras_clmae.models.MaskingModule(1, 2),
    ...     image_shape=(8, 8, 3), patch_size=2,
    ...     hidden_dim=16, num_layers=1, num_heads=2, decoder_hidden_dim=16,
    ...     decoder_num_layers=1, decoder_num_heads=2,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> gallery = keras_clmae.callbacks.MaskGallery(
    ...     np.random.normal(size=(2, 8, 8, 3)).astype("float32"), folder
    ... )
    >>> gallery.set_model(model)
    >>> gallery.on_train_begin()
    >>> images, snapshots = keras_clmae.callbacks.load_snapshots(folder)
    >>> list(snapshots), snapshots[0]["keep_scores"].shape
    ([0], (2, 16))
    """
    path = os.path.join(directory, "images.npy")
    if not os.path.isfile(path):
        raise ValueError(
            "`directory` must be a folder that a MaskGallery wrote. "
            f"Received: directory={directory!r}"
        )
    snapshots = {}
    for name in sorted(os.listdir(directory)):
        if name.startswith("epoch_") and name.endswith(".npz"):
            with np.load(os.path.join(directory, name)) as arrays:
                snapshots[int(name[6:-4])] = dict(arrays)
    return np.load(path), snapshots
