"""Draw reconstructions over training."""

from keras_clmae.callbacks.gallery import Gallery
from keras_clmae.visualization.masks import reconstructions_figure
from keras_clmae.visualization.reconstructing import reconstruct_arrays


class ReconstructionGallery(Gallery):
    """Draws reconstructions over training, under two kinds of masks.

    One column per image: the image, the patches that its learned mask leaves
    and the reconstruction from them, then the same under random masks, which
    are the same in all figures. Visible patches are pasted in, and with
    `normalize_targets` the predicted ones have the mean and variance of the
    patches that they stand for. A `MaskedAutoencoder` has random masks only.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model sees them.
        directory: str. Folder of the figures, made if it does not exist.
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
        ValueError: If an argument does not fit.

    Example:

    >>> directory = tempfile.mkdtemp()
    >>> callback = keras_clmae.callbacks.ReconstructionGallery(
    ...     np.random.normal(size=(2, 32, 32, 3)), directory
    ... )
    >>> callback.set_model(
    ...     keras_clmae.models.MaskedAutoencoder.from_preset(
    ...         "mae_tiny_patch4_32", load_weights=False, num_layers=1
    ...     )
    ... )
    >>> callback.on_train_begin()
    >>> os.listdir(directory)
    ['epoch_00000.png']
    """

    def draw(self, title):
        return reconstructions_figure(
            self.images,
            reconstruction_blocks(self.model, self.images),
            self.rgb,
            self.model.encoder.grid_size,
            title,
        )


def reconstruction_blocks(model, images):
    """Reconstructs images under every kind of masks that a model has.

    Args:
        model: `CLMAE` or `MaskedAutoencoder`.
        images: float array of shape (batch, height, width, channels).

    Returns:
        A dict of arrays, the `blocks` of
        `visualization.reconstructions_figure`.

    Example:

    >>> model = keras_clmae.models.MaskedAutoencoder.from_preset(
    ...     "mae_tiny_patch4_32", load_weights=False, num_layers=1
    ... )
    >>> images = np.zeros((2, 32, 32, 3), "float32")
    >>> list(keras_clmae.callbacks.reconstruction_blocks(model, images))
    ['random masks']
    """
    kinds = ["random"]
    if hasattr(model, "masking_module"):
        kinds.insert(0, "learned")
    return {
        f"{kind} masks": reconstruct_arrays(model, images, masks=kind)
        for kind in kinds
    }
