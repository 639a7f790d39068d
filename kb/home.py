"""The home folder belongs to one user: nobody else on the machine can open it or anything in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

from kb.errors import N_, SetupError, is_disk_full

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

    The home folder comes first: from then on nobody gets at the rest, of which there may be much. The folders in it
    come after what they hold, so that a start that ends in between is made up for by the next one. What else somebody
    keeps in the home folder is left alone.
    """
    os.umask(UMASK)
    try:
        home.mkdir(parents=True, exist_ok=True)
        _close(home.resolve())
        for name in OURS:
            if _is_open(home / name):
                for path in _tree(home / name):
                    _close(path)
    except OSError as error:  # another user's folder, or a file system without permissions
        log.warning("home.not_private", detail=str(error))


def not_written(home: Path, error: OSError, path: Path | str) -> SetupError:
    """That the home folder cannot be written: `error` came when `path` in it was."""
    return SetupError(
        N_("The data folder {folder} cannot be written: {detail} ({path})."),
        N_("Free some space, give this user write access, or set ZHIWEN_HOME to another folder."),
        folder=home,
        detail=N_("the disk is full") if is_disk_full(error) else error.strerror or error,
        path=path,
    )


def _tree(path: Path) -> Iterator[Path]:
    """A folder after all that is in it, or a file; nothing if there is none. Links are not followed."""
    if path.is_dir() and not path.is_symlink():
        for folder, _folders, files in os.walk(path, topdown=False):
            yield from (Path(folder, name) for name in files)
            yield Path(folder)
    elif path.is_file():
        yield path


def _is_open(path: Path) -> bool:
    """Whether others may do anything with it. Not a link, whose own permissions mean nothing, nor what is not there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return bool(mode & OTHERS) and not stat.S_ISLNK(mode)


def _close(path: Path) -> None:
    if _is_open(path):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~OTHERS)
