import contextlib

import torch

from keras_clmae.distribution import torch_engine as engine
from keras_clmae.kernels import compiled_regions
from keras_clmae.trainers.base import MASKING_TERMS
from keras_clmae.trainers.base import BaseCLMAETrainer
from keras_clmae.trainers.base import images_of
from keras_clmae.trainers.terminate_on_non_finite import StopsAtNonFinite


class _TorchTrainer:
    """Mixin: processes of one start, and steps of which parts are compiled."""

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


class ReplicatedTrainer(_TorchTrainer, StopsAtNonFinite):
    """The step of plain MAE: Keras's own, in one process or several."""

    def _train_step(self, data):
        if engine.num_processes() == 1:
            return super()._train_step(data)
        images = images_of(data)
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
            return super().test_step(data)

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
        images = images_of(data)
        with torch.no_grad():
            factor = self.curriculum_factor()
            # Reading it waits for the device: only where it can be false.
            masked = self.masking_update_period == 1 or bool(
                self.is_masking_step()
            )
        if self.update == "simultaneous":
            logs, masking_logs = self._both_phases(images, factor)
        else:
            logs = self._phase(
                lambda: self.autoencoder_loss(images),
                self.autoencoder_variables,
                self.masking_variables,
                self.autoencoder_optimizer,
                "autoencoder_gradient_norm",
            )
            if masked:
                masking_logs = self._phase(
                    lambda: self.masking_loss(images, factor),
                    self.masking_variables,
                    self.autoencoder_variables,
                    self.masking_optimizer,
                    "masking_gradient_norm",
                )
            else:
                masking_logs = dict.fromkeys(MASKING_TERMS, 0.0)
        logs["curriculum_factor"] = factor
        with torch.no_grad():
            return self.log_training(
                images,
                _mean_logs(logs),
                _mean_logs(masking_logs) if masked else masking_logs,
                float(masked),
            )

    def _phase(self, loss_and_logs, variables, others, optimizer, norm_name):
        """Moves one player down the gradient of its loss."""
        with _constant(others):
            loss, logs = loss_and_logs()
            gradients = engine.mean_over_replicas(_gradients(loss, variables))
        return _apply(gradients, variables, optimizer, logs, norm_name)

    def _both_phases(self, images, factor):
        (loss, logs), (masking_loss, masking_logs) = self.both_losses(
            images, factor
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
            _merge_means(self.validation_terms.variables)


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
