"""Choose the backend, and load it once the arguments are known to be good."""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile

from keras_clmae.cli.command import UsageError
from keras_clmae.freed_memory import keep_freed_memory
from keras_clmae.runs.suggestions import did_you_mean

# In the order in which an installed one is taken.
BACKENDS = ("jax", "torch", "tensorflow")
# What TensorFlow says when it is imported, whatever the level of its log.
_CHATTER = re.compile(
    r"WARNING: All log messages before absl::InitializeLog"
    r"|[IW]\d{4} [\d:.]+ +\d+ "
    r"|To enable the following instructions:"
)


def choose_backend():
    """Settles `KERAS_BACKEND`.

    Returns:
        str. The backend: the one that `KERAS_BACKEND` names, else the first
        that is installed of `jax`, `torch` and `tensorflow`.

    Raises:
        UsageError: if the variable names no backend, or one that is missing.
    """
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


def load_package(computes=True):
    """Chooses the backend and imports Keras and the whole package.

    The command leaves all this out at its start; importing a class is what
    makes it known to `keras.saving.load_model`.

    Args:
        computes: bool. Whether the command will seed and compute, for which
            Keras imports TensorFlow on every backend where it is installed.
            Defaults to `True`.

    Raises:
        UsageError: as `choose_backend`.
    """
    choose_backend()
    if computes:
        keep_freed_memory()
    with _without_chatter():
        import keras_clmae

        for name in keras_clmae.__all__:
            getattr(keras_clmae, name)
        if computes and _is_installed("tensorflow"):
            # One that is broken is of no interest to other backends.
            with contextlib.suppress(ImportError):
                importlib.import_module("tensorflow")


@contextlib.contextmanager
def _without_chatter():
    """Keeps TensorFlow's start-up lines, and no others, from stderr.

    They come from C++, before any level of logging counts. Whoever sets
    `TF_CPP_MIN_LOG_LEVEL` below 3 sees them.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        try:
            before = os.dup(2)
        except OSError:  # There is no stderr.
            yield
            return
        try:
            os.dup2(caught.fileno(), 2)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if not _CHATTER.match(line):
                    print(line, file=sys.stderr)


def _is_installed(name):
    return importlib.util.find_spec(name) is not None
