"""Map the reconstruction error of every patch, hidden under random masks."""

import keras
import numpy as np
from keras import ops

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.evaluation.prediction import iterate_batches
from keras_clmae.layers import gather_tokens
from keras_clmae.layers import keep_top_tokens


class PatchErrorMapper:
    """Maps where a masked autoencoder fails to rebuild images.

    Each image is rebuilt under several random masks. Successive masks hide
    successive parts of a random order of the patches, so that each run of
    `min_masks` masks hides every patch at least once. The error of a patch is
    the mean over the masks that hid it.

    Errors are those of the model's loss: mean squared differences of pixels as
    the model sees them or, with `normalize_targets`, of pixels standardized
    within each patch, where contrast counts and brightness does not.

    Args:
        model: `MaskedAutoencoder`, or `CLMAE`, whose masking module is left
            out.
        num_masks: int. Masks per image. Defaults to 8.
        seed: int. Seed of the masks. Defaults to 0.

    Attributes:
        min_masks: int. Masks that hide every patch.

    Raises:
        ValueError: if `num_masks` is less than `min_masks`.

    Example:

    >>> model = keras_clmae.models.MaskedAutoencoder.from_preset(
    ...     "mae_tiny_patch4_32", load_weights=False, num_layers=1
    ... )
    >>> keras_clmae.evaluation.PatchErrorMapper(model).min_masks
    2
    """

    def __init__(self, model, num_masks=8, seed=0):
        check_positive_integer("num_masks", num_masks)
        autoencoder = getattr(model, "autoencoder", model)
        self.grid_size = autoencoder.encoder.grid_size
        self.num_tokens = autoencoder.encoder.num_tokens
        self.num_removed = self.num_tokens - autoencoder.num_visible
        self.min_masks = -(-self.num_tokens // self.num_removed)
        if num_masks < self.min_masks:
            raise ValueError(
                f"`num_masks` must be at least {self.min_masks}, so that every "
                f"patch is hidden once. Received: num_masks={num_masks}"
            )
        self.num_masks = num_masks
        self.seed = seed
        self._errors = _PatchErrors(autoencoder)

    def stream(self, dataset, batch_size=256):
        """Error maps of a data set, batch by batch; none is kept.

        Args:
            dataset: As in `extract_features`.
            batch_size: int. Images per batch where arrays are given. Defaults
                to 256.

        Yields:
            Pairs of arrays, in the order of the data set: images of shape
            `(batch, height, width, channels)` and float32 maps of shape
            `(batch, rows, columns)`, a number per patch.

        Raises:
            ValueError: If the data set is empty or gives no images.
        """
        # Drawn image by image: the same masks in batches of any size.
        random = np.random.default_rng(self.seed)
        num_orders = -(-self.num_masks // self.min_masks)
        size = None
        for images, _ in iterate_batches(dataset, batch_size):
            size = size or len(images)
            padded = len(images) + (-len(images) % size)
            draws = random.random((len(images), num_orders, self.num_tokens))
            ranks = draws.argsort(axis=-1).argsort(axis=-1)
            yield images, self._mean_errors(images, ranks, padded)

    def _mean_errors(self, images, ranks, padded):
        total = np.zeros((len(images), self.num_tokens))
        hidden = np.zeros_like(total)
        fill = [(0, padded - len(images))]
        inputs = np.pad(images, fill + [(0, 0)] * 3)
        for number in range(self.num_masks):
            order, part = divmod(number, self.min_masks)
            places = ranks[:, order] - part * self.num_removed
            places %= self.num_tokens
            # The lowest scores are removed: the part that comes first.
            scores = (places / self.num_tokens).astype("float32")
            errors = self._errors.predict_on_batch(
                {
                    "images": inputs,
                    "keep_scores": np.pad(scores, [*fill, (0, 0)]),
                }
            )
            removed = places < self.num_removed
            total += np.where(removed, np.asarray(errors)[: len(images)], 0)
            hidden += removed
        maps = (total / hidden).astype("float32")
        return maps.reshape(-1, *self.grid_size)


class _PatchErrors(keras.Model):
    """Images and keep scores in, the errors of removed patches out."""

    def __init__(self, autoencoder):
        # TensorFlow refuses names that begin with an underscore.
        super().__init__(name="patch_errors")
        self.autoencoder = autoencoder
        self.built = True

    def call(self, inputs):
        images = ops.cast(inputs["images"], "float32")
        model = self.autoencoder
        selection = keep_top_tokens(inputs["keep_scores"], model.num_visible)
        prediction = model.predict_removed(
            model.encoder.embed(images), selection, training=False
        )
        errors = model.removed_errors(
            images, prediction, selection.removed_indices
        )
        # Each patch reads the row of its error; a visible one has none.
        rows = ops.maximum(selection.restore_indices - model.num_visible, 0)
        errors = gather_tokens(ops.expand_dims(errors, -1), rows)
        return errors[..., 0] * selection.mask


def patch_error_maps(model, dataset, num_masks=8, seed=0, batch_size=256):
    """Maps the reconstruction error of every patch of images.

    See `PatchErrorMapper`, which works batch by batch.

    Args:
        model: `MaskedAutoencoder` or `CLMAE`.
        dataset: As in `extract_features`.
        num_masks: int. Masks per image. Defaults to 8.
        seed: int. Seed of the masks. Defaults to 0.
        batch_size: int. Images per batch where arrays are given. Defaults
            to 256.

    Returns:
        float32 array of shape `(images, rows, columns)`, in the order of the
        data set: for each patch the mean error over the masks that hid it.

    Raises:
        ValueError: If `num_masks` is too small to hide every patch, or the data
            set is empty.

    Example:

    >>> model = keras_clmae.models.MaskedAutoencoder.from_preset(
    ...     "mae_tiny_patch4_32", load_weights=False, num_layers=1
    ... )
    >>> images = np.zeros((2, 32, 32, 3), "float32")
    >>> keras_clmae.evaluation.patch_error_maps(model, images).shape
    (2, 8, 8)
    """
    mapper = PatchErrorMapper(model, num_masks, seed)
    return np.concatenate(
        [maps for _, maps in mapper.stream(dataset, batch_size)]
    )
