"""Apply AdamW on TensorFlow by its own kernels."""

import tensorflow as tf

from keras_clmae.optimizers.base_adamw import BaseAdamW


class BackendAdamW(BaseAdamW):
    """AdamW of TensorFlow: the update of a variable begins with its decay."""

    def _apply_weight_decay(self, variables):
        pass

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # What all variables share in one step is computed once.
        step = tf.cast(self.iterations + 1, "float32")
        rates = (
            tf.cast(learning_rate, "float32"),
            self.beta_1**step,
            self.beta_2**step,
        )
        super()._backend_update_step(grads, trainable_variables, rates)

    def update_step(self, gradient, variable, learning_rate):
        """Decays a variable and applies Keras's rule of Adam.

        Args:
            gradient: tensor.
            variable: `tf.Variable`; on several devices, the copy of one.
            learning_rate: the rates of `_backend_update_step`.
        """
        learning_rate, *beta_powers = learning_rate
        index = self._get_variable_index(variable)
        known = self._trainable_variables[index]
        learning_rate = tf.cast(
            learning_rate * self.learning_rate_scale(known), variable.dtype
        )
        if self.weight_decay is not None and self.decays(known):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle,
                alpha=learning_rate * self.weight_decay,
                delta=variable.read_value(),
            )
        if self.amsgrad or variable.dtype != tf.float32:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_powers[0],
            beta2_power=beta_powers[1],
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(tf.convert_to_tensor(gradient), tf.float32),
        )
