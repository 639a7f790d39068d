"""The home folder belongs to one user: nobody else on the machine can open it or anything in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

UMASK = 0o077
OTHERS = 0o077  # the permissions of the group and of everybody else
OURS = (
    "backups",
    "logs",
    "milvus",
    "models",
    "redis",
    "run",
    "uploads",
    "first-account-token",
    "secret.key",
    "zhiwen.db",
    "zhiwen.db-shm",
    "zhiwen.db-wal",
)

log = structlog.get_logger()


def keep_private(home: Path) -> None:
    """Make what this process and its children create private, and the home folder, which may be of an older version.

    The folder itself comes last, so that a start that ends in between is made up for by the next one. What else
    somebody keeps in it is left alone: the folder is closed, and so is that.
    """
    os.umask(UMASK)
    try:
        home.mkdir(parents=True, exist_ok=True)
        if home.stat().st_mode & OTHERS:
            for name in OURS:
                for path in _tree(home / name):
                    _close(path)
            _close(home.resolve())
    except OSError as error:  # another user's folder, or a file system without permissions
        log.warning("home.not_private", detail=str(error))


def _tree(path: Path) -> Iterator[Path]:
    """A folder with all that is in it, or a file; nothing if there is none. Links are not followed."""
    if path.is_dir() and not path.is_symlink():
        for folder, _folders, files in os.walk(path):
            yield from (Path(folder, name) for name in files)
            yield Path(folder)
    elif path.is_file():
        yield path


def _close(path: Path) -> None:
    mode = path.lstat().st_mode
    if mode & OTHERS and not stat.S_ISLNK(mode):
        path.chmod(stat.S_IMODE(mode) & ~OTHERS)
