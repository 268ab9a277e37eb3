"""Find the files of a data set that is split into several."""

import glob
import os
import re

from keras_clmae.optional_imports import require


def shard_files(place, suffix, split="train"):
    """Lists the files that a path, pattern or folder stands for.

    Args:
        place: str or path object: a file; a pattern with `*`, `?`, `[...]`
            or braces, such as `shards/{000..010}.tar`; or a folder, of which
            the files of the split are taken (`train/*`, `train-*`, `train_*`,
            `train.*`), or all of them, in any depth, for `"train"` where none
            are called so.
        suffix: str. How names of files in a folder end.
        split: str. The split. Defaults to `"train"`.

    Returns:
        List of strings, sorted.

    Raises:
        FileNotFoundError: If a file is missing, or a pattern or folder has
            none.
        ValueError: If a folder has no file of the split.
    """
    place = os.fspath(place)
    if "://" in place or place.startswith("pipe:"):
        raise ValueError(
            "`path` must name files of this machine or of a mounted disk: an "
            f"exact order reads them in any order. Received: {place!r}"
        )
    if os.path.isdir(place):
        return _split_files(place, suffix, split)
    files = []
    for pattern in _expand_braces(place):
        found = sorted(glob.glob(pattern)) or [pattern]
        if not os.path.exists(found[0]):
            raise FileNotFoundError(
                "`path` must name a folder, or files that exist. "
                f"Received: {place!r}, where {pattern!r} does not"
            )
        files += found
    if split != "train":
        raise ValueError(
            "`split` must be left out where files are named; a folder may "
            f"have several splits. Received: split={split!r}, and {place!r}"
        )
    return files


def common_folder(files):
    """Finds the folder that holds all of some files.

    Args:
        files: list of str.

    Returns:
        str.
    """
    folders = [os.path.dirname(os.path.abspath(file)) for file in files]
    return os.path.commonpath(folders)


def _expand_braces(place):
    if "{" not in place or os.path.exists(place):
        return [place]
    return list(require("braceexpand", "A path with braces").braceexpand(place))


def _split_files(folder, suffix, split):
    everything = sorted(
        glob.glob(
            os.path.join(glob.escape(folder), "**", f"*{suffix}"),
            recursive=True,
        )
    )
    if not everything:
        raise FileNotFoundError(
            f"`path` must be a folder with files that end in {suffix!r} in it "
            f"or below it. Received: {folder!r}, which has not a single one"
        )
    # Of any part of the path: data/train-00000-of-00005.parquet.
    name = re.compile(rf"{re.escape(split)}([-_.].*)?")
    chosen = [
        file
        for file in everything
        if any(
            name.fullmatch(part)
            for part in os.path.relpath(file, folder).split(os.sep)
        )
    ]
    if chosen:
        return chosen
    if split == "train":
        return everything
    raise ValueError(
        "`split` must be a folder of files, or the start of their names. "
        f"Received: split={split!r}, and {folder!r} with "
        f"{os.path.relpath(everything[0], folder)!r}"
        + (f" and {len(everything) - 1} more" if everything[1:] else "")
    )
