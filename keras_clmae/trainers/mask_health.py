"""Watch whether masks follow the curriculum."""

import warnings

import keras
import numpy as np

PAGE = "docs/concepts.md"
# Share of the run over which mask difficulty may stand still.
_PATIENCE = 0.2
# Ours: less than this is no rise but the noise of a measurement.
_RISE = 0.01


def follows_curriculum(factors, difficulties, total=None):
    """Tells whether masks get harder while the factor is negative.

    They do not where, over the last fifth of the run, the factor was negative,
    mask difficulty never rose above what it was before, and the masks were no
    harder than random ones, which have a difficulty of 1.

    Args:
        factors: sequence of float. The curriculum factor, one value per epoch.
        difficulties: sequence of float. Mask difficulty, of the same epochs;
            NaN where it was not measured.
        total: int. Epochs of the whole run. Defaults to `None`: as many as
            there are values.

    Returns:
        bool. Also `True` where there is too little to tell.

    Example:

    >>> factors = np.linspace(1, -1, 10)
    >>> rising, falling = np.linspace(0.8, 1, 10), np.linspace(1, 0.8, 10)
    >>> keras_clmae.trainers.follows_curriculum(factors, rising)
    True
    >>> keras_clmae.trainers.follows_curriculum(factors, falling)
    False
    """
    factors = np.asarray(factors, "float64")
    difficulties = np.asarray(difficulties, "float64")
    window = max(3, int(np.ceil(_PATIENCE * (total or len(factors)))))
    measured = np.isfinite(difficulties)
    factors, difficulties = factors[measured], difficulties[measured]
    if len(factors) <= window or (factors[-window:] >= 0).any():
        return True
    highest = difficulties[-window:].max()
    return bool(highest > 1 or highest > difficulties[-window - 1] + _RISE)


class WatchCurriculum(keras.callbacks.Callback):
    """Warns once when masks do not follow the curriculum.

    Of a `CLMAE` whose log has mask difficulty: with validation data, or with a
    `random_mask_share`. `fit` adds it by itself.

    Example:

    >>> callback = keras_clmae.trainers.WatchCurriculum()
    >>> callback.set_params({"epochs": 5})
    >>> callback.on_epoch_end(
    ...     0, {"curriculum_factor": 1.0, "mask_difficulty": 0.8}
    ... )
    """

    def __init__(self):
        super().__init__()
        self._factors, self._difficulties = [], []
        self._warned = False

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        difficulty = logs.get(
            "val_mask_difficulty", logs.get("mask_difficulty", np.nan)
        )
        self._factors.append(float(logs.get("curriculum_factor", 0.0)))
        self._difficulties.append(float(difficulty))
        if self._warned or follows_curriculum(
            self._factors, self._difficulties, self.params.get("epochs")
        ):
            return
        self._warned = True
        warnings.warn(
            "The masks do not follow the curriculum: its factor is "
            f"{self._factors[-1]:+.2f}, which asks for hard masks, and for a "
            "fifth of the run mask difficulty has not risen; it is "
            f"{self._difficulties[-1]:.2f}. See {PAGE}.",
            stacklevel=2,
        )
