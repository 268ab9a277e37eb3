"""Count labels of no class in compiled steps, and refuse them afterwards."""

import keras
from keras import ops

from keras_clmae.batches import unpack_batch
from keras_clmae.models.presets import HeadedPresetModel
from keras_clmae.trainers.batches import warn_of_raw_pixels


class LabeledModel(HeadedPresetModel):
    """A model of an encoder and a head that is trained with integer labels.

    Labels of no class are refused before training where they can be seen. The
    others are counted in the compiled steps, which cannot raise: `fit` refuses
    them at the end of the epoch, `evaluate` at its end. Subclasses have
    `num_classes` and define the four methods that follow the constructor.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # In no log: only `_refuse_foreign_labels` reads it.
        self._foreign_labels = keras.metrics.Sum(name="foreign_labels")

    def _check_fit(self, x, y, validation_data):
        """Refuses validation data that does not fit; remembers class names."""
        raise NotImplementedError

    def _check_data(self, x, y):
        """Refuses labels and data sets that do not fit the head."""
        raise NotImplementedError

    def _find_foreign_labels(self, y):
        """Finds labels of no class: a bool tensor, or `None` for unknown."""
        raise NotImplementedError

    def _expected_labels(self):
        """Writes which labels there may be, for an error."""
        raise NotImplementedError

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        **kwargs,
    ):
        self._check_data(x, y)
        self._check_fit(x, y, validation_data)
        warn_of_raw_pixels(x)
        check = _ForeignLabelCheck()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(check)
        else:
            callbacks = [*keras.tree.flatten(callbacks or []), check]
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            **kwargs,
        )

    def evaluate(self, x=None, y=None, *args, **kwargs):
        self._check_data(x, y)
        warn_of_raw_pixels(x)
        result = super().evaluate(x, y, *args, **kwargs)
        self._refuse_foreign_labels()
        return result

    def predict(self, x, *args, **kwargs):
        warn_of_raw_pixels(x)
        return super().predict(x, *args, **kwargs)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y = unpack_batch(x)[1] if y is None else y
        y, _ = self._without_foreign_labels(y)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y = unpack_batch(x)[1] if y is None else y
        y, foreign = self._without_foreign_labels(y)
        if foreign is not None:
            self._foreign_labels.update_state(ops.cast(foreign, "float32"))
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _without_foreign_labels(self, y):
        """Puts class 0 in place of foreign labels; tells where they were."""
        foreign = self._find_foreign_labels(y)
        if foreign is None:
            return y, None
        # Some backends stop at such a label, without naming an argument.
        return ops.where(foreign, ops.zeros_like(y), y), foreign

    def get_metrics_result(self):
        results = super().get_metrics_result()
        results.pop(self._foreign_labels.name, None)
        return results

    @property
    def metrics_names(self):
        hidden = self._foreign_labels.name
        return [name for name in super().metrics_names if name != hidden]

    def _refuse_foreign_labels(self):
        count = int(self._foreign_labels.result())
        if count:
            raise ValueError(
                f"`y` must hold {self._expected_labels()}. Received: {count} "
                "labels outside of it"
            )


class _ForeignLabelCheck(keras.callbacks.Callback):
    """Callback that ends a training with labels of no class after an epoch."""

    def on_test_begin(self, logs=None):
        # Validation starts the count anew.
        self.model._refuse_foreign_labels()

    def on_epoch_end(self, epoch, logs=None):
        self.model._refuse_foreign_labels()
