"""Measure k-NN accuracy while an encoder is being pretrained."""

import time

import keras

from keras_clmae.evaluation.feature_arrays import check_labels
from keras_clmae.evaluation.features import FeatureExtractor
from keras_clmae.evaluation.knn import KNN_PROTOCOLS
from keras_clmae.evaluation.knn import knn_accuracy


class OnlineKNN(keras.callbacks.Callback):
    """Measures the k-NN accuracy of the encoder during pretraining.

    Puts `knn_accuracy` into the log of every n-th epoch, from where `History`,
    the progress bar and every callback after this one get it: put it before
    `TensorBoard` and `CSVLogger`. Each image goes through the whole encoder
    once: by counting, a bank of 5,000 and 2,000 queries cost about 3 % of a
    CL-MAE epoch over CIFAR-10 and 11 % of plain MAE's, which is much shorter.
    Measure every few epochs there.

    Args:
        train_data: pair `(images, labels)` of arrays: the bank of neighbors,
            for instance 5,000 images.
        test_data: pair `(images, labels)` of arrays.
        epochs: int. Measures after every so many epochs. Defaults to 1.
        k: int. Defaults to the protocol's own.
        protocol: str. `"cosine_weighted"` or `"clmae"`: see
            `evaluation.knn_scores`. Defaults to `"cosine_weighted"`.
        pooling: str. See `evaluation.extract_features`. Defaults to `"mean"`.
        batch_size: int. Defaults to 256.
        name: str. The name in the log. Defaults to `"knn_accuracy"`.

    Attributes:
        seconds: list of float. What each measurement took.

    Raises:
        ValueError: If images and labels do not fit each other, `k` is larger
            than the bank, or the model has no encoder.

    Example:

    ```python
    model.fit(
        dataset,
        epochs=100,
        callbacks=[
            keras_clmae.callbacks.OnlineKNN(
                (train_images, train_labels), (test_images, test_labels)
            ),
            keras.callbacks.TensorBoard("logs"),
        ],
    )
    ```
    """

    def __init__(
        self,
        train_data,
        test_data,
        epochs=1,
        k=None,
        protocol="cosine_weighted",
        pooling="mean",
        batch_size=256,
        name="knn_accuracy",
    ):
        super().__init__()
        if not isinstance(epochs, int) or epochs < 1:
            raise ValueError(
                "`epochs` must be a positive integer. Received: "
                f"epochs={epochs}"
            )
        if protocol not in KNN_PROTOCOLS:
            raise ValueError(
                f"`protocol` must be one of {sorted(KNN_PROTOCOLS)}. "
                f"Received: protocol={protocol!r}"
            )
        k = KNN_PROTOCOLS[protocol] if k is None else k
        for data, argument in (
            (train_data, "train_data"),
            (test_data, "test_data"),
        ):
            images, labels = data
            check_labels(labels, len(images), argument)
        if not 1 <= k <= len(train_data[0]):
            raise ValueError(
                "`k` must be from 1 to the number of training "
                f"images, {len(train_data[0])}. Received: k={k}"
            )
        self.train_data = train_data
        self.test_data = test_data
        self.epochs = epochs
        self.k = k
        self.protocol = protocol
        self.pooling = pooling
        self.batch_size = batch_size
        self.name = name
        self.seconds = []
        self._extractor = None

    def on_train_begin(self, logs=None):
        if not hasattr(self.model, "encoder"):
            raise ValueError(
                "OnlineKNN needs a model with an `encoder`. Received: "
                f"model={self.model!r}"
            )

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.epochs or logs is None:
            return
        start = time.perf_counter()
        # Reading `self.model` also writes the state of a compiled step back
        # into the variables, which the extractor shares.
        encoder = self.model.encoder
        if self._extractor is None or self._extractor.encoder is not encoder:
            self._extractor = FeatureExtractor(encoder, self.pooling)
        features = [
            self._extractor.extract(data, self.batch_size, verbose=0)
            for data in (self.train_data, self.test_data)
        ]
        logs[self.name] = knn_accuracy(
            *features[0], *features[1], k=self.k, protocol=self.protocol
        )
        self.seconds.append(time.perf_counter() - start)
