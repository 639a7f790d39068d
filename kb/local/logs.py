"""The services' log files: bounded, and read for the last thing a service said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

LIMIT_BYTES = 10 * 1024 * 1024
TAIL_BYTES = 8192
LINE_CHARACTERS = 500


def open_log(path: Path) -> BinaryIO:
    """Open `path` for a service to append to, after bounding it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bound_log(path)
    return path.open("ab", buffering=0)


def bound_log(path: Path) -> None:
    """Move a log over the limit to `<name>.1`.

    It is copied and emptied in place, since the running service keeps the file open; it appends, so it goes on at
    the new end.
    """
    if path.exists() and path.stat().st_size > LIMIT_BYTES:
        try:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
        finally:  # above all on a full disk
            os.truncate(path, 0)


def last_line(path: Path, since: int = 0) -> str:
    """The last line that is not blank after byte `since`; empty if there is none or the file cannot be read."""
    try:
        with path.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(since if since <= end else 0, end - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:LINE_CHARACTERS] if lines else ""
