"""Diagnose damaged image files, and report them."""

import errno
import os
import sys
import time
import warnings

import numpy as np

from keras_clmae.data.decoding import KINDS
from keras_clmae.data.decoding import SIGNATURES
from keras_clmae.data.decoding import UnsupportedPixels
from keras_clmae.data.decoding import jpeg_channels
from keras_clmae.data.decoding import read_pixels
from keras_clmae.optional_imports import require

# Seconds after which a search for damaged images says what it does.
_SILENT_SECONDS = 5.0
_SYSTEM_ERRORS = {
    errno.EACCES: "there is no permission to read it",
    errno.ENOENT: "it does not exist, or is a link to nowhere",
    errno.ELOOP: "it is a symbolic link that leads back to itself",
    errno.EISDIR: "it is a folder",
}


def diagnose(path, decoder):
    """Finds the reason why an image file cannot be used.

    Args:
        path: str. The file.
        decoder: The `ImageDecoder` that is to read it.

    Returns:
        A string that follows "the image cannot be read: ", or `None` if
        the file can be read.
    """
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError as error:
        return _SYSTEM_ERRORS.get(error.errno, error.strerror)
    return diagnose_contents(contents, decoder)


def diagnose_contents(contents, decoder):
    """Finds the reason why the bytes of an image file cannot be used.

    Args:
        contents: bytes of the file.
        decoder: The `ImageDecoder` that is to read it.

    Returns:
        A string, or `None` if they can be decoded.
    """
    tf = require("tensorflow", "Reading image files")
    PIL = require("PIL", "Reading image files")
    if not contents:
        return "it is empty"
    kinds = [
        kind for kind, start in SIGNATURES.items() if contents.startswith(start)
    ]
    try:
        if "JPEG" in kinds:
            channels = jpeg_channels(contents)
        else:
            channels = read_pixels(contents).shape[-1]
        if channels == decoder.channels or decoder.convert:
            decoder.decode(tf.constant(contents))
    except UnsupportedPixels as error:
        return str(error)
    except PIL.UnidentifiedImageError:
        return f"it is not an image of a known kind ({KINDS})"
    # Each decoder has errors of its own for damaged data.
    except Exception:
        kind = f"{kinds[0]} " if kinds else ""
        return f"the {kind}data is truncated or damaged"
    if channels != decoder.channels and not decoder.convert:
        return (
            f"it does not have {decoder.channels} channel(s) as the others "
            "have; pass `channels` to convert images"
        )
    return None


class DamageReport:
    """Names each unreadable image once, and counts them.

    Args:
        describe: callable, `(epoch, position) -> (name, reason)`, where
            `position` is a place in the order of the epoch and `reason` is
            `None` for an image that can be read after all.
        on_error: `"skip"` to warn of each file once, or `"raise"` to stop at
            the first one.

    Attributes:
        skipped: dict of the skipped images, names to reasons.

    Raises:
        ValueError: If `on_error` is neither of the two.
    """

    def __init__(self, describe, on_error):
        if on_error not in ("skip", "raise"):
            raise ValueError(
                '`on_error` must be "skip" or "raise". '
                f"Received: on_error={on_error!r}"
            )
        self.describe = describe
        self.on_error = on_error
        self.skipped = {}
        self._counted = 0

    def missing(self, epoch, position):
        """Reports an image that should have come and did not.

        Args:
            epoch: int. Number of the epoch.
            position: int. Its place in the order of the epoch.

        Raises:
            ValueError: If `on_error` is `"raise"`. The message names the image.
        """
        name, reason = self.describe(epoch, position)
        if name in self.skipped:
            return
        reason = reason or "a part of it is damaged"
        message = f"The image {name!r} cannot be read: {reason}."
        if self.on_error == "raise":
            raise ValueError(f'{message} Remove it, or pass `on_error="skip"`.')
        self.skipped[name] = reason
        warnings.warn(f"{message} It is skipped.", stacklevel=2)

    def end_epoch(self, num_examples):
        """Warns of the number of skipped images, if there are new ones.

        Args:
            num_examples: int. How many images there are.
        """
        if len(self.skipped) > self._counted:
            self._counted = len(self.skipped)
            warnings.warn(
                f"Skipped {self._counted} of {num_examples} images that "
                "cannot be read.",
                stacklevel=2,
            )


def find_readable(checked, total, title, describe):
    """Finds the images that can be read, and reports the others.

    Says on the standard error what it does, where that takes long.

    Args:
        checked: `tf.data.Dataset` of pairs, the place of an image and its
            size, which fails at images that cannot be decoded.
        total: int. Number of images.
        title: str. What messages call the data set.
        describe: callable. See `DamageReport`.

    Returns:
        bool array of shape (total,), whether each image can be read, and a
        dict of the others, names to reasons.
    """
    is_readable = np.zeros(total, bool)
    start, told = time.monotonic(), False
    for places, _ in checked.ignore_errors().batch(1024).as_numpy_iterator():
        is_readable[places] = True
        if not told and time.monotonic() - start > _SILENT_SECONDS:
            told = True
            print(
                f"Looking for damaged images among the {total:,} of "
                f"{title!r}, which are read in a fixed order ...",
                file=sys.stderr,
            )
    return is_readable, report_damage(is_readable, describe)


def report_damage(is_readable, describe):
    """Reports the images that cannot be read, all at once.

    Args:
        is_readable: bool array, one entry per image.
        describe: callable. See `DamageReport`.

    Returns:
        A dict of the skipped images, names to reasons.
    """
    report = DamageReport(describe, "skip")
    for place in np.flatnonzero(~is_readable):
        report.missing(0, place)
    report.end_epoch(len(is_readable))
    return report.skipped


def display_name(path):
    """Makes a path printable.

    Args:
        path: str or bytes.

    Returns:
        A string without undecodable bytes.
    """
    return os.fsencode(path).decode("utf-8", "replace")
