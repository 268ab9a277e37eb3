"""Import optional packages, only when they are used."""

import contextlib
import importlib

import keras

# What each optional import is called in pyproject.toml.
_EXTRAS = {
    "tensorflow": "data",
    "tensorflow_datasets": "data",
    "keras_cv": "data",
    "PIL": "data",
    "sklearn.datasets": "evaluation",
    "torch": "torch",
    "safetensors": "conversion",
    "safetensors.numpy": "conversion",
    "huggingface_hub": "conversion",
    "keras_hub": "keras-hub",
    "orbax.checkpoint": "jax-hosts",
}


def require(module_name, purpose):
    """Imports an optional package, or says which extra brings it.

    On JAX and PyTorch, TensorFlow is kept from the GPUs: it would take their
    memory as soon as it runs.

    Args:
        module_name: String, a key of the table above, for example
            `"tensorflow"`.
        purpose: String, what needs it, as the subject of the message.

    Returns:
        The imported module.

    Raises:
        ImportError: If the package is not installed. The message names the
            extra to install.
    """
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A broken installation of the package itself is another problem.
        package = module_name.split(".")[0]
        if error.name not in (package, module_name):
            raise
        extra = _EXTRAS[module_name]
        raise ImportError(
            f"{purpose} needs the package `{package}`, which is not "
            f'installed. Install it with `pip install "keras-clmae[{extra}]"`.'
        ) from error
    if module_name == "tensorflow" and keras.backend.backend() != "tensorflow":
        _leave_gpus_alone(module)
    return module


def _leave_gpus_alone(tensorflow):
    """Keeps `tf.data` from taking the memory of the backend's GPUs."""
    # Too late where TensorFlow runs already: then it has what it has.
    with contextlib.suppress(RuntimeError):
        tensorflow.config.set_visible_devices([], "GPU")
