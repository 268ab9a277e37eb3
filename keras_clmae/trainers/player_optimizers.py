"""Hold the optimizers of both players as one."""

import keras


class PlayerOptimizers(keras.optimizers.MultiOptimizer):
    """Optimizers of the autoencoder and the masking module, seen as one.

    So Keras restores, shards and, on JAX, carries both; the train steps drive
    the two one at a time.

    Args:
        autoencoder_optimizer: Keras optimizer.
        masking_optimizer: another Keras optimizer.
        masking_variables: list of the variables of the second.
    """

    def __init__(
        self, autoencoder_optimizer, masking_optimizer, masking_variables
    ):
        super().__init__(
            _ByVariable(
                autoencoder_optimizer, masking_optimizer, masking_variables
            ),
            name="multi_optimizer",
        )

    def save_own_variables(self, store):
        # The model saves both optimizers under their own names.
        for index, variable in enumerate(self._variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store):
        # Files from before have the variables of both here, too, after these.
        for index, variable in enumerate(self._variables):
            variable.assign(store[str(index)])


class _ByVariable(keras.optimizers.OptimizerMap):
    """Map from the variables themselves: two may have the same path."""

    def __init__(self, autoencoder_optimizer, masking_optimizer, variables):
        super().__init__(
            autoencoder_optimizer, {"masking_module": masking_optimizer}
        )
        self._masking_optimizer = masking_optimizer
        self._ids = {id(variable) for variable in variables}

    def __call__(self, variable):
        if id(variable) in self._ids:
            return self._masking_optimizer
        return self.default_optimizer
