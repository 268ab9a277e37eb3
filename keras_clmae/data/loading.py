"""Make data sets from one string, as the commands take them."""

import os
import re
import warnings

from keras_clmae.data.folder_source import image_folder
from keras_clmae.data.handwritten_digits import digits
from keras_clmae.data.sources.by_name import SOURCES
from keras_clmae.data.tfds_source import tfds_dataset

_DIGITS_SIZE = 8
# Folders that divide a data set, such as `val`, `test2` and `train_extra`.
_SPLIT_NAME = re.compile(
    r"(train|training|val|valid|validation|test|testing|dev|eval|holdout"
    r"|unlabell?ed|extra)([_-].*|\d+)?",
    re.IGNORECASE,
)


def load(
    spec,
    image_size=None,
    batch_size=64,
    split="train",
    transform="pretrain",
    labels=False,
    **arguments,
):
    """Makes a data set from a string that says where its images are.

    Args:
        spec: `"digits"`, `"folder:PATH"`, `"tfds:NAME"`,
            `"hf-dataset:NAME"`, `"webdataset:PATH"` or `"parquet:PATH"`; see
            `hf_dataset`, `webdataset` and `parquet_dataset` for what the
            last three may be. `"hf-dataset:NAME:SPLIT"` reads that split in
            place of `train`. A folder with one
            of the name of `split` in it is read from there; one with `train`
            in it only where the folders beside are splits too (`val`,
            `test2`, `extra` and the like), since `train` may be a class.
        image_size: int, or pair of int (height, width), or
            `None` with `"digits"`, whose size is 8. Defaults to `None`.
        batch_size: int. Defaults to `64`.
        split: str. The split. Defaults to `"train"`.
        transform: See `image_folder`. The digits have none, but are in fixed
            order with `"evaluation"`. Defaults to `"pretrain"`.
        labels: bool. Whether batches are `(images, labels)`. Defaults to
            `False`.
        **arguments: Further arguments of the function that reads it.

    Returns:
        What that function returns.

    Raises:
        ValueError: If `spec` has another form, or `image_size` does not go with
            it. Functions that read the data raise their own.

    Example:

    >>> dataset = load("digits", batch_size=32)
    >>> dataset.steps_per_epoch
    44
    """
    kind, _, place = spec.partition(":")
    if spec == "digits":
        if image_size not in (None, _DIGITS_SIZE, (_DIGITS_SIZE,) * 2):
            raise ValueError(
                f"`image_size` must be {_DIGITS_SIZE} or None for "
                f"the digits. Received: image_size={image_size}"
            )
        if transform == "evaluation":
            arguments = {"shuffle": False, **arguments}
        return digits(
            batch_size=batch_size, split=split, labels=labels, **arguments
        )
    if kind not in ("folder", "tfds", *SOURCES) or not place:
        raise ValueError(
            '`spec` must be "digits", "folder:PATH", "tfds:NAME", '
            '"hf-dataset:NAME", "webdataset:PATH" or "parquet:PATH". '
            f"Received: spec={spec!r}"
        )
    if image_size is None:
        raise ValueError(
            f"`image_size` must be given with {kind!r}. "
            "Received: image_size=None"
        )
    arguments = {"transform": transform, "labels": labels, **arguments}
    if kind in SOURCES:
        return SOURCES[kind](place, split, image_size, batch_size, **arguments)
    if kind == "tfds":
        return tfds_dataset(place, split, image_size, batch_size, **arguments)
    place = split_folder(place, split)
    return image_folder(place, image_size, batch_size, **arguments)


def split_folder(place, split):
    """Finds the folder of a split; for `"train"` it may be the whole folder.

    Args:
        place: str. The folder of the images.
        split: str.

    Returns:
        str. Path of a folder.

    Raises:
        ValueError: if there is none for the split.
    """
    part = os.path.join(place, split)
    if not os.path.isdir(part):
        if split == "train":
            return place
        raise ValueError(
            "`split` must be a folder in the folder of `spec`. "
            f"Received: split={split!r}, spec='folder:{place}'"
        )
    if split != "train":
        return part
    others = sorted(
        entry.name
        for entry in os.scandir(place)
        if entry.is_dir()
        and not entry.name.startswith(".")
        and not _SPLIT_NAME.fullmatch(entry.name)
    )
    if not others:
        return part
    warnings.warn(
        f"Read all folders of {place!r}: beside 'train' lies {others[0]!r}, "
        "so that both are taken for classes. For the images in 'train' "
        f"alone pass 'folder:{part}'.",
        stacklevel=3,
    )
    return place
