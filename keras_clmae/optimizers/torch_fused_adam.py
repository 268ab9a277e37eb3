import collections
import math

import torch
from keras import ops
from torch.optim.adam import adam


@torch.no_grad()
def fused_update(optimizer, gradients, variables, learning_rate):
    """Applies Keras's rule of Adam by PyTorch's fused kernel.

    Args:
        optimizer: `AdamW` whose state moves.
        gradients: list of tensors.
        variables: list of `keras.Variable`, one for each gradient.
        learning_rate: scalar.
    """
    groups = collections.defaultdict(list)
    for gradient, variable in zip(gradients, variables, strict=True):
        scale = optimizer.learning_rate_scale(variable)
        groups[scale].append((gradient, variable))
    rate = _corrected_rate(optimizer, learning_rate)
    for scale, members in groups.items():
        _update_group(optimizer, members, scale * rate)


def _corrected_rate(optimizer, learning_rate):
    """The learning rate with both bias corrections, as Keras takes it.

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
