"""Apply AdamW on PyTorch by its fused kernel."""

import collections
import math

import torch
from keras import ops
from torch.optim.adam import adam

from keras_clmae.optimizers.base_adamw import BaseAdamW


class BackendAdamW(BaseAdamW):
    """AdamW of PyTorch: all variables of one rate by one kernel."""

    @torch.no_grad()
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        groups = collections.defaultdict(list)
        for pair in zip(grads, trainable_variables, strict=True):
            groups[self.learning_rate_scale(pair[1])].append(pair)
        rate = _corrected_rate(self, learning_rate)
        for scale, members in groups.items():
            _update_group(self, members, scale * rate)


def _corrected_rate(optimizer, learning_rate):
    """Computes the learning rate with both bias corrections of Keras.

    It stays a tensor: reading it would wait for the device.
    """
    step = ops.cast(optimizer.iterations + 1, "float32")
    first = 1 - optimizer.beta_1**step
    second = 1 - optimizer.beta_2**step
    return learning_rate * torch.sqrt(second) / first


def _update_group(optimizer, members, rate):
    gradients, variables = zip(*members, strict=True)
    indices = [optimizer._get_variable_index(v) for v in variables]
    values = [v.value for v in variables]

    def states(kept):
        return [kept[index].value for index in indices]

    # The kernel walks through memory and does not look at strides.
    for value in values:
        if not value.is_contiguous():
            value.data = value.contiguous()

    # The rate holds the bias corrections already (Keras adds epsilon before
    # them, PyTorch after): after infinitely many steps the kernel's are 1.
    endless = torch.full((), math.inf, device=values[0].device)
    adam(
        values,
        [
            gradient.to(value.dtype).contiguous()
            for gradient, value in zip(gradients, values, strict=True)
        ],
        states(optimizer._momentums),
        states(optimizer._velocities),
        states(optimizer._velocity_hats) if optimizer.amsgrad else [],
        [endless] * len(values),
        fused=True,
        amsgrad=optimizer.amsgrad,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        lr=rate,
        weight_decay=0.0,
        eps=optimizer.epsilon,
        maximize=False,
    )
