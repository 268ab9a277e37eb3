"""Open the files of a data set, and skip the damaged ones."""

import os
import warnings

from keras_clmae.data.damage import display_name


def readable_files(paths, open_file, errors, on_error):
    """Opens files; skips and names those that cannot be opened.

    Args:
        paths: list of str.
        open_file: callable, from a path to what is opened.
        errors: Exception class, or tuple of them, that `open_file` raises for
            a damaged file. `OSError`s count too.
        on_error: `"skip"`, or `"raise"` to stop at the first one.

    Returns:
        List of pairs of a path and what `open_file` gave for it.

    Raises:
        ValueError: If a file cannot be opened and `on_error` is `"raise"`, or
            if none can.
    """
    errors = errors if isinstance(errors, tuple) else (errors,)
    opened, trouble = [], None
    for path in paths:
        try:
            opened.append((path, open_file(path)))
        except (OSError, *errors) as error:
            trouble = f"The file {display_name(path)!r} cannot be read: {error}"
            if on_error == "raise":
                raise ValueError(
                    f'{trouble} Remove it, or pass `on_error="skip"`.'
                ) from error
            warnings.warn(f"{trouble} It is skipped.", stacklevel=5)
    if not opened:
        raise ValueError(
            "There must be at least one file that can be read. Received: "
            f"{len(paths)} file(s), none of which can. {trouble}"
        )
    if len(opened) < len(paths):
        warnings.warn(
            f"Skipped {len(paths) - len(opened)} of {len(paths)} files that "
            f"cannot be read, in {os.path.dirname(paths[0])!r}.",
            stacklevel=4,
        )
    return opened
