"""Optional packages, imported only when they are used."""

import importlib

# What each optional import is called in pyproject.toml.
_EXTRAS = {
    "tensorflow": "data",
    "tensorflow_datasets": "data",
    "keras_cv": "data",
    "PIL": "data",
    "braceexpand": "sources",
    "datasets": "sources",
    "pyarrow": "sources",
    "pyarrow.parquet": "sources",
    "pydicom": "sources",
    "pydicom.pixels": "sources",
    "tifffile": "sources",
    "webdataset.tariterators": "sources",
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
        return importlib.import_module(module_name)
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
