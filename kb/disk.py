"""Makes writes survive a power cut, and says how little space is too little."""

from __future__ import annotations

import os
from pathlib import Path

LITTLE_SPACE, NO_SPACE = 2 << 30, 200 << 20  # bytes that are free


def sync(path: Path) -> None:
    """Wait until the content of a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
