"""Pretrain and evaluate with a run folder, as the command does, from Python.

Needs the extra `cli` (`pip install "keras-clmae[cli]"`). The settings are
readable without Keras, so that the command can refuse wrong ones at once;
everything else is imported at first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_clmae.runs.anomalies import anomaly
    from keras_clmae.runs.converting import convert_checkpoint
    from keras_clmae.runs.data_check import check_data
    from keras_clmae.runs.embedding import embed
    from keras_clmae.runs.evaluating import finetune
    from keras_clmae.runs.evaluating import knn
    from keras_clmae.runs.evaluating import linear_probe
    from keras_clmae.runs.evaluating import mask_statistics
    from keras_clmae.runs.exporting import export
    from keras_clmae.runs.pretraining import pretrain
    from keras_clmae.runs.recipes import load_recipe
    from keras_clmae.runs.recipes import recipe_names
    from keras_clmae.runs.searching import search
    from keras_clmae.runs.settings import Settings
    from keras_clmae.runs.settings import read_settings
    from keras_clmae.runs.studying import study

_MODULES = {
    "Settings": "settings",
    "anomaly": "anomalies",
    "check_data": "data_check",
    "convert_checkpoint": "converting",
    "embed": "embedding",
    "export": "exporting",
    "finetune": "evaluating",
    "knn": "evaluating",
    "linear_probe": "evaluating",
    "load_recipe": "recipes",
    "mask_statistics": "evaluating",
    "pretrain": "pretraining",
    "read_settings": "settings",
    "recipe_names": "recipes",
    "search": "searching",
    "study": "studying",
}
__all__ = list(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)


def __dir__():
    return sorted({*globals(), *__all__})
