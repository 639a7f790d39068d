"""State that could not be read is moved aside, so that a start goes on without it: what, when, and why.

Only for what can be made again. A few folders are kept for those who want to look at them.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FOLDER = "set-aside"  # in the home folder
REASON = "reason.txt"
KEPT = 3  # of one kind
_NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<moment>\d{8}T\d{6})(?:-\d+)?")
_MOMENT = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, slots=True)
class SetAside:
    """What was moved: its kind, such as `redis`, the moment, the reason, and where it is now."""

    kind: str
    moment: datetime
    reason: str
    folder: Path


def set_aside(home: Path, kind: str, data: Path, reason: str, moment: datetime | None = None) -> Path:
    """Move `data`, a file or a folder, into a new folder, and return that. The oldest of this kind is deleted.

    Errors: `OSError`; `data` is where it was then.
    """
    moment = moment or datetime.now(UTC)
    place = home / FOLDER
    if os.path.lexists(place) and not (place.is_dir() and os.access(place, os.R_OK | os.W_OK | os.X_OK)):
        rename_unusable(place)
    name = f"{kind}-{moment.strftime(_MOMENT)}"
    for count in range(100):
        folder = place / (f"{name}-{count}" if count else name)
        if not folder.exists():
            break
    folder.mkdir(mode=0o700, parents=True)
    try:
        (folder / REASON).write_text(f"{reason}\n", encoding="utf-8")
        data.rename(folder / data.name)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for old in [each for each in list_set_aside(home) if each.kind == kind][KEPT:]:
        shutil.rmtree(old.folder, ignore_errors=True)
    return folder


def rename_unusable(path: Path) -> Path:
    """Make room for what belongs at `path`. What was there stays beside it, whatever it is. Errors: `OSError`."""
    return path.rename(path.with_name(f"{path.name}-unusable-{datetime.now(UTC).strftime(_MOMENT)}"))


def put_back(folder: Path, data: Path) -> None:
    """Undo `set_aside`; what has taken the place of the data is deleted. Errors: `OSError`."""
    shutil.rmtree(data)
    (folder / data.name).rename(data)
    shutil.rmtree(folder, ignore_errors=True)


def list_set_aside(home: Path) -> list[SetAside]:
    """What was moved aside and not deleted since, the newest first."""
    found = []
    with suppress(OSError):
        for folder in (home / FOLDER).iterdir():
            if (match := _NAME.fullmatch(folder.name)) and folder.is_dir():
                moment = datetime.strptime(match["moment"], _MOMENT).replace(tzinfo=UTC)
                found.append(SetAside(match["kind"], moment, _reason(folder), folder))
    return sorted(found, key=lambda each: (each.moment, each.folder.name), reverse=True)


def delete_set_aside(home: Path) -> None:
    """Delete all that was moved aside. Errors: `OSError`."""
    for each in list_set_aside(home):
        shutil.rmtree(each.folder)


def _reason(folder: Path) -> str:
    try:
        return (folder / REASON).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
