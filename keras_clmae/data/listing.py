"""List the image files of a folder and their classes, and split them."""

import dataclasses
import hashlib
import os
import warnings

import numpy as np

from keras_clmae.data.decoding import EXTENSIONS
from keras_clmae.data.decoding import KINDS

_SUBSETS = ("training", "validation", "both")


@dataclasses.dataclass(frozen=True)
class ImageList:
    """Image files in an order that does not depend on the file system.

    Attributes:
        root: str. The folder.
        names: list of str. Paths relative to `root`, sorted, with `/`
            between their parts.
        labels: int32 array, one per file, or `None`.
        class_names: list of str, or `None`.
    """

    root: str
    names: list
    labels: np.ndarray | None = None
    class_names: list | None = None

    def __len__(self):
        return len(self.names)

    @property
    def paths(self):
        """List of strings, paths of the files."""
        return [
            os.path.join(self.root, *name.split("/")) for name in self.names
        ]

    def select(self, chosen):
        """Takes some of the files.

        Args:
            chosen: bool array, one entry per file.

        Returns:
            An `ImageList` with the same classes.
        """
        names = [n for n, c in zip(self.names, chosen, strict=True) if c]
        labels = None if self.labels is None else self.labels[chosen]
        return dataclasses.replace(self, names=names, labels=labels)


def list_images(path, labels=False, num_classes=None, class_names=None):
    """Lists the image files of a folder and of all folders below it.

    Hidden files and folders are left out. Symbolic links are followed; a
    link that leads back to a folder above it is skipped, and so is a folder
    that may not be read, each with a warning that names it. Files of other
    kinds are left out, with one warning for all of them.

    Args:
        path: str or path object. The folder.
        labels: bool. Whether each folder directly below `path` is a class.
            Classes are numbered in the order of their sorted names. Defaults
            to `False`.
        num_classes: int. The largest number of classes that the model can
            tell, or `None`. Defaults to `None`.
        class_names: list of str. The classes in the order of their
            numbers, of which the folder may lack some; or `None` for the
            folders that there are. Defaults to `None`.

    Returns:
        An `ImageList`.

    Raises:
        FileNotFoundError: If there is no such path.
        NotADirectoryError: If it is not a folder.
        ValueError: If there is no image, only one class, a class without
            images, more classes than `num_classes`, or one that is not in
            `class_names`.
    """
    root = os.fspath(path)
    if not os.path.exists(root):
        raise FileNotFoundError(
            f"`path` must be a folder of images. Received: {root!r},"
            " which does not exist"
        )
    if not os.path.isdir(root):
        raise NotADirectoryError(
            "`path` must be a folder of images. "
            f"Received: {root!r}, which is a file"
        )
    others = []
    names = sorted(_walk(root, others))
    if not names:
        example = f", but for example {min(others)!r}" if others else ""
        raise ValueError(
            "`path` must be a folder with images "
            f"({KINDS}) in it or below it. Received: {root!r}, "
            f"which has not a single one{example}"
        )
    if others:
        warnings.warn(
            f"Left out {len(others)} file(s) of {root!r} that are no images "
            f"of a known kind by their endings, for example {min(others)!r}",
            stacklevel=3,
        )
    if not labels:
        return ImageList(root, names)
    return _with_labels(root, names, num_classes, class_names)


def _walk(root, others):
    """Gives the names of the images below `root`, and fills in `others`."""
    pending = [("", (os.path.realpath(root),))]
    while pending:
        folder, above = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            warnings.warn(
                f"Skipped the folder {os.path.join(root, folder)!r}: "
                f"{error.strerror}",
                stacklevel=4,
            )
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                real = (
                    os.path.realpath(entry.path)
                    if entry.is_symlink()
                    else (os.path.join(above[-1], entry.name))
                )
                if real in above:
                    warnings.warn(
                        f"Skipped the folder {entry.path!r}: a symbolic link "
                        "that leads back to a folder above it",
                        stacklevel=4,
                    )
                else:
                    pending.append((name, (*above, real)))
            elif entry.name.lower().endswith(EXTENSIONS):
                yield name
            else:
                others.append(name)


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself: listed as a file, and reported when it is read.
        return False


