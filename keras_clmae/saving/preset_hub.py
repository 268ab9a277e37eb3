"""Upload and download presets through huggingface_hub and kagglehub."""

import re

from keras_clmae.optional_imports import require

PRESET_FILES = ("config.json", "metadata.json", "model.weights.h5")
_FORMS = {
    "hf://": "hf://USER/MODEL",
    "kaggle://": "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION",
}
# Clients make folders of these names: none may be `..` or start another path.
_NAME = r"(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_REVISION = r"(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9_./-]*"


def is_handle(preset):
    """Tells whether `preset` names a place on a hub and not a folder.

    Args:
        preset: str.

    Example:

    >>> keras_clmae.saving.preset_hub.is_handle("hf://someone/digits")
    True
    """
    return str(preset).startswith(tuple(_FORMS))


def download_preset(handle):
    """Downloads the three files of a preset, unless they are there already.

    Args:
        handle: str. `hf://USER/MODEL` with or without `@REVISION`, or
            `kaggle://OWNER/MODEL/FRAMEWORK/VARIATION` with or without
            `/VERSION`. The clients find your credentials by themselves.

    Returns:
        Path of the folder in the cache of the hub's client.

    Raises:
        ImportError: If the hub's client is not installed.
        ValueError: If the handle has another form.
    """
    scheme, place, revision = _split(handle)
    if scheme == "hf://":
        return _client("huggingface_hub").snapshot_download(
            place, revision=revision, allow_patterns=list(PRESET_FILES)
        )
    return _client("kagglehub").model_download(place)


def upload_preset(handle, folder):
    """Uploads the files of a preset; makes the place if it does not exist.

    Args:
        handle: str. As in `download_preset`, without a revision.
        folder: str. Path of the folder that holds the files.

    Raises:
        ImportError: If the hub's client is not installed.
        ValueError: If the handle has another form.
    """
    scheme, place, revision = _split(handle)
    if revision is not None:
        raise _bad_form(scheme, handle)
    if scheme == "hf://":
        hub = _client("huggingface_hub")
        hub.create_repo(place, exist_ok=True)
        hub.upload_folder(repo_id=place, folder_path=folder)
    else:
        _client("kagglehub").model_upload(place, folder)


def _split(handle):
    """Splits a handle into scheme, place, and revision or `None`."""
    scheme = next(form for form in _FORMS if handle.startswith(form))
    place, revision = handle.removeprefix(scheme), None
    if scheme == "hf://":
        place, at, revision = place.partition("@")
        revision = revision if at else None
    numbers = {"hf://": (2,), "kaggle://": (4, 5)}[scheme]
    names = place.split("/")
    if (
        len(names) not in numbers
        or not all(re.fullmatch(_NAME, name) for name in names)
        or (revision is not None and not re.fullmatch(_REVISION, revision))
    ):
        raise _bad_form(scheme, handle)
    return scheme, place, revision


def _bad_form(scheme, handle):
    return ValueError(
        f"`preset` must have the form {_FORMS[scheme]}. "
        f"Received: preset={handle!r}"
    )


def _client(name):
    return require(name, "A preset on a hub")
