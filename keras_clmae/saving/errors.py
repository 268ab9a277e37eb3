"""Turn the errors of reading a damaged file into one."""

import contextlib
import re

_MAX_REASON = 300


@contextlib.contextmanager
def one_error(path, expected, opening="`path` must be"):
    """Raises a `ValueError` that names the file, whatever the block raises.

    Readers of zip, pickle, JSON, HDF5 and safetensors files raise a dozen
    kinds of exceptions where a file is damaged.

    Args:
        path: str or path. The file or folder that is read.
        expected: str. Says what must be there.
        opening: str. How the message begins, before `expected`. Defaults to
            "`path` must be".

    Raises:
        ValueError: From the exception of the block, with its first lines as the
            reason.

    Example:

    >>> try:
    ...     with one_error("a.json", "a JSON file"):
    ...         raise EOFError("it ends too early")
    ... except ValueError as error:
    ...     print(error)
    `path` must be a JSON file. Received: path='a.json' (it ends too early)
    """
    try:
        yield
    except Exception as error:
        # PyTorch sets its in bold.
        text = re.sub(r"\x1b\[\d*m", "", str(error))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        # Keras tells in the first line how much failed, and then why.
        reason = " ".join(lines[:2]) or type(error).__name__
        raise ValueError(
            f"{opening} {expected}. Received: path={str(path)!r} "
            f"({reason[:_MAX_REASON]})"
        ) from error
