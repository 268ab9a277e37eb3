import keras

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    from keras_clmae.optimizers import tensorflow_fused_adam
elif BACKEND == "torch":
    from keras_clmae.optimizers import torch_fused_adam


@keras.saving.register_keras_serializable(package="keras_clmae")
class AdamW(keras.optimizers.AdamW):
    """Keras's AdamW, by the kernels of the backend.

    The rule, the arguments and the saved state are those of
    `keras.optimizers.AdamW`. On PyTorch and TensorFlow Keras applies it one
    operation at a time, with temporaries as large as the model; here a kernel
    does the same in one pass, after the weight decay: on PyTorch six times as
    fast, a sixth of a step of plain MAE with ViT-B on a CPU; on TensorFlow
    nearly twice, and traced in a quarter of the time (`docs/performance.md`).
    AMSGrad and other types than float32 are left to Keras on TensorFlow. On JAX
    the compiler fuses the rule anyway.

    Example:

    >>> import keras_clmae
    >>> optimizer = keras_clmae.optimizers.AdamW(
    ...     1e-3, weight_decay=0.05, beta_2=0.95
    ... )
    """

    def learning_rate_scale(self, variable):
        """The factor on the learning rate of one variable, after `build`."""
        return 1.0

    def decays(self, variable):
        """Whether one variable is decayed, after `build`."""
        return self._use_weight_decay(variable)

    def _apply_weight_decay(self, variables):
        # On TensorFlow the update of each variable begins with its decay.
        if self.weight_decay is not None and BACKEND != "tensorflow":
            self._decay(variables)

    def _decay(self, variables):
        super()._apply_weight_decay(variables)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if BACKEND == "torch":
            torch_fused_adam.fused_update(
                self, grads, trainable_variables, learning_rate
            )
            return
        if BACKEND == "tensorflow":
            learning_rate = tensorflow_fused_adam.step_rates(
                self, learning_rate
            )
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        if BACKEND == "tensorflow":
            tensorflow_fused_adam.fused_update(
                self, gradient, variable, learning_rate
            )
        else:
            self.keras_update_step(
                gradient,
                variable,
                learning_rate * self.learning_rate_scale(variable),
            )

    def keras_update_step(self, gradient, variable, learning_rate):
        """Keras's own update, where the kernels do not fit."""
        super().update_step(gradient, variable, learning_rate)
