"""What commands print: text for people, or JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm


class CommandFailed(Exception):
    """A command cannot do what it was asked; says why, and what to do. The exit code is 1."""


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def count(number: int, singular: str, plural: str = "") -> str:
    """“1 file”, “1,200 files”."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def progress(total: int, what: str, unit: str) -> tqdm[NoReturn]:
    """A bar on standard error that goes when it is done; none where that is no terminal. Call its `update`."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=f" {unit}", file=sys.stderr, disable=None, leave=False)
