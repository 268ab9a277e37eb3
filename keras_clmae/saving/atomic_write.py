"""Write files and folders whole or not at all."""

import contextlib
import itertools
import os
import shutil
import tempfile

# What unfinished files and folders are called until they are whole.
UNFINISHED = "unfinished_"
# Threads of one process may write the same file.
_numbers = itertools.count()


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
        OSError: If the file cannot be written.

    Example:

    ```python
    with keras_clmae.saving.atomic_write("scores.json") as unfinished:
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(scores, file)
    ```
    """
    folder, name = os.path.split(os.fspath(path))
    unfinished = os.path.join(
        folder, f"{UNFINISHED}{os.getpid()}_{next(_numbers)}_{name}"
    )
    try:
        yield unfinished
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(unfinished)
        raise


@contextlib.contextmanager
def atomic_folder(folder):
    """Yields an empty folder whose files move to `folder` at the end.

    If the block raises, `folder` stays as it was. Files of the same names are
    replaced, others stay. `config.json`, without which no reader takes the
    folder for a model, moves last.

    Args:
        folder: str or path. Made if it does not exist.

    Yields:
        str. Path of the unfinished folder.

    Raises:
        ValueError: If `folder` is a file.
        OSError: If it cannot be written.

    Example:

    ```python
    with keras_clmae.saving.atomic_folder("preset") as unfinished:
        model.save_weights(f"{unfinished}/model.weights.h5")
    ```
    """
    folder = os.path.abspath(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ValueError(
            "`folder` must be a folder, or a path where none is yet. "
            f"Received: folder={folder!r}, which is a file"
        )
    is_new = not os.path.isdir(folder)
    os.makedirs(folder, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=UNFINISHED
        ) as unfinished:
            yield unfinished
            names = os.listdir(unfinished)
            for name in sorted(names, key=lambda n: (n == "config.json", n)):
                target = os.path.join(folder, name)
                if os.path.isdir(target):
                    shutil.rmtree(target)
                os.replace(os.path.join(unfinished, name), target)
    except BaseException:
        if is_new:
            # Left alone where files of others came in meanwhile.
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        raise
