"""What commands print: text for people, or JSON for programs."""

from __future__ import annotations

import json


class CommandFailed(Exception):
    """A command cannot do what it was asked; says why, and what to do. The exit code is 1."""


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def count(number: int, singular: str, plural: str = "") -> str:
    """“1 file”, “1,200 files”."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
