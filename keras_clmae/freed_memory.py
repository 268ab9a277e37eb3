"""Keep freed memory between the steps of JAX on CPUs."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import os
import platform

# Of glibc's malloc.h: one arena for all threads (those of other threads map
# large blocks anew whatever the rest says), no block mapped by itself, and
# nothing given back.
_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1
_SETTINGS = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: -1}


def keep_freed_memory():
    """Keeps memory between steps, which makes JAX faster on a CPU.

    XLA takes the buffers of a step from the system and gives them back at its
    end, and the system clears every page anew: a fifth of the processor time of
    a step of ViT-Ti (`docs/performance.md`). This tells the C library to
    keep what is freed, for the whole process and until it ends. It holds in
    full only if no other thread runs yet: call it before JAX computes anything
    and before pyarrow is imported, which pandas does, and so Keras. The command
    calls it first of all; `keras_clmae.runs.pretrain` when it begins.

    Returns:
        bool. Whether every later step keeps its memory: only on JAX without an
        accelerator, on Linux with glibc, and without other threads. With other
        threads it is set all the same, and some of the memory is kept.

    Example:

    ```python
    import keras_clmae

    keras_clmae.trainers.keep_freed_memory()
    ```
    """
    if (
        _backend() != "jax"
        or _may_have_accelerator()
        or platform.libc_ver()[0] != "glibc"
    ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    is_set = all([mallopt(name, value) for name, value in _SETTINGS.items()])
    return is_set and len(os.listdir("/proc/self/task")) == 1


def _backend():
    # Importing Keras may start threads.
    if "KERAS_BACKEND" in os.environ:
        return os.environ["KERAS_BACKEND"]
    return importlib.import_module("keras").backend.backend()


def _may_have_accelerator():
    # Asking JAX itself would start its threads, after which it is too late.
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return False
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or importlib.util.find_spec("libtpu") is not None
