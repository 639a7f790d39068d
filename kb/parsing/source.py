"""The input of a parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Report = Callable[[int, int], None]


def report_nothing(done: int, total: int) -> None:
    """A `Report` that does nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file at `path`; `name` is the user's file name; `report(done, total)` counts pages, slides or sheets."""

    path: Path
    name: str
    report: Report = report_nothing
