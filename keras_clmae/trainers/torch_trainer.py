"""Train on PyTorch: one backward pass for each player."""

import contextlib

import torch

from keras_clmae.distribution import torch_engine as engine
from keras_clmae.kernels import compiled_regions
from keras_clmae.trainers.base import BaseCLMAETrainer
from keras_clmae.trainers.base_mae import BaseMAETrainer
from keras_clmae.trainers.batches import images_of


class _TorchTrainer:
    """Mixin: equal starts in all processes, and compiled blocks."""

    def fit(self, *args, **kwargs):
        if self.compiled:
            engine.broadcast([*self.variables, *self.optimizer.variables])
        return super().fit(*args, **kwargs)

    def train_step(self, data):
        with engine.replicated_step(), compiled_regions(self.jit_compile):
            return self._train_step(data)

    def _train_step(self, data):
        return super().train_step(data)

    def _should_torch_compile(self):
        # Keras asks before it traces the whole step, which takes minutes.
        return False


class MAETrainer(_TorchTrainer, BaseMAETrainer):
    """The step of plain MAE: Keras's own, in one process or several."""

    def _train_step(self, data):
        images = images_of(data)
        if engine.num_processes() == 1:
            return super()._train_step((images,))
        variables = self.trainable_variables
        loss = self.compute_loss(x=images, y_pred=self(images, training=True))
        gradients = engine.mean_over_replicas(_gradients(loss, variables))
        with torch.no_grad():
            self.optimizer.apply(gradients, variables)
            (loss,) = engine.mean_over_replicas([loss])
            self._loss_tracker.update_state(loss, images.shape[0])
        return self.get_metrics_result()

    def test_step(self, data):
        with engine.replicated_step():
            return super().test_step((images_of(data),))

    def evaluate(self, *args, return_dict=False, **kwargs):
        logs = super().evaluate(*args, return_dict=True, **kwargs)
        if engine.num_processes() > 1:
            _merge_means(self._loss_tracker.variables)
            logs = {n: float(v) for n, v in self.get_metrics_result().items()}
        return logs if return_dict else self._flatten_metrics_in_order(logs)


class CLMAETrainer(_TorchTrainer, BaseCLMAETrainer):
    """The step of CL-MAE on PyTorch: one backward pass for each player.

    In several processes each computes the gradients of the whole batch's losses
    on its part; the step averages them.
    """

    def _train_step(self, data):
        images, num_drawn = self.order_images(images_of(data))
        with torch.no_grad():
            factor = self.curriculum_factor()
            # Reading it waits for the device: only where it can be false.
            masking_ran = self.masking_update_period == 1 or bool(
                self.is_masking_step()
            )
        if self.moves_both_at_once:
            logs, masking_logs = self._both_phases(images, factor, num_drawn)
        else:
            logs = self._autoencoder_phase(images, factor, num_drawn)
            if masking_ran:
                masking_logs = self._masking_phase(
                    self.images_of_masking_phase(images, num_drawn), factor
                )
            else:
                masking_logs = self.no_masking_logs()
        logs["curriculum_factor"] = factor
        with torch.no_grad():
            return self.log_training(
                images,
                _mean_logs(logs),
                _mean_logs(masking_logs) if masking_ran else masking_logs,
                float(masking_ran),
            )

    def _autoencoder_phase(self, images, factor, num_drawn):
        variables = self.autoencoder_variables
        with _constant(self.masking_variables):
            loss, logs = self.autoencoder_loss(images, None, factor, num_drawn)
            gradients = engine.mean_over_replicas(_gradients(loss, variables))
        return _apply(
            gradients,
            variables,
            self.autoencoder_optimizer,
            logs,
            "autoencoder_gradient_norm",
        )

    def _masking_phase(self, images, factor):
        variables = self.masking_variables
        with _constant(self.autoencoder_variables):
            loss, logs = self.masking_loss(images, factor)
            gradients = engine.mean_over_replicas(_gradients(loss, variables))
        return _apply(
            gradients,
            variables,
            self.masking_optimizer,
            logs,
            "masking_gradient_norm",
        )

    def _both_phases(self, images, factor, num_drawn):
        (loss, logs), (masking_loss, masking_logs) = self.both_losses(
            images, factor, num_drawn
        )
        # Both gradients before either player moves.
        gradients, masking_gradients = (
            engine.mean_over_replicas(_gradients(*pair))
            for pair in (
                (loss, self.autoencoder_variables),
                (masking_loss, self.masking_variables),
            )
        )
        return (
            _apply(
                gradients,
                self.autoencoder_variables,
                self.autoencoder_optimizer,
                logs,
                "autoencoder_gradient_norm",
            ),
            _apply(
                masking_gradients,
                self.masking_variables,
                self.masking_optimizer,
                masking_logs,
                "masking_gradient_norm",
            ),
        )

    def test_step(self, data):
        with engine.replicated_step():
            return self.log_validation(images_of(data))

    def _merge_validation(self):
        if engine.num_processes() > 1:
            _merge_means(self._means.validation.variables)


@contextlib.contextmanager
def _constant(variables):
    """Makes variables constants: no graph is recorded for their gradients."""
    values = [variable.value for variable in variables]
    for value in values:
        value.requires_grad_(False)
    try:
        yield
    finally:
        for value in values:
            value.requires_grad_(True)


def _gradients(loss, variables):
    return torch.autograd.grad(
        loss, [variable.value for variable in variables], allow_unused=True
    )


def _apply(gradients, variables, optimizer, logs, norm_name):
    with torch.no_grad():
        optimizer.apply(gradients, variables)
        norm = torch.nn.utils.get_total_norm(
            [gradient for gradient in gradients if gradient is not None]
        )
    logs = {name: value.detach() for name, value in logs.items()}
    return {**logs, norm_name: norm}


def _mean_logs(logs):
    """Averages scalars over the processes, in one message."""
    if engine.num_replicas() == 1:
        return logs
    values = [torch.as_tensor(value).float() for value in logs.values()]
    (mean,) = engine.mean_over_replicas([torch.stack(values)])
    return dict(zip(logs, mean, strict=True))


def _merge_means(variables):
    """Adds up the sums that the processes hold, behind running means."""
    with torch.no_grad():
        for variable in variables:
            variable.assign(engine.sum_over_processes(variable.value))
