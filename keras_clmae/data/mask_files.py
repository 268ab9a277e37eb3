"""Read masks for segmentation: one class number per pixel."""

import concurrent.futures
import io

import numpy as np

from keras_clmae.data.damage import display_name
from keras_clmae.data.decoding import SIGNATURES
from keras_clmae.optional_imports import require

_THREADS = 8


class MaskReader:
    """Reads masks, and checks their labels against the classes.

    Args:
        num_classes: int.
        ignore_label: int. Label of pixels of no class, or `None`.

    Raises:
        ValueError: If `num_classes` is not positive, or `ignore_label` is a
            class.
    """

    def __init__(self, num_classes, ignore_label):
        if isinstance(num_classes, bool) or int(num_classes) < 1:
            raise ValueError(
                "`num_classes` must be a positive integer. Received: "
                f"num_classes={num_classes!r}"
            )
        if ignore_label is not None and 0 <= ignore_label < num_classes:
            raise ValueError(
                "`ignore_label` must be `None` or an integer outside of "
                f"[0, {num_classes}), as `num_classes` is {num_classes}. "
                f"Received: ignore_label={ignore_label}"
            )
        self.num_classes = num_classes
        self.ignore_label = ignore_label

    def read(self, contents):
        """Reads a mask inside `tf.data`.

        Args:
            contents: bytes of a file.

        Returns:
            A float32 array of shape `(height, width)`.

        Raises:
            ValueError: If it is no mask, or holds labels of no class.
        """
        # TensorFlow passes bytes in a graph, an array of them outside of one.
        contents = contents if isinstance(contents, bytes) else contents.item()
        mask = read_mask(contents)
        unknown = self._unknown(mask)
        if unknown.size:
            raise ValueError(f"labels of no class: {unknown[:5]}")
        return mask.astype("float32")

    def open(self, path):
        """Reads a mask from its file.

        Args:
            path: str.

        Returns:
            A pair: an integer array of shape `(height, width)`, or `None`
            where the file is damaged; and the reason for that, or `None`.

        Raises:
            ValueError: If it is no mask, or holds labels of no class.
        """
        mask, reason = _open(path)
        if mask is None:
            return None, reason
        unknown = self._unknown(mask)
        if unknown.size:
            shown = ", ".join(str(label) for label in unknown[:5])
            raise ValueError(
                f"`masks_dir` must hold masks of labels in "
                f"[0, {self.num_classes}) or `ignore_label`, "
                f"{self.ignore_label}. Received: {display_name(path)!r} with "
                f"{unknown.size} other(s): {shown}"
            )
        return mask, None

    def _unknown(self, mask):
        labels = np.unique(mask)
        known = (labels >= 0) & (labels < self.num_classes)
        if self.ignore_label is not None:
            known |= labels == self.ignore_label
        return labels[~known]


class NoMaskError(ValueError):
    """Error about an intact file that holds something else than a mask."""


def read_mask(contents):
    """Reads the bytes of a mask; the indices of a palette stay as they are.

    Args:
        contents: bytes of an image file of one channel, or of an integer
            `.npy` array of shape `(height, width)`.

    Returns:
        An int64 array of shape `(height, width)`.

    Raises:
        NoMaskError: If the file is whole and holds no mask.
        ValueError: If it is damaged.
    """
    if contents.startswith(SIGNATURES["NumPy"]):
        mask = np.load(io.BytesIO(contents), allow_pickle=False)
        if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
            raise NoMaskError(
                f"it is an array of shape {mask.shape} and type {mask.dtype}"
            )
        return mask.astype("int64")
    require("PIL", "Reading masks")
    from PIL import Image

    try:
        with Image.open(io.BytesIO(contents)) as image:
            mode = image.mode
            mask = np.asarray(image)
    except (OSError, SyntaxError) as error:
        raise ValueError("it is truncated, damaged or no image") from error
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise NoMaskError(f"it is an image of the mode {mode}")
    return mask.astype("int64")


def _open(path):
    """Opens a mask; returns it and what is wrong with its file."""
    try:
        with open(path, "rb") as file:
            return read_mask(file.read()), None
    except OSError as error:
        return None, str(error.strerror or error)
    except NoMaskError as error:
        raise ValueError(
            "`masks_dir` must hold masks with one class number per pixel, as "
            "gray levels, indices of a palette or an integer array. Received: "
            f"{display_name(path)!r}: {error}"
        ) from None
    except ValueError as error:
        return None, str(error)


def find_num_classes(paths, ignore_label):
    """Counts the classes in masks, all of which are read.

    Args:
        paths: list of str.
        ignore_label: int. Label of pixels of no class, or `None`.

    Returns:
        int. One more than the highest label.

    Raises:
        ValueError: If a file holds no mask, or no pixel has a class.
    """

    def highest(path):
        mask, _ = _open(path)
        if mask is None:
            return -1
        return mask.max(initial=-1, where=mask != ignore_label)

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = int(max(pool.map(highest, paths)))
    if found < 0:
        raise ValueError(
            "`masks_dir` must hold masks with pixels of a class. Received: "
            f"{len(paths)} mask(s) of `ignore_label`, {ignore_label}, alone"
        )
    return found + 1
