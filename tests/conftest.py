"""Shared fixtures. `KERAS_BACKEND` chooses the backend of the whole process."""

import gc
import os

# Traced steps are many objects that stay: to look through them as often as
# Python does takes a sixteenth of the time.
gc.set_threshold(200_000, 50, 100)

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Tests compile the same tiny steps and single operations again and again, in
# many processes.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    os.path.join(os.path.dirname(__file__), "..", ".cache", "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# The emitters of XLA's fusions on CPUs compile three times as long.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

# A core for each worker: threads that wait for each other take a fifth longer.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if _worker and hasattr(os, "sched_setaffinity"):
    _cores = sorted(os.sched_getaffinity(0))
    _number = int(_worker.removeprefix("gw"))
    os.sched_setaffinity(0, {_cores[_number % len(_cores)]})

import keras  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state."""
    keras.utils.set_random_seed(0)
