"""Read and write YAML files of settings."""

import os
import re


def _yaml():
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            'Settings in YAML need PyYAML: pip install "keras-clmae[cli]"'
        ) from error
    return yaml


def read_yaml(path):
    """Reads a mapping.

    Args:
        path: str. The file.

    Returns:
        dict.

    Raises:
        ValueError: if the file holds no mapping.
    """
    yaml = _yaml()

    class Loader(yaml.SafeLoader):
        """YAML 1.1 takes `1e-3` for a string; people mean the number."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
        list("-+0123456789"),
    )
    try:
        with open(path, encoding="utf-8") as file:
            # A loader that makes nothing but plain values.
            content = yaml.load(file, Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(
            f"{os.fspath(path)!r} must be a YAML file. Received: "
            + " ".join(str(error).split())
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{os.fspath(path)!r} must hold settings, one `name: value` per "
            f"line. Received: {type(content).__name__}"
        )
    return content


def write_yaml(path, values):
    """Writes a mapping, whole or not at all.

    Args:
        path: str. The file.
        values: dict of plain values.
    """
    from keras_clmae.saving import atomic_write

    yaml = _yaml()
    with atomic_write(path) as unfinished:
        with open(unfinished, "w", encoding="utf-8") as file:
            yaml.safe_dump(values, file, sort_keys=False)
