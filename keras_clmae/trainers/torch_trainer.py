import contextlib

import torch

from keras_clmae.trainers.base import MASKING_TERMS
from keras_clmae.trainers.base import BaseCLMAETrainer
from keras_clmae.trainers.base import gradient_norm
from keras_clmae.trainers.base import images_of


class CLMAETrainer(BaseCLMAETrainer):
    """The step of CL-MAE on PyTorch: one backward pass for each player."""

    def train_step(self, data):
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
            return self.log_training(images, logs, masking_logs, float(masked))

    def _phase(self, loss_and_logs, variables, others, optimizer, norm_name):
        """Moves one player down the gradient of its loss."""
        with _constant(others):
            loss, logs = loss_and_logs()
            gradients = _gradients(loss, variables)
        return _apply(gradients, variables, optimizer, logs, norm_name)

    def _both_phases(self, images, factor):
        (loss, logs), (masking_loss, masking_logs) = self.both_losses(
            images, factor
        )
        # Both gradients before either player moves.
        gradients = _gradients(loss, self.autoencoder_variables)
        masking_gradients = _gradients(masking_loss, self.masking_variables)
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
        return self.log_validation(images_of(data))


@contextlib.contextmanager
def _constant(variables):
    """Makes variables constants: no graph is recorded for their gradients."""
    for variable in variables:
        variable.value.requires_grad_(False)
    try:
        yield
    finally:
        for variable in variables:
            variable.value.requires_grad_(True)


def _gradients(loss, variables):
    return torch.autograd.grad(
        loss, [variable.value for variable in variables], allow_unused=True
    )


def _apply(gradients, variables, optimizer, logs, norm_name):
    with torch.no_grad():
        optimizer.apply(gradients, variables)
        norm = gradient_norm(gradients)
    logs = {name: value.detach() for name, value in logs.items()}
    return {**logs, norm_name: norm}
