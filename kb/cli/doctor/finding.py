"""What one check of `zhiwen doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kb.errors import KbError, fill


class Mark(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was checked, how it is, and what to do if that is not well."""

    check: str
    mark: Mark
    detail: str
    remedy: str = ""


def ok(check: str, detail: str) -> Finding:
    return Finding(check, Mark.OK, detail)


def warning(check: str, detail: str, remedy: str = "") -> Finding:
    return Finding(check, Mark.WARNING, detail, remedy)


def failed(check: str, detail: str, remedy: str = "") -> Finding:
    return Finding(check, Mark.FAILED, detail, remedy)


def of_error(check: str, error: KbError, mark: Mark = Mark.FAILED) -> Finding:
    return Finding(check, mark, fill(error.message, error.values), fill(error.remedy, error.values))
