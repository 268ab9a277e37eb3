"""Draw the same images again and again while a model learns."""

import os

import keras
import numpy as np

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.argument_validation import check_shown_channels
from keras_clmae.callbacks.tensorboard_scalars import summary_writer_class
from keras_clmae.visualization.figures import new_figure
from keras_clmae.visualization.figures import save_figure
from keras_clmae.visualization.rgb import rgb_function


class Gallery(keras.callbacks.Callback):
    """Draws the same images again and again while a model learns.

    Base class. Subclasses define `draw(title)`, which gives a matplotlib
    figure. Files are named `epoch_00010.png` after the finished epochs; 0 is
    before training. Each file is whole or absent.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model sees them; a handful is enough.
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
        ValueError: If `images`, `every` or `shown_channels` do not fit.
    """

    def __init__(
        self,
        images,
        directory,
        every=10,
        inverse=None,
        shown_channels=None,
        tensorboard=None,
    ):
        super().__init__()
        check_positive_integer("every", every)
        self.images = np.asarray(images)
        if self.images.ndim != 4 or not len(self.images):
            raise ValueError(
                "`images` must be an array of shape (batch, height, width, "
                "channels) with at least one image. "
                f"Received: images.shape={self.images.shape}"
            )
        check_shown_channels(
            "shown_channels", shown_channels, self.images.shape[-1]
        )
        # A missing package shows before the training, not after its first hour.
        new_figure(1, 1)
        self.directory = directory
        self.every = every
        self.rgb = rgb_function(self.images, inverse, shown_channels)
        self.tensorboard = tensorboard
        self._writer = None
        if tensorboard is not None:
            self._writer_class = summary_writer_class()
        self._finished = self._drawn = None

    def draw(self, title):
        """Draws the present state of `self.model`.

        Args:
            title: str. Stands above the figure.

        Returns:
            A matplotlib figure.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `draw(title)`."
        )

    def path(self, epoch, ending="png"):
        """Returns the path of a file of an epoch.

        Args:
            epoch: int. Number of finished epochs.
            ending: str. Defaults to `"png"`.

        Returns:
            str. Path in `directory`.
        """
        return os.path.join(self.directory, f"epoch_{epoch:05d}.{ending}")

    def write(self, epoch):
        """Writes the files of an epoch.

        Args:
            epoch: int. Number of finished epochs.
        """
        title = "before training" if epoch == 0 else f"epoch {epoch}"
        save_figure(self.draw(title), self.path(epoch))

    def on_train_begin(self, logs=None):
        os.makedirs(self.directory, exist_ok=True)
        if self.tensorboard is not None:
            self._writer = self._writer_class(self.tensorboard)
        # A resumed run has it from its first start.
        if not os.path.exists(self.path(0)):
            self._write(0)

    def on_epoch_end(self, epoch, logs=None):
        self._finished = epoch + 1
        last = (self.params or {}).get("epochs")
        if self._finished % self.every == 0 or self._finished == last:
            self._write(self._finished)

    def on_train_end(self, logs=None):
        # Another callback may have ended the training early.
        if self._finished is not None and self._finished != self._drawn:
            self._write(self._finished)
        if self._writer is not None:
            self._writer.close()

    def _write(self, epoch):
        self.write(epoch)
        self._drawn = epoch
        if self._writer is not None:
            import PIL.Image

            with PIL.Image.open(self.path(epoch)) as figure:
                self._writer.add_image(
                    os.path.basename(os.path.normpath(self.directory)),
                    np.asarray(figure.convert("RGB")),
                    epoch,
                    dataformats="HWC",
                )
            self._writer.flush()
