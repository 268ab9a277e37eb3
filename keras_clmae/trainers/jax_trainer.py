"""Train on JAX: steps that are pure functions of their state."""

import jax
import keras

from keras_clmae.trainers.base import BaseCLMAETrainer
from keras_clmae.trainers.base import gradient_norm
from keras_clmae.trainers.base_mae import BaseMAETrainer
from keras_clmae.trainers.batches import images_of


class StepState:
    """Values of all variables at one point of a pure step.

    JAX compiles functions without side effects, and Keras hands a step the
    values of all variables in groups (see Keras's guide on custom train steps
    in JAX). A `StepState` is never changed: `replace` and `run` give new ones.

    Args:
        variables: list of `keras.Variable`.
        values: list of `jax.Array`, one for each variable.
    """

    def __init__(self, variables, values):
        self._values = {
            id(variable): (variable, value)
            for variable, value in zip(variables, values, strict=True)
        }

    def read(self, variables):
        """Returns the values of some variables, as a list of `jax.Array`."""
        return [self._values[id(variable)][1] for variable in variables]

    def replace(self, variables, values):
        """Returns a `StepState` in which these variables have these values."""
        new = StepState(variables, values)
        new._values = {**self._values, **new._values}
        return new

    def run(self, function, *arguments):
        """Calls a function that reads and assigns variables.

        Returns:
            What the function returns, and the `StepState` after its
            assignments.
        """
        with keras.StatelessScope(self._values.values()) as scope:
            result = function(*arguments)
        variables = [variable for variable, _ in self._values.values()]
        values = [scope.get_current_value(variable) for variable in variables]
        return result, StepState(variables, values)


class PresentStep(keras.metrics.Metric):
    """The step of the training, as an input of the compiled validation.

    JAX compiles what a function does not get as a constant, and Keras gives a
    validation no state of the optimizer. The variables of metrics it gets, and
    resets them before it starts.

    Args:
        optimizer: Keras optimizer whose steps count.
    """

    def __init__(self, optimizer):
        super().__init__(name="present_step")
        self.iterations = optimizer.iterations
        self.step = self.add_variable(
            shape=(),
            initializer="zeros",
            dtype=self.iterations.dtype,
            name="step",
        )

    def reset_state(self):
        # A buffer of its own: the compiled steps take what they get.
        self.step.assign(self.iterations.value + 0)

    def result(self):
        # Nothing for the log.
        return {}


class MAETrainer(BaseMAETrainer):
    """The step of plain MAE: on JAX, Keras's own on any number of devices."""

    def train_step(self, state, data):
        return super().train_step(state, (images_of(data),))

    def test_step(self, state, data):
        return super().test_step(state, (images_of(data),))


