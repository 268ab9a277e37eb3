"""Write a file whole or not at all."""

import contextlib
import os


@contextlib.contextmanager
def atomic_write(path):
    """Yields a path to write to, which takes the place of `path` at the end.

    A reader sees the old file or the whole new one, never a part. If the block
    raises, the old file stays and the unfinished one is removed.

    Args:
        path: str or path. File to write; its folder must exist.

    Yields:
        str. Path of the unfinished file, in the same folder and with the same
        endings, as Keras and matplotlib choose the format by them.

    Raises:
        OSError: if the file cannot be written.

    Example:

    ```python
    with keras_clmae.saving.atomic_write("scores.json") as unfinished:
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(scores, file)
    ```
    """
    folder, name = os.path.split(os.fspath(path))
    unfinished = os.path.join(folder, f"unfinished-{os.getpid()}-{name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(unfinished)
        raise
