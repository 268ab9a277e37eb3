"""Store scores on disk, each with the settings behind it."""

import collections
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics

import keras
import numpy as np

from keras_clmae.saving.atomic_write import atomic_write
from keras_clmae.version import __version__

# Settings in which the runs of one row of the table may differ.
NOT_COMPARED = (
    "source",
    "seed",
    "output",
    "name",
    "verbose",
    "save",
    "baseline",
    "cache",
    "data_dir",
    "normalization",
)
# Packages besides Keras and NumPy that may have decided a score.
_PACKAGES = ("jax", "tensorflow", "torch", "scikit-learn", "keras-cv")
COLUMNS = (
    "encoder",
    "data",
    "protocol",
    "settings",
    "runs",
    "accuracy",
    "untrained",
)


def make_record(name, protocol, data, scores, settings, seconds):
    """Makes the record of a score, as it is stored.

    Args:
        name: str. What was scored: runs that differ in their seed only have
            the same name.
        protocol: str. The protocol with what distinguishes its variants.
        data: str. The data set.
        scores: dict from `"pretrained"`, and `"random"` for an untrained
            baseline, to dicts with `"accuracy"` in [0, 1] and any details.
        settings: dict. Everything the score depends on.
        seconds: float. How long it took.

    Returns:
        A dict that JSON can hold: the arguments, versions of packages, and
        the time in UTC.

    Example:

    >>> record = keras_clmae.evaluation.make_record(
    ...     "digits", "knn", "digits", {"pretrained": {"accuracy": 0.9}},
    ...     {"seed": 0}, seconds=1.0,
    ... )
    >>> record["scores"]
    {'pretrained': {'accuracy': 0.9}}
    """
    return {
        "name": name,
        "protocol": protocol,
        "data": data,
        "scores": scores,
        "settings": settings,
        "seconds": round(seconds, 3),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(
            timespec="seconds"
        ),
        "versions": {
            "keras_clmae": __version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "backend": keras.backend.backend(),
            "python": platform.python_version(),
            **_installed_versions(),
        },
    }


def _installed_versions():
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def run_name(source):
    """Names a run's row: its path without a part such as `_seed3`.

    Args:
        source: str. As in `load_encoder`.

    Returns:
        str.

    Example:

    >>> from keras_clmae.evaluation import run_name
    >>> run_name("runs/cifar10_seed3/model.keras")
    'runs/cifar10'
    """
    source = re.sub(r"[/\\]model\.keras$", "", source.rstrip("/\\"))
    return re.sub(r"[/\\_.-]?seed[_-]?\d+", "", source)


def write_record(record, path):
    """Writes a record whole or not at all.

    Args:
        record: dict of `make_record`.
        path: str. A `.json` file; its folder is made where it is missing.

    Example:

    >>> record = keras_clmae.evaluation.make_record(
    ...     "digits", "knn", "digits", {"pretrained": {"accuracy": 0.9}},
    ...     {"seed": 0}, seconds=1.0,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> path = os.path.join(folder, "knn.json")
    >>> keras_clmae.evaluation.write_record(record, path)
    >>> keras_clmae.evaluation.read_records([folder]) == [record]
    True
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with atomic_write(path) as unfinished:
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
            file.write("\n")


def read_records(paths):
    """Reads records from files, and from all `.json` files below folders.

    Args:
        paths: sequence of str.

    Returns:
        List of dicts, in the order of their paths; other JSON files in folders
        are left out.

    Raises:
        ValueError: If a path does not exist, a file is no record, or there is
            not one record.

    Example:

    ```python
    records = keras_clmae.evaluation.read_records(["runs", "knn.json"])
    print(keras_clmae.evaluation.markdown_table(records))
    ```
    """
    records = []
    for path in paths:
        if os.path.isdir(path):
            found = sorted(
                os.path.join(folder, name)
                for folder, _, names in os.walk(path)
                for name in names
                if name.endswith(".json")
            )
            records += filter(None, map(_read, found))
        else:
            record = _read(path) if os.path.isfile(path) else None
            if record is None:
                raise ValueError(
                    "`paths` must name folders, or JSON files that "
                    f"the evaluation wrote. Received: {path!r}"
                )
            records.append(record)
    if not records:
        raise ValueError(
            "`paths` must lead to at least one score. Received: "
            f"paths={list(paths)}"
        )
    return records


def markdown_table(records):
    """Makes one table of many scores, with mean and spread over seeds.

    A row is one name, data set, protocol and settings; its runs differ in
    their seeds. The spread is the standard deviation with n - 1 in the
    denominator.

    Args:
        records: list of dicts of `make_record`.

    Returns:
        str, a Markdown table with accuracies in percent.

    Raises:
        ValueError: If the same run was recorded twice with different scores.

    Example:

    >>> from keras_clmae.evaluation import make_record, markdown_table
    >>> records = [
    ...     make_record(
    ...         "digits", "knn", "digits", {"pretrained": {"accuracy": score}},
    ...         {"seed": seed}, seconds=1.0,
    ...     )
    ...     for seed, score in enumerate((0.9, 0.92))
    ... ]
    >>> print(markdown_table(records))
    | encoder | data | protocol | settings | runs | accuracy | untrained |
    |---|---|---|---|---|---|---|
    | digits | digits | knn |  | 2 | 91.0 ± 1.4 |  |
    """
    groups = collections.defaultdict(dict)
    for record in records:
        runs = groups[_group_key(record)]
        run = json.dumps(
            [record["settings"].get(name) for name in ("source", "seed")]
        )
        earlier = runs[run]["scores"] if run in runs else {}
        # One of them may lack the untrained baseline.
        scores = {**earlier, **record["scores"]}
        if scores != {**record["scores"], **earlier}:
            raise ValueError(
                "The same run was recorded twice with different scores. "
                f"Received: {record['name']!r}, {record['protocol']!r}, "
                f"source and seed {run}"
            )
        runs[run] = {**record, "scores": scores}
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for key in sorted(groups):
        runs = list(groups[key].values())
        cells = [
            *key[:3],
            _distinguishing_settings(key, groups),
            str(len(runs)),
            _mean_and_spread(runs, "pretrained"),
            _mean_and_spread(runs, "random"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except ValueError:
        return None
    if isinstance(record, dict) and {"protocol", "scores"} <= set(record):
        return record
    return None


def _group_key(record):
    compared = {
        name: value
        for name, value in record["settings"].items()
        if name not in NOT_COMPARED
    }
    return (
        record["name"],
        record["data"],
        record["protocol"],
        json.dumps(compared, sort_keys=True),
    )


def _distinguishing_settings(key, groups):
    """Finds the settings that set a row apart from its protocol's others."""
    own = json.loads(key[3])
    others = [json.loads(each[3]) for each in groups if each[1:3] == key[1:3]]
    return ", ".join(
        f"{name}={value}"
        for name, value in own.items()
        if any(other.get(name) != value for other in others)
    )


def _mean_and_spread(runs, which):
    accuracies = [
        100 * run["scores"][which]["accuracy"]
        for run in runs
        if which in run["scores"]
    ]
    if not accuracies:
        return ""
    mean = f"{statistics.mean(accuracies):.1f}"
    if len(accuracies) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(accuracies):.1f}"
