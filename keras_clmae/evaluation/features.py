"""Extract the features of images that k-NN and probes work on."""

import keras

from keras_clmae.evaluation.prediction import predict_dataset
from keras_clmae.evaluation.prediction import predict_stream
from keras_clmae.kernels.bfloat16 import settle_precision
from keras_clmae.models.encoder_copy import copy_encoder
from keras_clmae.models.exporting import ServingExportMixin
from keras_clmae.models.pooling import check_pooling
from keras_clmae.models.pooling import pool_tokens
from keras_clmae.trainers.batches import warn_of_raw_pixels


@keras.saving.register_keras_serializable(package="keras_clmae")
class FeatureExtractor(ServingExportMixin, keras.Model):
    """Model from images to one feature vector per image.

    Keep one where features are extracted several times (during training, for
    instance): it is compiled once, and always uses the encoder's present
    weights.

    Args:
        encoder: `ViTEncoder`.
        pooling: str. One of `"mean"`, `"class_token"`, `"mean_before_norm"`:
            see `extract_features`. Defaults to `"mean"`.

    Raises:
        ValueError: If `pooling` is unknown.

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
        """Extracts the features of a whole data set.

        Args:
            dataset: images, as `extract_features` takes them.
            batch_size: int. Images per batch where arrays are given. Defaults
                to 256.
            verbose: `"auto"`, 0, 1 or 2. The progress bar, as in
                `keras.Model.predict`. Defaults to `"auto"`.

        Returns:
            A pair: float32 array of shape `(images, hidden_dim)`, in the order
            of the data set, and its labels as an array, or `None`.

        Raises:
            ValueError: If the data set is empty, or a batch has more or fewer
                labels than images.
        """
        warn_of_raw_pixels(dataset)
        return predict_dataset(self, dataset, batch_size, verbose)

    def stream(self, dataset, batch_size=256):
        """Features of a data set, batch by batch; none is kept.

        Args:
            dataset: As in `extract_features`.
            batch_size: int. Images per batch where arrays are given. Defaults
                to 256.

        Yields:
            Triples of arrays `(images, features, labels)`, of one batch each,
            in the order of the data set; labels are `None` where there are
            none.

        Raises:
            ValueError: As `extract_features`.
        """
        return predict_stream(self, dataset, batch_size)

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


def extract_features(
    encoder,
    dataset,
    pooling="mean",
    batch_size=256,
    verbose="auto",
    precision=None,
):
    """Computes the features of a data set, on all devices of the backend.

    Images are streamed; only the features stay in memory. Nothing is masked,
    and drop path is off.

    Args:
        encoder: `ViTEncoder`.
        dataset: Images as an array of shape `(images, height, width,
            channels)`, a pair `(images, labels)` of arrays, or anything that
            gives batches `images`, `(images, labels)` or dicts with `"image"`
            or `"pixel_values"` and `"label"` or `"labels"`: a
            `keras.utils.PyDataset`, a `tf.data.Dataset`, a generator, a list.
            Batches may differ in size.
        pooling: str. `"mean"` (of the patch tokens after the final norm),
            `"class_token"` (after the final norm) or `"mean_before_norm"` (of
            the patch tokens before the final norm, as MAE's fine-tuning).
            Defaults to `"mean"`.
        batch_size: int. Images per batch where arrays are given. Defaults
            to 256.
        verbose: `"auto"`, 0, 1 or 2. The progress bar, as in
            `keras.Model.predict`. Defaults to `"auto"`.
        precision: str. `"float32"`, `"mixed_bfloat16"`, or `"auto"`: the
            latter where device and backend are faster with it. Defaults to
            `None`: the encoder's own. Features are float32 in any case.

    Returns:
        A pair: float32 array of shape `(images, hidden_dim)`, in the order of
        the data set, and the labels as an array of shape `(images, ...)`, or
        `None` where the data set has none.

    Raises:
        ValueError: If `pooling` or `precision` is unknown, the data set is
            empty, or a batch has more or fewer labels than images.

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
    if precision is not None:
        encoder = copy_encoder(encoder, dtype=settle_precision(precision))
    extractor = FeatureExtractor(encoder, pooling)
    return extractor.extract(dataset, batch_size, verbose)
