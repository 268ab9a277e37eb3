"""Files that are read once from where they lie."""

import hashlib
import os

from keras_clmae.saving.atomic_write import atomic_write


class MemoryCache(dict):
    """Reads files, and keeps their bytes."""

    def __call__(self, path):
        if path not in self:
            with open(path, "rb") as file:
                self[path] = file.read()
        return self[path]


class DiskCache:
    """Reads files, and keeps copies of them in a folder.

    Args:
        folder: String or path object.
    """

    def __init__(self, folder):
        self.folder = os.fspath(folder)
        os.makedirs(self.folder, exist_ok=True)

    def __call__(self, path):
        name = hashlib.blake2b(
            os.path.abspath(path), digest_size=16
        ).hexdigest()
        copy = os.path.join(self.folder, name[:2], name)
        try:
            with open(copy, "rb") as file:
                return file.read()
        except FileNotFoundError:
            pass
        with open(path, "rb") as file:
            contents = file.read()
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        # For other processes, which read meanwhile.
        with atomic_write(copy) as unfinished:
            with open(unfinished, "wb") as file:
                file.write(contents)
        return contents
