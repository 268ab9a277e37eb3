"""Presets at a distance: by the client libraries of the hubs themselves."""

PRESET_FILES = ("config.json", "metadata.json", "model.weights.h5")
_FORMS = {
    "hf://": "hf://USER/MODEL",
    "kaggle://": "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION",
}


def is_handle(preset):
    """Whether `preset` names a place on a hub and not a folder.

    Args:
        preset: str.

    Example:

    >>> keras_clmae.models.preset_hub.is_handle("hf://someone/digits")
    True
    """
    return str(preset).startswith(tuple(_FORMS))


def download_preset(handle):
    """Downloads the three files of a preset, unless they are there already.

    Args:
        handle: str. `hf://USER/MODEL`, or
            `kaggle://OWNER/MODEL/FRAMEWORK/VARIATION` with or without
            `/VERSION`. The clients find your credentials by themselves.

    Returns:
        Path of the folder in the cache of the hub's client.

    Raises:
        ImportError: if the hub's client is not installed.
        ValueError: if the handle has another form.
    """
    scheme, place = _split(handle)
    if scheme == "hf://":
        return _client("huggingface_hub").snapshot_download(
            place, allow_patterns=list(PRESET_FILES)
        )
    return _client("kagglehub").model_download(place)


def upload_preset(handle, folder):
    """Uploads the files of a preset; makes the place if it does not exist.

    Args:
        handle: str. As in `download_preset`.
        folder: path of the folder that holds the files.

    Raises:
        ImportError: if the hub's client is not installed.
        ValueError: if the handle has another form.
    """
    scheme, place = _split(handle)
    if scheme == "hf://":
        hub = _client("huggingface_hub")
        hub.create_repo(place, exist_ok=True)
        hub.upload_folder(repo_id=place, folder_path=folder)
    else:
        _client("kagglehub").model_upload(place, folder)


def _split(handle):
    scheme = next(form for form in _FORMS if handle.startswith(form))
    place = handle.removeprefix(scheme)
    parts = place.split("/")
    numbers = {"hf://": (2,), "kaggle://": (4, 5)}[scheme]
    if len(parts) not in numbers or not all(parts):
        raise ValueError(
            f"`preset` must have the form {_FORMS[scheme]}. "
            f"Received: preset={handle!r}"
        )
    return scheme, place


def _client(name):
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(
            f"This preset needs {name}: pip install keras-clmae[hub]"
        ) from None
