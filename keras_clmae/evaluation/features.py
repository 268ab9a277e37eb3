"""Features of images: what k-NN and probes work on."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_clmae.models.pooling import check_pooling
from keras_clmae.models.pooling import pool_tokens


@keras.saving.register_keras_serializable(package="keras_clmae")
class FeatureExtractor(keras.Model):
    """A compiled `pool_tokens`: images in, one vector an image out.

    Keep one where features are extracted several times (during training, for
    instance): it is compiled once, and always uses the encoder's present
    weights.

    Args:
        encoder: `ViTEncoder`.
        pooling: str. One of `"mean"`, `"class_token"`, `"mean_before_norm"`:
            see `extract_features`. Defaults to `"mean"`.

    Example:

    >>> import keras, keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> extractor = keras_clmae.evaluation.FeatureExtractor(encoder)
    >>> extractor(keras.ops.zeros((3, 8, 8, 1))).shape
    (3, 16)
    """

    def __init__(self, encoder, pooling="mean", **kwargs):
        super().__init__(**kwargs)
        check_pooling(pooling)
        self.encoder = encoder
        self.pooling = pooling
        self.build((None, *encoder.image_shape))

    def build(self, input_shape):
        self.built = True

    def call(self, images):
        return pool_tokens(self.encoder, images, self.pooling)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.encoder.hidden_dim)

    def extract(self, dataset, batch_size=256, verbose="auto"):
        """Features of a whole data set: see `extract_features`."""
        return predict_dataset(self, dataset, batch_size, verbose)

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "pooling": self.pooling,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(
            config["encoder"], custom_objects=custom_objects
        )
        return cls(**{**config, "encoder": encoder})


def predict_dataset(model, dataset, batch_size=256, verbose="auto"):
    """Outputs of a model for a data set, and the data set's labels.

    Args:
        model: Keras model from images to one tensor.
        dataset: As in `extract_features`.
        batch_size: int. Images in a batch where arrays are given. Defaults
            to 256.
        verbose: `"auto"`, 0, 1 or 2, as in `keras.Model.predict`.

    Returns:
        A pair of arrays, in the order of the data set: outputs, and labels or
        `None`.

    Raises:
        ValueError: If the data set is empty.
    """
    size = None
    num_images = []
    labels = []

    def padded_batches():
        nonlocal size
        for images, batch_labels in iterate_batches(dataset, batch_size):
            # Every batch gets the first one's size, so that one program is
            # compiled and several devices get equal shares.
            size = size or len(images)
            num_images.append(len(images))
            if batch_labels is not None:
                labels.append(batch_labels)
            padding = max(0, size - len(images))
            widths = [(0, padding)] + [(0, 0)] * (images.ndim - 1)
            yield (np.pad(images, widths),)

    with warnings.catch_warnings():
        # A generator of unknown length ends when it ends.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        padded = model.predict(
            padded_batches(),
            steps=count_batches(dataset, batch_size),
            verbose=verbose,
        )
    kept = [
        np.arange(number) + position * size
        for position, number in enumerate(num_images)
    ]
    outputs = padded[np.concatenate(kept)]
    return outputs, np.concatenate(labels) if labels else None


def extract_features(
    encoder, dataset, pooling="mean", batch_size=256, verbose="auto"
):
    """Features of a data set, in batches, on whatever devices the backend has.

    Images are streamed; only the features stay in memory. Nothing is masked,
    and drop path is off.

    Args:
        encoder: `ViTEncoder`.
        dataset: Images as an array of shape `(images, height, width,
            channels)`, a pair `(images, labels)` of arrays, or anything that
            gives batches `images` or `(images, labels)`: a
            `keras.utils.PyDataset`, a `tf.data.Dataset`, a generator.
        pooling: str. `"mean"` (of the patch tokens after the final norm),
            `"class_token"` (after the final norm) or `"mean_before_norm"` (of
            the patch tokens before the final norm, as MAE's fine-tuning).
            Defaults to `"mean"`.
        batch_size: int. Images in a batch where arrays are given. Defaults
            to 256.
        verbose: `"auto"`, 0, 1 or 2. The progress bar, as in
            `keras.Model.predict`. Defaults to `"auto"`.

    Returns:
        A pair: float32 array of shape `(images, hidden_dim)`, in the order of
        the data set, and the labels as an array of shape `(images, ...)`, or
        `None` where the data set has none.

    Raises:
        ValueError: If `pooling` is unknown, or the data set is empty.

    Example:

    >>> import numpy as np, keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> images = np.zeros((10, 8, 8, 1), "float32")
    >>> features, labels = keras_clmae.evaluation.extract_features(
    ...     encoder, (images, np.arange(10)), verbose=0
    ... )
    >>> features.shape, labels.shape
    ((10, 16), (10,))
    """
    extractor = FeatureExtractor(encoder, pooling)
    return extractor.extract(dataset, batch_size, verbose)


def iterate_batches(dataset, batch_size):
    """Batches of a data set as NumPy arrays.

    Args:
        dataset: As in `extract_features`.
        batch_size: int. Images in a batch where arrays are given.

    Yields:
        Pairs `(images, labels)`; labels are `None` where there are none.

    Raises:
        ValueError: If there is not one image.

    Example:

    >>> images = np.zeros((5, 8, 8, 1), "float32")
    >>> batches = keras_clmae.evaluation.iterate_batches(images, batch_size=2)
    >>> [len(batch) for batch, labels in batches]
    [2, 2, 1]
    """
    empty = True
    for batch in _raw_batches(dataset, batch_size):
        images, labels = _split(batch)
        images = ops.convert_to_numpy(images)
        if len(images):
            empty = False
            if labels is not None:
                labels = ops.convert_to_numpy(labels)
            yield images, labels
    if empty:
        raise ValueError(
            "`dataset` must hold at least one image. Received: "
            f"dataset={dataset}"
        )


def count_batches(dataset, batch_size):
    """Number of batches of a data set; `None` where it does not say."""
    if _is_arrays(dataset):
        return -(-len(_split(dataset)[0]) // batch_size)
    if getattr(dataset, "steps_per_epoch", None):
        return dataset.steps_per_epoch
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    if hasattr(dataset, "cardinality"):
        cardinality = int(dataset.cardinality())
        return cardinality if cardinality >= 0 else None
    return None


def _is_arrays(dataset):
    images, _ = _split(dataset)
    return hasattr(images, "shape")


def _split(batch):
    if isinstance(batch, tuple | list):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def _raw_batches(dataset, batch_size):
    if _is_arrays(dataset):
        images, labels = _split(dataset)
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            yield images[rows], None if labels is None else labels[rows]
    elif isinstance(dataset, keras.utils.PyDataset) and dataset.num_batches:
        for index in range(dataset.num_batches):
            yield dataset[index]
    else:
        yield from dataset
