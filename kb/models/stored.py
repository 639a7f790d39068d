"""Values that were stored, perhaps by another release."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

Kept = TypeVar("Kept", bound=StrEnum)


def known(kept: object, default: Kept) -> Kept:
    """The member of an enum that was stored; `default` for one that only another release knows."""
    return next((each for each in type(default) if each == kept), default)
