"""Curriculum-Learned Masked Autoencoders for Keras 3.

`import keras_clmae` imports everything: importing a class is what makes it
known to `keras.saving.load_model`. The command is the one exception: it has to
answer `--help` and refuse wrong arguments before Keras, which takes seconds, is
loaded. There each name is imported when it is first asked for, and
`keras_clmae.cli.backend.load_package` imports them all once the arguments are
known to be good. A process that is taken for the command by mistake loses
nothing but that its classes are registered at first use.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

from keras_clmae.version import __version__

_ROOMS = (
    "callbacks",
    "conversion",
    "data",
    "distribution",
    "evaluation",
    "kernels",
    "layers",
    "losses",
    "maskers",
    "models",
    "objectives",
    "optimizers",
    "runs",
    "saving",
    "trainers",
    "visualization",
)
_CURRICULA = (
    "ConstantCurriculum",
    "CosineCurriculum",
    "CurriculumSchedule",
    "LinearCurriculum",
    "StepCurriculum",
    "get_curriculum",
)
__all__ = [*_ROOMS, *_CURRICULA, "__version__"]


def _is_command():
    """Tells whether this process is the command `keras-clmae`."""
    program = os.path.basename(getattr(sys, "argv", [""])[0])
    if program == "-m":
        # Python has not found the module yet.
        options = sys.orig_argv
        return options[options.index("-m") + 1] == __name__
    return program.removesuffix(".exe") == "keras-clmae"


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _CURRICULA:
        return getattr(importlib.import_module(f"{__name__}.curriculum"), name)
    if name == "pretrain":
        # Not imported with the package: a run needs an extra.
        return importlib.import_module(f"{__name__}.runs").pretrain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, "pretrain"})


if TYPE_CHECKING or not _is_command():
    from keras_clmae import callbacks
    from keras_clmae import conversion
    from keras_clmae import data
    from keras_clmae import distribution
    from keras_clmae import evaluation
    from keras_clmae import kernels
    from keras_clmae import layers
    from keras_clmae import losses
    from keras_clmae import maskers
    from keras_clmae import models
    from keras_clmae import objectives
    from keras_clmae import optimizers
    from keras_clmae import runs
    from keras_clmae import saving
    from keras_clmae import trainers
    from keras_clmae import visualization
    from keras_clmae.curriculum import ConstantCurriculum
    from keras_clmae.curriculum import CosineCurriculum
    from keras_clmae.curriculum import CurriculumSchedule
    from keras_clmae.curriculum import LinearCurriculum
    from keras_clmae.curriculum import StepCurriculum
    from keras_clmae.curriculum import get_curriculum
