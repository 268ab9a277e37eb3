"""Make environments for processes that import no more than they need.

Keras imports pandas, scikit-learn and matplotlib where they are installed, and
on PyTorch JAX besides. That takes longer than a training here.
"""

import os
import pathlib

import keras

_HIDDEN = pathlib.Path(__file__).parent / "hidden"


def lean_environment(*needed, **variables):
    """Adds a search path that hides packages to this process's environment.

    Args:
        *needed: Names of folders in `hidden` that the process needs. Its
            backend is needed anyway.
        **variables: Variables to set.

    Returns:
        dict.
    """
    environment = {**os.environ, **variables}
    backend = environment.get("KERAS_BACKEND", keras.backend.backend())
    hidden = sorted(
        str(folder)
        for folder in _HIDDEN.iterdir()
        if folder.name not in (*needed, backend)
    )
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join(
        [*hidden, path] if path else hidden
    )
    return environment
