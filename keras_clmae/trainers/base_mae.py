"""Check losses and images in Keras's own training, for plain MAE."""

from keras_clmae.trainers.batches import check_fit_arguments
from keras_clmae.trainers.batches import warn_of_raw_pixels
from keras_clmae.trainers.batches import watch_for_raw_pixels
from keras_clmae.trainers.terminate_on_non_finite import terminating_callbacks


class BaseMAETrainer:
    """Training of plain MAE: Keras's own, with a check of the loss.

    `fit` stops at a loss that is not finite, and images are taken out of
    batches in one place, `images_of`. The model defines `compute_loss`.
    """

    # Whether a masker is trained, by a curriculum.
    learns_masks = False

    @property
    def log_terms(self):
        """Names that the training logs, causes before consequences."""
        return ("loss",)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        **kwargs,
    ):
        """Trains as any Keras model; stops at a loss that is not finite.

        Takes the arguments of `keras.Model.fit` but weights of samples. Labels
        are ignored.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            FloatingPointError: Naming the term and the step, at a loss that is
                infinite or not a number.
            ValueError: If `sample_weight` or `class_weight` is given.
        """
        check_fit_arguments(kwargs)
        watching = watch_for_raw_pixels(x)
        callbacks = terminating_callbacks(callbacks, self, self.log_terms)
        if isinstance(callbacks, list):
            callbacks += watching
        callbacks, verbose = self._callbacks_of_fit(
            callbacks, verbose, x, batch_size
        )
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            **kwargs,
        )

    def evaluate(self, x=None, *args, **kwargs):
        """Validates as any Keras model.

        Takes what `keras.Model.evaluate` takes, but no weights of samples.

        Returns:
            The loss, or a dict with it.

        Raises:
            ValueError: If `sample_weight` is given.
        """
        check_fit_arguments(kwargs)
        warn_of_raw_pixels(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Predicts as any Keras model; batches may be dicts, as in `fit`.

        Returns:
            What the model returns, as arrays.
        """
        warn_of_raw_pixels(x)
        return super().predict(x, *args, **kwargs)

    def _callbacks_of_fit(self, callbacks, verbose, x, batch_size):
        return callbacks, verbose
