"""Share fixtures. `KERAS_BACKEND` chooses the backend of the whole process."""

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

import keras  # noqa: E402
import pytest  # noqa: E402


def pytest_collection_finish():
    """Take what was imported, which stays, out of all later collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed():
    """Start every test from the same random state."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def freed_memory():
    """Free the models of a module: three backends run at the same time."""
    yield
    gc.collect()
