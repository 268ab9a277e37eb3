"""Train on TensorFlow: one tape for each player."""

import contextlib

import tensorflow as tf

from keras_clmae.distribution import tensorflow_engine as engine
from keras_clmae.trainers.base import BaseCLMAETrainer
from keras_clmae.trainers.base import gradient_norm
from keras_clmae.trainers.base_mae import BaseMAETrainer
from keras_clmae.trainers.batches import images_of


class _ReadyModel:
    """Mixin of models that are built when they are made."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Under a strategy Keras would take a batch from the data set to build
        # with, and so begin an epoch that it does not train on.
        if self._distribute_strategy and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


class MAETrainer(_ReadyModel, BaseMAETrainer):
    """The step of plain MAE: Keras's own, but on several replicas.

    There Keras would clip the gradients of each replica by themselves.
    """

    def train_step(self, data):
        images = images_of(data)
        if engine.num_replicas() == 1:
            return super().train_step((images,))
        # Not in `compile`: Keras reloads no model that overrides it.
        _leave_averaging_to_the_step(self.optimizer)
        variables = self.trainable_variables
        with _tape(variables) as tape:
            loss = self.compute_loss(
                x=images, y_pred=self(images, training=True)
            )
        _apply(tape, loss, variables, self.optimizer)
        self._loss_tracker.update_state(loss, tf.shape(images)[0])
        return _for_keras(self.get_metrics_result())

    def test_step(self, data):
        return _for_keras(super().test_step((images_of(data),)))

    def _compute_loss(self, *args, **kwargs):
        # Keras multiplies by the number of replicas what it logs.
        return super()._compute_loss(*args, **kwargs) / engine.num_replicas()


class CLMAETrainer(_ReadyModel, BaseCLMAETrainer):
    """The step of CL-MAE on TensorFlow: one tape for each player.

    Under a `tf.distribute.Strategy` each replica computes the gradients of the
    whole batch's losses; the step averages them, before any clipping.
    """

    def compile(self, *args, jit_compile="auto", **kwargs):
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas == 1:
            super().compile(*args, jit_compile=jit_compile, **kwargs)
            return
        super().compile(*args, jit_compile=False, **kwargs)
        if jit_compile is True or self.masking_update_period != 1:
            raise ValueError(
                "On several TensorFlow devices `jit_compile` must not be True "
                "and `masking_update_period` must be 1: replicas cannot meet "
                "inside XLA or a condition. Received: "
                f"jit_compile={jit_compile}, "
                f"masking_update_period={self.masking_update_period}"
            )
        _leave_averaging_to_the_step(self.autoencoder_optimizer)
        _leave_averaging_to_the_step(self.masking_optimizer)

    def train_step(self, data):
        images, num_drawn = self.order_images(images_of(data))
        factor, masking_ran = self.curriculum_factor(), self.is_masking_step()
        if self.moves_both_at_once:
            logs, masking_logs = self._both_phases(images, factor, num_drawn)
        else:
            logs = self._autoencoder_phase(images, factor, num_drawn)
            masking_logs = self._maybe_masking_phase(
                self.images_of_masking_phase(images, num_drawn),
                factor,
                masking_ran,
            )
        logs["curriculum_factor"] = factor
        return _for_keras(
            self.log_training(
                images, logs, masking_logs, tf.cast(masking_ran, "float32")
            )
        )

    def _autoencoder_phase(self, images, factor, num_drawn):
        variables = self.autoencoder_variables
        with _tape(variables) as tape:
            loss, logs = self.autoencoder_loss(images, None, factor, num_drawn)
        norm = _apply(tape, loss, variables, self.autoencoder_optimizer)
        return {**logs, "autoencoder_gradient_norm": norm}

    def _masking_phase(self, images, factor):
        variables = self.masking_variables
        with _tape(variables) as tape:
            loss, logs = self.masking_loss(images, factor)
        norm = _apply(tape, loss, variables, self.masking_optimizer)
        return {**logs, "masking_gradient_norm": norm}

    def _maybe_masking_phase(self, images, factor, masking_ran):
        if self.masking_update_period == 1:
            return self._masking_phase(images, factor)
        return tf.cond(
            masking_ran,
            lambda: self._masking_phase(images, factor),
            self.no_masking_logs,
        )

    def _both_phases(self, images, factor, num_drawn):
        autoencoder, masking = (
            self.autoencoder_variables,
            self.masking_variables,
        )
        with _tape(autoencoder) as tape, _tape(masking) as masking_tape:
            (loss, logs), (masking_loss, masking_logs) = self.both_losses(
                images, factor, num_drawn
            )
        # Both gradients before either player moves.
        gradients = _gradients(tape, loss, autoencoder)
        masking_gradients = _gradients(masking_tape, masking_loss, masking)
        gradients = engine.mean_over_replicas(gradients)
        masking_gradients = engine.mean_over_replicas(masking_gradients)
        self.autoencoder_optimizer.apply(gradients, autoencoder)
        self.masking_optimizer.apply(masking_gradients, masking)
        return (
            {**logs, "autoencoder_gradient_norm": gradient_norm(gradients)},
            {
                **masking_logs,
                "masking_gradient_norm": gradient_norm(masking_gradients),
            },
        )

    def test_step(self, data):
        return _for_keras(self.log_validation(images_of(data)))


def _for_keras(logs):
    # What the workers log, Keras averages along an axis that scalars lack.
    if not engine.has_workers():
        return logs
    return {name: tf.expand_dims(value, 0) for name, value in logs.items()}


@contextlib.contextmanager
def _tape(variables):
    # Watching nothing else spares the gradient graph of the other player.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        yield tape


def _gradients(tape, loss, variables):
    return tape.gradient(loss, [variable.value for variable in variables])


def _apply(tape, loss, variables, optimizer):
    gradients = engine.mean_over_replicas(_gradients(tape, loss, variables))
    optimizer.apply(gradients, variables)
    return gradient_norm(gradients)


def _leave_averaging_to_the_step(optimizer):
    # Keras would add up, after clipping, what the step averages before it.
    optimizer._all_reduce_sum_gradients = lambda pairs: pairs
