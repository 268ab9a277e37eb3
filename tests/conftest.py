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
# The emitters of XLA's fusions on CPUs compile three times as long; tiny steps
# need no optimized code, on TensorFlow neither.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true",
)

import keras  # noqa: E402
import pytest  # noqa: E402

# Seeds import it on every backend, and all of them read files with it.
try:
    import tensorflow as tf
except ImportError:
    pass
else:
    # Rewriting a graph takes longer than running it a few times.
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True}
    )


def pytest_ignore_collect(collection_path, config):
    """Leave out modules of which no test will run, and what they import."""
    if config.option.markexpr != "not once" or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    return True if "\npytestmark = ONCE\n" in text else None


def pytest_collection_finish():
    """Take what was imported, which stays, out of all later collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed():
    """Start every test from the same random state."""
    keras.utils.set_random_seed(0)


def run_eagerly():
    """TensorFlow runs at once what it would trace and compile first.

    For tests of a few steps, of which no graph is the subject.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


untraced = pytest.fixture(run_eagerly, scope="module", name="untraced")
untraced_test = pytest.fixture(run_eagerly, name="untraced_test")


@pytest.fixture(autouse=True, scope="module")
def freed_memory():
    """Free the models of a module: three backends run at the same time."""
    yield
    gc.collect()
