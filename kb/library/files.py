"""The uploaded files on disk. We choose their names; a user's file name is only a label."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from kb.disk import sync
from kb.errors import N_, FileMissing, FileNotSaved, is_disk_full

PARTIAL = ".partial"  # the suffix of a file that is being written
_RECOGNISED = ".recognised"  # of what OCR has read of a file
_LINE_BOXES = ".lines"  # of where the lines of a file stand on its pages
BLOCK_BYTES = 1 << 20


class Source(Protocol):
    """Where a file's content comes from: a file, or a request that is still arriving."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that was written: its size, and its digest in hexadecimal digits."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on the disk; `changed_at` in seconds since the epoch."""

    key: str
    size_bytes: int
    changed_at: float


class FileStore:
    """Files by key (`<knowledge base>/<version>`), all below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def key(self, knowledge_base_id: UUID, version_id: UUID) -> str:
        return f"{knowledge_base_id.hex}/{version_id.hex}"

    def save(self, key: str, name: str, source: Source) -> Saved:
        """Write `source` to disk durably, block by block.

        Errors: `FileNotSaved`, naming the user's `name`; whatever `source` raises. Neither leaves anything on disk.
        """
        path, digest = self._root / key, hashlib.sha256()
        partial = path.with_suffix(PARTIAL)
        try:
            is_first = not path.parent.is_dir()
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
                    digest.update(block)
                target.flush()
                os.fsync(target.fileno())
            partial.replace(path)
            sync(path.parent)
            if is_first:
                sync(self._root)
        except BaseException as error:
            with suppress(OSError):  # a full or broken disk may refuse this, too
                partial.unlink(missing_ok=True)
            if isinstance(error, OSError):
                detail = N_("the disk is full") if is_disk_full(error) else error.strerror or error
                raise FileNotSaved(name=name, detail=detail) from error
            raise
        return Saved(path.stat().st_size, digest.hexdigest())

    def path(self, key: str, name: str) -> Path:
        """Where the file is. Errors: `FileMissing`, naming the user's `name`."""
        path = self._root / key
        if not path.is_file():
            raise FileMissing(name=name, detail=N_("it is not on this machine's disk"))
        return path

    def is_whole(self, key: str, size_bytes: int) -> bool:
        """Whether the file is there, with as many bytes as were saved."""
        try:
            return (self._root / key).stat().st_size == size_bytes
        except OSError:
            return False

    def recognised(self, key: str) -> Path:
        """Where the OCR results for the file are kept; deleted with it (see `kb.parsing.images.recognised`)."""
        return (self._root / key).with_suffix(_RECOGNISED)

    def line_boxes(self, key: str) -> Path:
        """Where the places of the file's lines are kept; deleted with it (see `kb.library.line_boxes`)."""
        return (self._root / key).with_suffix(_LINE_BOXES)

    def delete(self, key: str) -> None:
        for path in (self._root / key, self.recognised(key), self.line_boxes(key)):
            path.unlink(missing_ok=True)

    def delete_partial(self, older_than_seconds: float) -> int:
        """Delete what interrupted uploads left behind; returns how many files that were.

        Complete files stay even if no row names them: this database may not be the one that they belong to.
        """
        deleted = 0
        for path in self._ending(PARTIAL):
            with suppress(OSError):  # another worker deleted it first, or it is a folder of somebody's
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()
                    deleted += 1
        return deleted

    def originals(self) -> Iterator[StoredFile]:
        """All complete files, whether or not a row names them, and whatever other files people put there.

        Passes over what cannot be read, as links in a circle.
        """
        for folder, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if not _is_hidden(name)]
            for name in names:
                path = Path(folder, name)
                if _is_hidden(name) or path.suffix in (PARTIAL, _RECOGNISED, _LINE_BOXES):
                    continue
                try:
                    found = path.stat()
                except OSError:  # it may have been deleted meanwhile
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield StoredFile(path.relative_to(self._root).as_posix(), found.st_size, found.st_mtime)

    def delete_derived(self, known: Container[str], older_than_seconds: float) -> None:
        """Delete what was made from files that are gone, unless their key is `known`."""
        for suffix in (_RECOGNISED, _LINE_BOXES):
            for path in self._ending(suffix):
                original = path.with_suffix("")
                if original.relative_to(self._root).as_posix() in known or original.exists():
                    continue
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > older_than_seconds:
                        path.unlink()

    def _ending(self, suffix: str) -> Iterator[Path]:
        """The files with this ending in all folders, of which some may be deleted meanwhile."""
        for folder in self._root.glob("*"):
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                yield from (path for path in list(folder.iterdir()) if path.suffix == suffix)

    def delete_knowledge_base(self, knowledge_base_id: UUID) -> None:
        """Delete all its files. Errors: `OSError` if some could not be deleted."""
        folder = self._root / knowledge_base_id.hex
        while folder.exists():
            with suppress(FileNotFoundError):  # another process deletes them, too
                shutil.rmtree(folder)


def _is_hidden(name: str) -> bool:
    """Of a file system or a desktop, which keep what is theirs in any folder."""
    return name.startswith(".")
