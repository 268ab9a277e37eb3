"""Match the images of a folder with the masks of another one."""

import os
import warnings

from keras_clmae.data.listing import ImageList
from keras_clmae.data.listing import list_images


def list_pairs(images_dir, masks_dir, mask_suffix=""):
    """Lists the images of a folder that have a mask in another one.

    Args:
        images_dir: str or path object.
        masks_dir: str or path object.
        mask_suffix: str. Defaults to `""`.

    Returns:
        Two `ImageList`s, images and their masks, in the same order.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If no image has a mask, or two files have one stem.
    """
    images = _list_by_stem("images_dir", images_dir, "")
    masks = _list_by_stem("masks_dir", masks_dir, mask_suffix)
    stems = sorted(images.keys() & masks.keys())
    if not stems:
        raise ValueError(
            "`masks_dir` must hold a mask for each image, of the same path "
            f"but for the extension and `mask_suffix`, {mask_suffix!r}. "
            f"Received: {os.fspath(masks_dir)!r} with {next(iter(masks))!r}, "
            f"{os.fspath(images_dir)!r} with {next(iter(images))!r}"
        )
    for left, kind in (
        (images.keys() - masks.keys(), "image(s) without a mask"),
        (masks.keys() - images.keys(), "mask(s) without an image"),
    ):
        if left:
            warnings.warn(
                f"Skipped {len(left)} {kind}, for example {min(left)!r}",
                stacklevel=3,
            )
    return (
        ImageList(os.fspath(images_dir), [images[stem] for stem in stems]),
        ImageList(os.fspath(masks_dir), [masks[stem] for stem in stems]),
    )


def _list_by_stem(argument, folder, suffix):
    """Maps paths without extension to the names of the files of a folder."""
    try:
        names = list_images(folder).names
    except (OSError, ValueError) as error:
        message = str(error).replace("`path`", f"`{argument}`")
        raise type(error)(message) from None
    by_stem = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if not stem.endswith(suffix):
            continue
        stem = stem.removesuffix(suffix)
        if stem in by_stem:
            raise ValueError(
                f"`{argument}` must hold one file per stem. Received: "
                f"{by_stem[stem]!r} and {name!r} in {os.fspath(folder)!r}"
            )
        by_stem[stem] = name
    if not by_stem:
        raise ValueError(
            f"`mask_suffix` must end the names of files in `{argument}`. "
            f"Received: mask_suffix={suffix!r}, with {names[0]!r}"
        )
    return by_stem
