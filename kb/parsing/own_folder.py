"""The temporary folder of each parser child, and what killed processes left of theirs, perhaps attachments."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "zhiwen-reader-"
_YOUNG_SECONDS = 60.0  # a folder may not be locked yet


class OwnFolder:
    """A private temporary folder, locked for as long as this process lives or keeps it."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def clear_left_folders() -> None:
    """Remove the folders of processes that were killed before they could."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, in use, no folder, or gone
            # Everybody may put something there, also a pipe, which would wait for a writer.
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - path.stat().st_mtime > _YOUNG_SECONDS:
                    shutil.rmtree(path)
            finally:
                os.close(lock)
