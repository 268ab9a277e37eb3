"""Apply AdamW on JAX: Keras's rule, which the compiler fuses."""

from keras_clmae.optimizers.base_adamw import BaseAdamW


class BackendAdamW(BaseAdamW):
    """AdamW of JAX."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(
            gradient,
            variable,
            learning_rate * self.learning_rate_scale(variable),
        )
