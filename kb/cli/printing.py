"""What commands print: text for people, or JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, NoReturn
from unicodedata import east_asian_width

if TYPE_CHECKING:
    from tqdm import tqdm

SHOWN_NAMES = 20


class CommandFailed(Exception):
    """A command cannot do what it was asked; says why, and what to do. The exit code is 1."""


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_as_text))


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns with two spaces between; wide characters take two places."""
    table = [titles, *rows]
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _width(text: str) -> int:
    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)


def count(number: int, singular: str, plural: str = "") -> str:
    """“1 file”, “1,200 files”."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def joined(names: Iterable[str]) -> str:
    """“a.md, b.md”: the first of them."""
    return ", ".join(islice(names, SHOWN_NAMES))


def progress(total: int, what: str, unit: str) -> tqdm[NoReturn]:
    """A bar on standard error that goes when it is done; none where that is no terminal. Call its `update`."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=f" {unit}", file=sys.stderr, disable=None, leave=False)