def _with_labels(root, names, num_classes, class_names):
    parts = [name.split("/", 1) for name in names]
    loose = [part[0] for part in parts if len(part) == 1]
    if loose:
        warnings.warn(
            f"Skipped {len(loose)} image(s) that lie in {root!r} itself, "
            f"not in the folder of a class, for example {loose[0]!r}",
            stacklevel=4,
        )
    names = [name for name, part in zip(names, parts, strict=True) if part[1:]]
    owners = [part[0] for part in parts if part[1:]]
    found = sorted(set(owners))
    if class_names is None:
        _check_classes(root, found)
        class_names = found
    elif not found or not set(found) <= set(class_names):
        raise ValueError(
            "`class_names` must hold the name of each folder in `path`, which "
            f"must have one of them at least. Received: {root!r} with "
            f"{found}, and class_names={class_names}"
        )
    if num_classes is not None and len(class_names) > num_classes:
        raise ValueError(
            "`path` must have at most `num_classes` folders of "
            f"classes. Received: num_classes={num_classes}, and {root!r} with "
            f"{len(class_names)} classes"
        )
    index = {name: number for number, name in enumerate(class_names)}
    labels = np.array([index[owner] for owner in owners], "int32")
    return ImageList(root, names, labels, list(class_names))


def _check_classes(root, found):
    """Refuses folders below `root` that do not make classes of images."""
    empty = sorted(
        entry.name
        for entry in os.scandir(root)
        if _is_folder(entry)
        and not entry.name.startswith(".")
        and entry.name not in found
    )
    if empty:
        raise ValueError(
            "`path` must have images in the folder of each class. "
            f"Received: {root!r}, where there is none in {empty[0]!r}"
            + (f" and {len(empty) - 1} more" if empty[1:] else "")
        )
    if len(found) < 2:
        raise ValueError(
            "`path` must have one folder a class, of two classes or "
            f"more, when `labels=True`. Received: {root!r}, with the class(es) "
            f"{found}"
        )


def check_subset(subset, validation_split):
    """Refuses a subset that is unknown, or that a split would have to make.

    Args:
        subset: str. `"training"`, `"validation"` or `"both"`.
        validation_split: float, or `None` for no split.

    Raises:
        ValueError: If `subset` is unknown, or needs a `validation_split`.
    """
    if subset not in _SUBSETS:
        raise ValueError(
            f"`subset` must be one of {_SUBSETS}. Received: subset={subset!r}"
        )
    if subset != "training" and validation_split is None:
        raise ValueError(
            "`validation_split` must be given with "
            f"`subset={subset!r}`. Received: validation_split=None"
        )


def split_images(images, validation_split, seed):
    """Splits a list of images into training and validation.

    Which part a file falls into depends on its path below the root and on
    `seed`, not on where the root is. Of each class (or of all files, without
    labels) the same share is taken.

    Args:
        images: An `ImageList`.
        validation_split: float between 0 and 1. Share of the validation part.
        seed: int.

    Returns:
        A pair of `ImageList`s, training and validation.

    Raises:
        ValueError: If `validation_split` is out of range, or leaves a part
            without images.
    """
    if not 0 < validation_split < 1:
        raise ValueError(
            "`validation_split` must be between 0 and 1. "
            f"Received: validation_split={validation_split}"
        )
    scores = np.array([_score(name, seed) for name in images.names])
    labels = images.labels
    if labels is None:
        labels = np.zeros(len(images), "int32")
    is_validation = np.zeros(len(images), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(validation_split * len(members))
        is_validation[members[np.argsort(scores[members])[:count]]] = True
    if is_validation.all() or not is_validation.any():
        raise ValueError(
            "`validation_split` must leave at least one image in "
            f"each part. Received: validation_split={validation_split}, for "
            f"{len(images)} images"
        )
    return images.select(~is_validation), images.select(is_validation)


def _score(name, seed):
    text = f"{seed}/{name}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "big")
