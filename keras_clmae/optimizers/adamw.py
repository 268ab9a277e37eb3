"""Define the AdamW that pretraining takes."""

import keras

from keras_clmae.optimizers import BackendAdamW
from keras_clmae.optimizers.weight_decay import NO_WEIGHT_DECAY


@keras.saving.register_keras_serializable(package="keras_clmae")
class AdamW(BackendAdamW):
    """Keras's AdamW by the kernels of the backend; decays matrices only.

    The rule and the saved state are those of `keras.optimizers.AdamW`, but
    biases, norms and position tables are not decayed, as in MAE's pretraining.

    On PyTorch and TensorFlow Keras applies the rule one operation at a time,
    with temporaries as large as the model; here a kernel does the same in one
    pass, after the weight decay: on PyTorch six times as fast, a sixth of a
    step of plain MAE with ViT-B on a CPU; on TensorFlow nearly twice, and
    traced in a quarter of the time (`docs/performance.md`). AMSGrad and other
    types than float32 are left to Keras on TensorFlow. On JAX the compiler
    fuses the rule anyway.

    Args:
        learning_rate: float., `LearningRateSchedule`, or a callable without
            arguments. Defaults to `0.001`.
        weight_decay: float. Defaults to `0.004`, as in Keras.
        no_weight_decay: sequence of str. Variables with one of these in their
            name are not decayed. `()` decays all. A later call of
            `exclude_from_weight_decay` replaces them. Defaults to
            `keras_clmae.optimizers.NO_WEIGHT_DECAY`: biases, the scales and
            shifts of norms, and position tables.
        **kwargs: Arguments of `keras.optimizers.AdamW`.

    Raises:
        ValueError: If `no_weight_decay` is a name instead of several.

    Example:

    >>> import keras_clmae
    >>> optimizer = keras_clmae.optimizers.AdamW(
    ...     1e-3, weight_decay=0.05, beta_2=0.95
    ... )
    """

    def __init__(
        self,
        learning_rate=0.001,
        weight_decay=0.004,
        *,
        no_weight_decay=NO_WEIGHT_DECAY,
        **kwargs,
    ):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, **kwargs
        )
        if isinstance(no_weight_decay, str):
            raise ValueError(
                "`no_weight_decay` must be a tuple or list of names. Received: "
                f"no_weight_decay={no_weight_decay!r}"
            )
        self.no_weight_decay = tuple(no_weight_decay)
        self.exclude_from_weight_decay(var_names=self.no_weight_decay)

    def get_config(self):
        return {
            **super().get_config(),
            "no_weight_decay": list(self.no_weight_decay),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # A file of before the argument goes on as it was written: with decay
        # on all variables that the program did not exclude.
        config = {"no_weight_decay": (), **config}
        return super().from_config(config, custom_objects)
