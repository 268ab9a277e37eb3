"""Define what the AdamW of each backend shares."""

import keras


class BaseAdamW(keras.optimizers.AdamW):
    """Keras's AdamW with a factor on the rate of each variable."""

    def learning_rate_scale(self, variable):
        """Returns the factor on a variable's learning rate, after `build`."""
        return 1.0

    def decays(self, variable):
        """Returns whether a variable is decayed, after `build`."""
        return self._use_weight_decay(variable)

    def _apply_weight_decay(self, variables):
        if self.weight_decay is not None:
            self._decay(variables)

    def _decay(self, variables):
        super()._apply_weight_decay(variables)