class CLMAETrainer(BaseCLMAETrainer):
    """The step of CL-MAE on JAX: pure, in one compiled function."""

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        # Of the paper's objective no metric is added to older checkpoints.
        if self.objective.has_own_selection:
            self._means.present_step = PresentStep(self.autoencoder_optimizer)
        self._predicts_at_step = None

    compile.__doc__ = BaseCLMAETrainer.compile.__doc__

    def train_step(self, state, data):
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )
        state = StepState(sum(groups, []), sum(map(list, state), []))
        images, num_drawn = self.order_images(images_of(data))
        factor, _ = state.run(self.curriculum_factor)
        masking_ran, _ = state.run(self.is_masking_step)
        if self.moves_both_at_once:
            logs, masking_logs, state = self._both_phases(
                state, images, factor, num_drawn
            )
        else:
            logs, state = self._autoencoder_phase(
                state, images, factor, num_drawn
            )
            masking_logs, state = self._maybe_masking_phase(
                state,
                self.images_of_masking_phase(images, num_drawn),
                factor,
                masking_ran,
            )
        logs["curriculum_factor"] = factor
        logs, state = state.run(
            self.log_training, images, logs, masking_logs, masking_ran
        )
        return logs, tuple(state.read(variables) for variables in groups)

    def _autoencoder_phase(self, state, images, factor, num_drawn):
        gradients, logs, state = self._gradients(
            state,
            self.autoencoder_variables,
            self.autoencoder_loss,
            images,
            None,
            factor,
            num_drawn,
        )
        logs["autoencoder_gradient_norm"] = gradient_norm(gradients)
        return logs, self._apply(
            state,
            gradients,
            self.autoencoder_variables,
            self.autoencoder_optimizer,
        )

    def _masking_phase(self, state, images, factor):
        gradients, logs, state = self._gradients(
            state, self.masking_variables, self.masking_loss, images, factor
        )
        logs["masking_gradient_norm"] = gradient_norm(gradients)
        return logs, self._apply(
            state, gradients, self.masking_variables, self.masking_optimizer
        )

    def _maybe_masking_phase(self, state, images, factor, masking_ran):
        if self.masking_update_period == 1:
            return self._masking_phase(state, images, factor)
        # Both branches give what the phase may change, and its logs.
        changed = [
            *self.masking_variables,
            *self.non_trainable_variables,
            *self.masking_optimizer.variables,
        ]

        def run():
            logs, after = self._masking_phase(state, images, factor)
            return logs, after.read(changed)

        def skip():
            return self.no_masking_logs(), state.read(changed)

        logs, values = jax.lax.cond(masking_ran, run, skip)
        return logs, state.replace(changed, values)

    def _both_phases(self, state, images, factor, num_drawn):
        players = (self.autoencoder_variables, self.masking_variables)

        def losses_of(autoencoder_values, masking_values):
            here = state.replace(players[0], autoencoder_values)
            here = here.replace(players[1], masking_values)
            both, after = here.run(self.both_losses, images, factor, num_drawn)
            (loss, logs), (masking_loss, masking_logs) = both
            others = after.read(self.non_trainable_variables)
            return (loss, masking_loss), (logs, masking_logs, others)

        def sum_of(autoencoder_values, masking_values):
            losses, rest = losses_of(autoencoder_values, masking_values)
            return sum(losses), rest

        values = [state.read(variables) for variables in players]
        if self.objective.needs_masking_phase:
            _, pull_back, rest = jax.vjp(losses_of, *values, has_aux=True)
            # Each player is pulled by its own loss only; the compiler drops
            # what nobody reads.
            gradients, _ = pull_back((1.0, 0.0))
            _, masking_gradients = pull_back((0.0, 1.0))
        else:
            # Neither loss moves the other player: one backward pass does.
            (gradients, masking_gradients), rest = jax.grad(
                sum_of, argnums=(0, 1), has_aux=True
            )(*values)
        logs, masking_logs, others = rest
        state = state.replace(self.non_trainable_variables, others)
        state = self._apply(
            state, gradients, players[0], self.autoencoder_optimizer
        )
        state = self._apply(
            state, masking_gradients, players[1], self.masking_optimizer
        )
        logs["autoencoder_gradient_norm"] = gradient_norm(gradients)
        masking_logs["masking_gradient_norm"] = gradient_norm(masking_gradients)
        return logs, masking_logs, state

    def _gradients(self, state, variables, loss_and_logs, *arguments):
        """Computes gradients of a loss, its logs, and the state after it."""

        def loss_of(values):
            here = state.replace(variables, values)
            (loss, logs), after = here.run(loss_and_logs, *arguments)
            return loss, (logs, after.read(self.non_trainable_variables))

        gradients, (logs, others) = jax.grad(loss_of, has_aux=True)(
            state.read(variables)
        )
        # Random draws have moved on.
        state = state.replace(self.non_trainable_variables, others)
        return gradients, logs, state

    def _apply(self, state, gradients, variables, optimizer):
        values, optimizer_values = optimizer.stateless_apply(
            state.read(optimizer.variables), gradients, state.read(variables)
        )
        state = state.replace(variables, values)
        return state.replace(optimizer.variables, optimizer_values)

    def test_step(self, state, data):
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.metrics_variables,
        )
        state = StepState(sum(groups, []), sum(map(list, state), []))
        if self.objective.has_own_selection:
            present = self._means.present_step
            state = state.replace(
                [present.iterations], state.read([present.step])
            )
        logs, state = state.run(self.log_validation, images_of(data))
        return logs, tuple(state.read(variables) for variables in groups)

    def make_predict_function(self, force=False):
        if self.compiled and self.objective.has_own_selection:
            # The curriculum factor is a constant in the compiled function.
            step = int(self.autoencoder_optimizer.iterations.value)
            force = force or step != self._predicts_at_step
            self._predicts_at_step = step
        return super().make_predict_function(force)
