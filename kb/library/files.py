"""The uploaded files on disk, under names of our own: a user's file name is only ever a label."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from kb.disk import sync
from kb.errors import N_, FileMissing, FileNotSaved

PARTIAL = ".partial"  # the suffix of a file that is being written


class FileStore:
    """Files by key (`<knowledge base>/<version>`), all below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def key(self, knowledge_base_id: UUID, version_id: UUID) -> str:
        return f"{knowledge_base_id.hex}/{version_id.hex}"

    def save(self, key: str, name: str, source: BinaryIO) -> int:
        """Write `source` to disk durably and return its size in bytes; nothing is left behind on failure.

        Errors: `FileNotSaved`, naming the user's `name`.
        """
        path = self._root / key
        partial = path.with_suffix(PARTIAL)
        try:
            is_first = not path.parent.is_dir()
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            partial.replace(path)
            sync(path.parent)
            if is_first:
                sync(self._root)
        except OSError as error:
            with suppress(OSError):  # a disk that takes nothing may not give anything up, either
                partial.unlink(missing_ok=True)
            raise FileNotSaved(name=name, detail=error.strerror or error) from error
        return path.stat().st_size

    def path(self, key: str, name: str) -> Path:
        """Where the file is; `FileMissing` (naming the user's `name`) if it is not there."""
        path = self._root / key
        if not path.is_file():
            raise FileMissing(name=name, detail=N_("it is not on this machine's disk"))
        return path

    def delete(self, key: str) -> None:
        (self._root / key).unlink(missing_ok=True)

    def delete_partial(self, older_than_seconds: float) -> int:
        """Delete what uploads left that were killed in the middle; how many there were.

        Whole files stay even if no row names them: the database asked may be another one than theirs.
        """
        deleted = 0
        for path in self._root.glob(f"*/*{PARTIAL}"):
            with suppress(FileNotFoundError):  # another worker may be at it
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()
                    deleted += 1
        return deleted

    def delete_knowledge_base(self, knowledge_base_id: UUID) -> None:
        shutil.rmtree(self._root / knowledge_base_id.hex, ignore_errors=True)
