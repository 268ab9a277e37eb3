"""Choose the backend, and load it once the arguments are known to be good."""

import importlib.util
import os

from keras_clmae.cli.command import UsageError
from keras_clmae.runs.suggestions import did_you_mean

# In the order in which an installed one is taken.
BACKENDS = ("jax", "torch", "tensorflow")


def choose_backend():
    """Settles `KERAS_BACKEND` and keeps TensorFlow from chatting.

    Returns:
        str. The backend: the one that `KERAS_BACKEND` names, else the first
        that is installed of `jax`, `torch` and `tensorflow`.

    Raises:
        UsageError: if the variable names no backend, or one that is missing.
    """
    # Keras imports TensorFlow on every backend where it is installed.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    name = os.environ.get("KERAS_BACKEND")
    installed = [each for each in BACKENDS if _is_installed(each)]
    if name and name not in BACKENDS:
        meant = {"pytorch": "torch", "tf": "tensorflow"}.get(name, name)
        raise UsageError(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: "
            f"KERAS_BACKEND={name!r}{did_you_mean(meant, BACKENDS)}"
        )
    if not installed:
        raise UsageError(
            "a backend must be installed: pip install "
            '"keras-clmae[cli,jax]" (or torch, or tensorflow).'
        )
    if name and name not in installed:
        raise UsageError(
            "KERAS_BACKEND must name an installed backend. Received: "
            f"KERAS_BACKEND={name!r}; installed: {', '.join(installed)}"
        )
    os.environ["KERAS_BACKEND"] = name or installed[0]
    return os.environ["KERAS_BACKEND"]


def load_package():
    """Chooses the backend and imports Keras and the whole package.

    The command leaves all this out at its start; importing a class is what
    makes it known to `keras.saving.load_model`.

    Raises:
        UsageError: as `choose_backend`.
    """
    choose_backend()
    import keras_clmae

    for name in keras_clmae.__all__:
        getattr(keras_clmae, name)


def _is_installed(name):
    return importlib.util.find_spec(name) is not None
