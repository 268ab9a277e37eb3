import jax
import keras
from keras import ops

from keras_clmae.trainers.base import MASKING_TERMS
from keras_clmae.trainers.base import BaseCLMAETrainer
from keras_clmae.trainers.base import gradient_norm
from keras_clmae.trainers.base import images_of
from keras_clmae.trainers.terminate_on_non_finite import StopsAtNonFinite


class _Values:
    """The value of every variable during one pure step."""

    def __init__(self, variables, values):
        self._pairs = {
            id(variable): (variable, value)
            for variable, value in zip(variables, values, strict=True)
        }

    def read(self, variables):
        return [self._pairs[id(variable)][1] for variable in variables]

    def replace(self, variables, values):
        """Returns a copy in which `variables` have other values."""
        copy = _Values((), ())
        copy._pairs = {**self._pairs, **_Values(variables, values)._pairs}
        return copy

    def run(self, function):
        """Returns the function's result and the values after its updates."""
        with keras.StatelessScope(self._pairs.values()) as scope:
            result = function()
        variables = [variable for variable, _ in self._pairs.values()]
        return result, _Values(
            variables, [scope.get_current_value(v) for v in variables]
        )


class ReplicatedTrainer(StopsAtNonFinite):
    """The step of plain MAE: on JAX, Keras's own on any number of devices."""


class CLMAETrainer(BaseCLMAETrainer):
    """The step of CL-MAE on JAX: pure, in one compiled function."""

    def train_step(self, state, data):
        images = images_of(data)
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )
        values = _Values(sum(groups, []), [v for vs in state for v in vs])
        (factor, masked), _ = values.run(
            lambda: (self.curriculum_factor(), self.is_masking_step())
        )
        if self.update == "simultaneous":
            logs, masking_logs, values = self._both_phases(
                values, images, factor
            )
            masked = 1.0
        else:
            logs, values = self._autoencoder_phase(values, images)
            masking_logs, values = self._maybe_masking_phase(
                values, images, factor, masked
            )
        logs["curriculum_factor"] = factor
        logs, values = values.run(
            lambda: self.log_training(images, logs, masking_logs, masked)
        )
        return logs, tuple(values.read(variables) for variables in groups)

    def _autoencoder_phase(self, values, images):
        return self._phase(
            values,
            lambda: self.autoencoder_loss(images),
            self.autoencoder_variables,
            self.autoencoder_optimizer,
            "autoencoder_gradient_norm",
        )

    def _masking_phase(self, values, images, factor):
        return self._phase(
            values,
            lambda: self.masking_loss(images, factor),
            self.masking_variables,
            self.masking_optimizer,
            "masking_gradient_norm",
        )

    def _maybe_masking_phase(self, values, images, factor, masked):
        if self.masking_update_period == 1:
            return self._masking_phase(values, images, factor)
        moving = [
            *self.masking_variables,
            *self.non_trainable_variables,
            *self.masking_optimizer.variables,
        ]

        def run():
            logs, after = self._masking_phase(values, images, factor)
            return logs, after.read(moving)

        def skip():
            return dict.fromkeys(MASKING_TERMS, ops.zeros(())), values.read(
                moving
            )

        logs, moved = jax.lax.cond(masked, run, skip)
        return logs, values.replace(moving, moved)

    def _phase(self, values, loss_and_logs, variables, optimizer, norm_name):
        """Moves one player down the gradient of its loss."""

        def loss_of(player):
            (loss, logs), after = values.replace(variables, player).run(
                loss_and_logs
            )
            return loss, (logs, after.read(self.non_trainable_variables))

        (_, (logs, non_trainable)), gradients = jax.value_and_grad(
            loss_of, has_aux=True
        )(values.read(variables))
        values = values.replace(self.non_trainable_variables, non_trainable)
        values = self._apply(values, gradients, variables, optimizer)
        return {**logs, norm_name: gradient_norm(gradients)}, values

    def _both_phases(self, values, images, factor):
        autoencoder, masking = (
            self.autoencoder_variables,
            self.masking_variables,
        )

        def losses_of(autoencoder_values, masking_values):
            players = values.replace(autoencoder, autoencoder_values)
            players = players.replace(masking, masking_values)
            ((loss, logs), (masking_loss, masking_logs)), after = players.run(
                lambda: self.both_losses(images, factor)
            )
            moved = after.read(self.non_trainable_variables)
            return (loss, masking_loss), (logs, masking_logs, moved)

        _, pull_back, (logs, masking_logs, non_trainable) = jax.vjp(
            losses_of,
            values.read(autoencoder),
            values.read(masking),
            has_aux=True,
        )
        # Each player is pulled by its own loss only; the compiler drops what
        # nobody reads.
        gradients, _ = pull_back((1.0, 0.0))
        _, masking_gradients = pull_back((0.0, 1.0))
        values = values.replace(self.non_trainable_variables, non_trainable)
        values = self._apply(
            values, gradients, autoencoder, self.autoencoder_optimizer
        )
        values = self._apply(
            values, masking_gradients, masking, self.masking_optimizer
        )
        logs["autoencoder_gradient_norm"] = gradient_norm(gradients)
        masking_logs["masking_gradient_norm"] = gradient_norm(masking_gradients)
        return logs, masking_logs, values

    def _apply(self, values, gradients, variables, optimizer):
        new_values, new_state = optimizer.stateless_apply(
            values.read(optimizer.variables), gradients, values.read(variables)
        )
        values = values.replace(variables, new_values)
        return values.replace(optimizer.variables, new_state)

    def test_step(self, state, data):
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.metrics_variables,
        )
        values = _Values(sum(groups, []), [v for vs in state for v in vs])
        logs, values = values.run(lambda: self.log_validation(images_of(data)))
        return logs, tuple(values.read(variables) for variables in groups)
