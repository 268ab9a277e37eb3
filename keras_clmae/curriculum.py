"""Schedule the curriculum factor over the steps of a training.

+1: the masking module is a partner and picks masks that are easy to
reconstruct. 0: indifferent. -1: an adversary that picks hard ones.
"""

import math
import warnings

import keras
import numpy as np
from keras import ops

from keras_clmae.argument_validation import check_number
from keras_clmae.argument_validation import check_positive_integer


class CurriculumSchedule:
    """Base class: a serializable function from the step to the factor.

    Subclass it with `__call__(step)` and `get_config()`, and register the
    subclass with `keras.saving.register_keras_serializable` to have it saved
    with the model. `step` is a float32 tensor, the number of updates of the
    autoencoder so far; the call runs inside the compiled training step, so it
    uses `keras.ops` and returns a scalar float32 tensor.

    Example:

    >>> class Halves(keras_clmae.CurriculumSchedule):
    ...     def __call__(self, step):
    ...         return 0.5**step
    ...     def get_config(self):
    ...         return {}
    >>> float(Halves()(2))
    0.25
    """

    def __call__(self, step):
        raise NotImplementedError(
            f"{type(self).__name__} must define `__call__(step)`."
        )

    def get_config(self):
        raise NotImplementedError(
            f"{type(self).__name__} must define `get_config()`."
        )

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_clmae")
class LinearCurriculum(CurriculumSchedule):
    """Factor that falls in a straight line: the paper's curriculum.

    Per step, `initial + (final - initial) * step / total_steps`, then constant.
    With `steps_per_epoch` the published form, which changes once an epoch and
    jumps over the middle: epoch e of E has progress e / E in the first half and
    (e + 1) / E in the second.

    Args:
        total_steps: int. Number of training steps of the whole run.
        initial: float. Factor at the first step. Defaults to `1.0`.
        final: float. Factor at the end. Defaults to `-1.0`.
        steps_per_epoch: int that divides `total_steps`, for the published form.
            Defaults to `None`: a new factor every step.

    Raises:
        ValueError: If an argument is no positive integer or no finite number,
            or `total_steps` is no multiple of `steps_per_epoch`.

    Example:

    >>> curriculum = keras_clmae.LinearCurriculum(total_steps=100)
    >>> [float(curriculum(step)) for step in (0, 25, 50, 100)]
    [1.0, 0.5, 0.0, -1.0]
    """

    def __init__(
        self, total_steps, initial=1.0, final=-1.0, steps_per_epoch=None
    ):
        check_positive_integer("total_steps", total_steps)
        check_number("initial", initial)
        check_number("final", final)
        if steps_per_epoch is not None:
            check_positive_integer("steps_per_epoch", steps_per_epoch)
            if total_steps % steps_per_epoch:
                raise ValueError(
                    "`total_steps` must be a multiple of `steps_per_epoch`. "
                    f"Received: total_steps={total_steps}, "
                    f"steps_per_epoch={steps_per_epoch}"
                )
        self.total_steps = total_steps
        self.initial = initial
        self.final = final
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step):
        if self.steps_per_epoch is None:
            done, total = ops.cast(step, "float32"), self.total_steps
        else:
            total = self.total_steps // self.steps_per_epoch
            epoch = ops.cast(
                ops.floor_divide(step, self.steps_per_epoch), "float32"
            )
            done = ops.where(epoch < total / 2, epoch, epoch + 1.0)
        progress = ops.minimum(done / total, 1.0)
        return self.initial + (self.final - self.initial) * progress

    def get_config(self):
        return {
            "total_steps": self.total_steps,
            "initial": self.initial,
            "final": self.final,
            "steps_per_epoch": self.steps_per_epoch,
        }


@keras.saving.register_keras_serializable(package="keras_clmae")
class CosineCurriculum(CurriculumSchedule):
    """Factor that falls along half a cosine: slow, fast, slow.

    Args:
        total_steps: int. Number of training steps of the whole run.
        initial: float. Factor at the first step. Defaults to `1.0`.
        final: float. Factor at the end. Defaults to `-1.0`.

    Raises:
        ValueError: If an argument is no positive integer or no finite number.

    Example:

    >>> curriculum = keras_clmae.CosineCurriculum(total_steps=100)
    >>> [round(float(curriculum(step)), 3) for step in (0, 25, 100)]
    [1.0, 0.707, -1.0]
    """

    def __init__(self, total_steps, initial=1.0, final=-1.0):
        check_positive_integer("total_steps", total_steps)
        check_number("initial", initial)
        check_number("final", final)
        self.total_steps = total_steps
        self.initial = initial
        self.final = final

    def __call__(self, step):
        done = ops.cast(step, "float32") / self.total_steps
        wave = 0.5 * (1.0 + ops.cos(math.pi * ops.minimum(done, 1.0)))
        return self.final + (self.initial - self.final) * wave

    def get_config(self):
        return {
            "total_steps": self.total_steps,
            "initial": self.initial,
            "final": self.final,
        }


