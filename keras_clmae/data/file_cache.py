"""Cache files that every epoch reads again."""

import hashlib
import os
import struct

from keras_clmae.saving.atomic_write import atomic_write

# Stands before a copy: a mark, then size and time of the file.
_HEADER = struct.Struct("<8sqq")
_MARK = b"clmae-1\n"


class MemoryCache(dict):
    """Reads files, and keeps their bytes."""

    def __call__(self, path):
        if path not in self:
            with open(path, "rb") as file:
                self[path] = file.read()
        return self[path]


class DiskCache:
    """Reads files, and keeps copies of them in a folder.

    A file that has another size or time of modification than its copy is read
    anew. A file that cannot be reached any more is served from its copy.

    Args:
        folder: str or path object.
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
            status = os.stat(path)
            header = _HEADER.pack(_MARK, status.st_size, status.st_mtime_ns)
        except OSError:
            header = None
        try:
            with open(copy, "rb") as file:
                kept = file.read()
        except FileNotFoundError:
            kept = b""
        expected = _MARK if header is None else header
        if kept.startswith(expected):
            return kept[_HEADER.size :]
        with open(path, "rb") as file:
            contents = file.read()
        if header is not None:
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            # Other threads and processes may read and write it meanwhile.
            with atomic_write(copy) as unfinished:
                with open(unfinished, "wb") as file:
                    file.write(header + contents)
        return contents
