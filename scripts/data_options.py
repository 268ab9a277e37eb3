"""What the programs share about where pictures come from."""

import json
import os
from typing import Literal

# How the option `statistics` is given.
Statistics = Literal["imagenet", "from_data"] | list[list[float]]
# Mean and standard deviation with which a run saw its pictures.
_NORMALIZATION_FILE = "normalization.json"


def source_arguments(options):
    """Arguments of `data.load` that depend on the kind of data.

    Args:
        options: has `data`, `channels`, `cache` and `data_dir`.

    Returns:
        dict.
    """
    kind = options.data.partition(":")[0]
    unfit = {"digits": ("channels", "cache", "data_dir"), "tfds": ()}.get(
        kind, ("data_dir",)
    )
    for name in unfit:
        value = getattr(options, name)
        if value is not None:
            raise ValueError(
                f"`{name}` must be left out with `data={options.data}`. "
                f"Received: {name}={value!r}"
            )
    if kind == "digits":
        return {}
    arguments = {"channels": options.channels, "cache": options.cache}
    if kind == "tfds":
        arguments["data_dir"] = options.data_dir
    return arguments


def normalization_values(normalization):
    """Mean and standard deviation of a `PixelNormalization`, for JSON."""
    return {
        "mean": normalization.mean.tolist(),
        "std": normalization.std.tolist(),
    }


def write_normalization(folder, normalization):
    """Keeps a `PixelNormalization` in a run folder."""
    path = os.path.join(folder, _NORMALIZATION_FILE)
    with open(f"{path}.unfinished", "w", encoding="utf-8") as file:
        json.dump(normalization_values(normalization), file)
    os.replace(f"{path}.unfinished", path)


def read_normalization(source):
    """The `PixelNormalization` of a run.

    Args:
        source: str. Folder of the run, or a file in it.

    Returns:
        A `PixelNormalization`, or `None` where there is none.
    """
    from keras_clmae.data import PixelNormalization

    folder = os.path.dirname(source) if os.path.isfile(source) else source
    path = os.path.join(folder, _NORMALIZATION_FILE)
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return PixelNormalization(**json.load(file))