@keras.saving.register_keras_serializable(package="keras_clmae")
class StepCurriculum(CurriculumSchedule):
    """Factor that jumps at given steps.

    Args:
        boundaries: sequence of int, increasing. Steps at which the next value
            starts.
        values: sequence of float, one more than `boundaries`.

    Raises:
        ValueError: If `boundaries` do not increase, or the number of `values`
            does not fit.

    Example:

    >>> curriculum = keras_clmae.StepCurriculum([10, 20], [1.0, 0.0, -1.0])
    >>> [float(curriculum(step)) for step in (9, 10, 20)]
    [1.0, 0.0, -1.0]
    """

    def __init__(self, boundaries, values):
        boundaries, values = list(boundaries), list(values)
        if len(values) != len(boundaries) + 1 or boundaries != sorted(
            set(boundaries)
        ):
            raise ValueError(
                "`boundaries` must be increasing and `values` one longer. "
                f"Received: boundaries={boundaries}, values={values}"
            )
        for value in values:
            check_number("values", value)
        self.boundaries = boundaries
        self.values = values

    def __call__(self, step):
        factor = ops.convert_to_tensor(self.values[0], dtype="float32")
        for boundary, value in zip(
            self.boundaries, self.values[1:], strict=True
        ):
            factor = ops.where(step >= boundary, float(value), factor)
        return factor

    def get_config(self):
        return {"boundaries": self.boundaries, "values": self.values}


@keras.saving.register_keras_serializable(package="keras_clmae")
class ConstantCurriculum(CurriculumSchedule):
    """Factor that never changes, for ablations: +1, 0 or -1.

    Args:
        value: float. The factor.

    Raises:
        ValueError: If `value` is no finite number.

    Example:

    >>> float(keras_clmae.ConstantCurriculum(-1.0)(1000))
    -1.0
    """

    def __init__(self, value):
        check_number("value", value)
        self.value = value

    def __call__(self, step):
        return ops.convert_to_tensor(float(self.value), dtype="float32")

    def get_config(self):
        return {"value": self.value}


def get_curriculum(curriculum):
    """Checks a curriculum: a schedule, any callable of the step, or a number.

    Args:
        curriculum: callable from the step (float32) to a scalar, or a number,
            which becomes a `ConstantCurriculum`.

    Returns:
        The callable.

    Raises:
        ValueError: If it is none of these or does not give a finite number.

    Example:

    >>> float(keras_clmae.get_curriculum(0.5)(3))
    0.5
    """
    if isinstance(curriculum, (int, float)) and not isinstance(
        curriculum, bool
    ):
        return ConstantCurriculum(curriculum)
    if not callable(curriculum):
        raise ValueError(
            "`curriculum` must be a number or a callable from the step to the "
            "curriculum factor, for instance "
            "`keras_clmae.LinearCurriculum(total_steps)`. "
            f"Received: curriculum={curriculum!r}"
        )
    first = curriculum(ops.convert_to_tensor(0.0, dtype="float32"))
    try:
        number = np.asarray(ops.convert_to_numpy(first), dtype="float64")
        valid = number.shape == () and bool(np.isfinite(number))
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            "`curriculum` must give one finite number for a step. "
            f"Received: curriculum(0)={first!r}"
        )
    return curriculum


def warn_if_not_saveable(curriculum):
    """Warns where a saved model cannot be loaded with its curriculum.

    Args:
        curriculum: What `get_curriculum` takes.
    """
    name = getattr(curriculum, "__qualname__", "")
    cannot_be_imported = (
        "<lambda>" in name
        or "<locals>" in name
        or (name and curriculum.__module__ == "__main__")
    )
    if not cannot_be_imported or keras.saving.get_registered_name(
        curriculum
    ) != getattr(curriculum, "__name__", None):
        return
    warnings.warn(
        "`curriculum` is a function that cannot be saved: training works, but "
        "a model that is saved cannot be loaded with it. Subclass "
        "keras_clmae.CurriculumSchedule and register it with "
        f"keras.saving.register_keras_serializable. Received: {curriculum!r}",
        stacklevel=3,
    )
