"""What OCR has read of a file's pages, kept on disk: a page takes seconds, and no attempt reads one again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kb.parsing.layout.lines import Line

_ENGINE = "rapidocr"
_FORMAT = 1  # what is kept of a page; another one is not read
_MAX_BYTES = 300_000_000  # held in memory while the file is read; ten thousand dense pages


class RecognisedPages:
    """Pages by number, each a line of JSON at the end of the file at `path`. Without a path nothing is kept.

    Whatever prevents reading or writing the file costs only the time to recognise its pages again.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._pages: dict[int, tuple[list[Line], float]] | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._known()

    def __getitem__(self, number: int) -> tuple[list[Line], float]:
        """The lines of a page that is contained, and its height."""
        return self._known()[number]

    def keep(self, number: int, lines: Sequence[Line], height: float) -> None:
        """Add a page."""
        if self._path is None:
            return
        page = {"by": _engine(), "page": number, "height": height, "lines": [asdict(line) for line in lines]}
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(page, ensure_ascii=False))  # the line before may have been cut off

    def _known(self) -> dict[int, tuple[list[Line], float]]:
        if self._pages is None:
            self._pages = dict(filter(None, map(_page, self._stored())))
        return self._pages

    def _stored(self) -> list[str]:
        with suppress(OSError, UnicodeDecodeError):
            if self._path and self._path.stat().st_size <= _MAX_BYTES:
                return self._path.read_text(encoding="utf-8").split("\n")
        return []


def _page(stored: str) -> tuple[int, tuple[list[Line], float]] | None:
    """None if a kill cut the line off, or another release wrote it."""
    try:
        page: dict[str, Any] = json.loads(stored)
        if page["by"] != _engine():
            return None
        lines = [Line(**values) for values in page["lines"]]
        return int(page["page"]), (lines, float(page["height"]))
    except (ValueError, TypeError, KeyError):
        return None


def _engine() -> str:
    try:
        return f"{_ENGINE} {version(_ENGINE)}, {_FORMAT}"
    except PackageNotFoundError:
        return f"{_ENGINE}, {_FORMAT}"
