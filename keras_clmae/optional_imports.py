"""Import optional packages when they are used, and name the extra of each."""

import contextlib
import importlib

# Extras of pyproject.toml by package.
_EXTRAS = {
    "tensorflow": "data",
    "tensorflow_datasets": "data",
    "keras_cv": "data",
    "PIL": "data",
    "braceexpand": "sources",
    "datasets": "sources",
    "pyarrow": "sources",
    "pydicom": "sources",
    "tifffile": "sources",
    "webdataset": "sources",
    "sklearn": "evaluation",
    "torch": "torch",
    "safetensors": "conversion",
    "huggingface_hub": "hub",
    "kagglehub": "hub",
    "keras_hub": "keras-hub",
    "orbax": "jax-hosts",
    "matplotlib": "cli",
    "tensorboardX": "cli",
    "wandb": "wandb",
    "mlflow": "mlflow",
}


def require(module_name, purpose):
    """Imports an optional package, or names the extra that brings it.

    On JAX and PyTorch, TensorFlow is kept from the GPUs: it would take their
    memory as soon as it runs.

    Args:
        module_name: str. A module of a package in the table above, for example
            `"tensorflow"` or `"matplotlib.figure"`.
        purpose: str. What needs it, as the subject of the message.

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
        raise ImportError(
            f"{purpose} needs the package `{package}`, which is not installed. "
            f'Install it with `pip install "keras-clmae[{_EXTRAS[package]}]"`.'
        ) from None
    if module_name == "tensorflow":
        _leave_gpus_alone(module)
    return module


def _leave_gpus_alone(tensorflow):
    """Keeps `tf.data` from taking the memory of another backend's GPUs."""
    # The command checks its arguments before Keras is imported.
    import keras

    if keras.backend.backend() != "tensorflow":
        # Too late where TensorFlow runs already: then it has what it has.
        with contextlib.suppress(RuntimeError):
            tensorflow.config.set_visible_devices([], "GPU")
