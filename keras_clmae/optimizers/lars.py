"""Define SGD with layer-wise adaptive rates."""

import re

import keras
from keras import ops

from keras_clmae.optimizers.weight_decay import NO_WEIGHT_DECAY

# Beside all vectors: the biases of attention have several axes.
_UNSCALED = re.compile("|".join(NO_WEIGHT_DECAY))


@keras.saving.register_keras_serializable(package="keras_clmae")
class LARS(keras.optimizers.Optimizer):
    """SGD with momentum whose step is scaled to the size of each weight.

    Layer-wise adaptive rate scaling, [You et al., 2017](
    https://arxiv.org/abs/1708.03888), algorithm 1. For a weight `w` with
    gradient `g`:

    ```text
    trust = trust_coefficient * norm(w) / (norm(g) + weight_decay * norm(w))
    velocity = (
        momentum * velocity + learning_rate * trust * (g + weight_decay * w)
    )
    w = w - velocity
    ```

    MAE's linear probe uses it with a trust coefficient of 0.001, momentum 0.9
    and no weight decay. As there, vectors, biases and norms take plain SGD
    steps with momentum, without decay; and so do position tables, and a weight
    whose norm or gradient is zero.

    Args:
        learning_rate: float, `LearningRateSchedule`, or a callable without
            arguments. Defaults to `0.1`.
        momentum: float in [0, 1). Defaults to `0.9`.
        trust_coefficient: float. Defaults to `0.001`.
        weight_decay: float. Part of the gradient, as in the paper, not
            decoupled from it. Defaults to `None`: no decay.
        **kwargs: Arguments of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If `momentum` or `trust_coefficient` is out of range.

    Example:

    >>> import keras
    >>> from keras_clmae.optimizers import LARS
    >>> model = keras.Sequential([keras.layers.Dense(3)])
    >>> model.compile(LARS(6.4), "sparse_categorical_crossentropy")
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        trust_coefficient=0.001,
        weight_decay=None,
        **kwargs,
    ):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, **kwargs
        )
        if not 0 <= momentum < 1:
            raise ValueError(
                f"`momentum` must be in [0, 1). Received: momentum={momentum}"
            )
        if not trust_coefficient > 0:
            raise ValueError(
                "`trust_coefficient` must be positive. Received: "
                f"trust_coefficient={trust_coefficient}"
            )
        self.momentum = momentum
        self.trust_coefficient = trust_coefficient

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def _apply_weight_decay(self, variables):
        # The decay is part of the gradient: see `update_step`.
        pass

    def update_step(self, gradient, variable, learning_rate):
        velocity = self.velocities[self._get_variable_index(variable)]
        weight = ops.cast(variable, "float32")
        update = ops.cast(gradient, "float32")
        learning_rate = ops.cast(learning_rate, "float32")
        if len(variable.shape) > 1 and not _UNSCALED.search(variable.name):
            weight_norm = ops.norm(weight)
            denominator = ops.norm(update)
            if self.weight_decay and self._use_weight_decay(variable):
                update = update + self.weight_decay * weight
                denominator = denominator + self.weight_decay * weight_norm
            adapts = ops.logical_and(weight_norm > 0, denominator > 0)
            trust = ops.where(
                adapts,
                self.trust_coefficient
                * weight_norm
                / ops.where(adapts, denominator, 1.0),
                1.0,
            )
            update = trust * update
        step = self.momentum * ops.cast(velocity, "float32")
        step = step + learning_rate * update
        self.assign(velocity, ops.cast(step, velocity.dtype))
        self.assign_sub(variable, ops.cast(step, variable.dtype))

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
        }
