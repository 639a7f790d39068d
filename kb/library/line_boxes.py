"""Where the lines of a document stand on its pages, kept on disk, so that a passage can be marked on its page.

The file has a record of fixed size for each line, in the order of the text: the lines of a passage are found without
reading the others.
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self
from uuid import uuid4

import structlog

from kb.library.files import PARTIAL
from kb.models import LineBox, ParsedDocument

_RECORD = struct.Struct("<3I4H")  # start and end in the document's text, page, and the sides in ten-thousandths
_HEADER = b"zhiwen line boxes 1\n".ljust(_RECORD.size, b"\0")  # another format is not read
_SIDES = 10_000

log = structlog.get_logger()


class LineBoxWriter:
    """Keeps the lines of one attempt to read a document, range by range. They appear at `path` once all are written.

    A disk that refuses them costs the marks, not the document. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._partial: Path | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if self._path:
            self._partial = self._path.with_name(f"{self._path.stem}.{uuid4().hex}{PARTIAL}")
            with self._giving_up():
                self._file = self._partial.open("wb")
                self._file.write(_HEADER)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None and self._file and self._partial and self._path:
            with self._giving_up():
                self._file.flush()
                os.fsync(self._file.fileno())
                self._partial.replace(self._path)
        self._drop()

    def add(self, document: ParsedDocument, start: int) -> None:
        """The lines of a range that begins at character `start` of the whole text."""
        if self._file is None:
            return
        starts = [page.start for page in document.pages]
        records = bytearray()
        for line in document.lines:
            page = document.pages[bisect_right(starts, line.start) - 1].number if starts else 0
            sides = (round(side * _SIDES) for side in (line.left, line.top, line.right, line.bottom))
            records += _RECORD.pack(start + line.start, start + line.end, page, *sides)
        with self._giving_up():
            self._file.write(records)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Keep nothing of this document if the disk refuses."""
        try:
            yield
        except OSError as error:
            log.warning("line_boxes.not_kept", reason=str(error))
            self._drop()

    def _drop(self) -> None:
        for end in (self._file.close if self._file else None, self._partial.unlink if self._partial else None):
            with suppress(OSError):  # it has been moved to its place, or the disk refuses this, too
                if end:
                    end()
        self._file = self._partial = None


def lines_between(path: Path, start: int, end: int) -> dict[int, list[LineBox]] | None:
    """The lines of the text from `start` to `end`, by page; None if none are kept of this document."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[: len(_HEADER)] != _HEADER:
                return None
            return _lines_between(content, start, end)
    except (OSError, ValueError):  # it does not exist, or is empty
        return None


def _lines_between(content: mmap.mmap, start: int, end: int) -> dict[int, list[LineBox]]:
    count = len(content) // _RECORD.size - 1

    def record(index: int) -> tuple[int, ...]:
        return _RECORD.unpack_from(content, (index + 1) * _RECORD.size)

    found: dict[int, list[LineBox]] = {}
    for index in range(bisect_right(range(count), start, key=lambda index: record(index)[1]), count):
        line_start, line_end, page, *sides = record(index)
        if line_start >= end:
            break
        left, top, right, bottom = (side / _SIDES for side in sides)
        found.setdefault(page, []).append(LineBox(line_start, line_end, left, top, right, bottom))
    return found
