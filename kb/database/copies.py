"""Copies of an SQLite database: for a backup, and of each one before it is upgraded.

The copies before upgrades are `backups/20261127-162459-before-0.2.0-schema-0020.db` in the home folder: when, by which
release, and at which migration the data is. docs/operations.md says how to go back to one.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock

from kb.disk import sync
from kb.errors import N_, SetupError, is_disk_full

KEPT = 3
COPIES = "*-before-*-schema-*.db"
PARTIAL = ".partial"
SPARE_BYTES = 100_000_000  # for the upgrade itself, and for whoever shares the disk
MEGABYTE = 1_000_000


def copy_sqlite(source: sa.Connection, target: Path) -> None:
    """A consistent copy of a database that is in use."""
    driver = source.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    with closing(sqlite3.connect(target)) as copy:
        driver.backup(copy)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process upgrades, however long it takes. The system frees the lock of one that was killed.

    Errors: `SetupError` if there is no room for a file.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _no_copy(folder, SPARE_BYTES, error) from error
    with lock:
        lock.release()  # once for `acquire`: it counts
        yield


def copy_before_upgrade(source: sa.Connection, revision: str, folder: Path) -> Path:
    """Copy what `source` reads. Errors: `SetupError` if there is no room for it."""
    copy = folder / f"{datetime.now():%Y%m%d-%H%M%S}-before-{version('zhiwen')}-schema-{revision}.db"
    needed = _size(source) + SPARE_BYTES
    partial = copy.with_name(copy.name + PARTIAL)
    for left in folder.glob(COPIES + PARTIAL):  # by a process that was killed
        left.unlink(missing_ok=True)
    try:
        if shutil.disk_usage(folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy_sqlite(source, partial)
        sync(partial)
        partial.rename(copy)
        sync(folder)
    except (OSError, sqlite3.Error) as error:
        raise _no_copy(folder, needed, error) from error
    finally:
        partial.unlink(missing_ok=True)
    return copy


def keep_newest(folder: Path) -> None:
    """Delete all but the newest copies."""
    for older in sorted(folder.glob(COPIES))[:-KEPT]:
        older.unlink(missing_ok=True)


def _size(source: sa.Connection) -> int:
    pages, page_size = (source.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
    return int(pages) * int(page_size)


def _no_copy(folder: Path, needed: int, error: Exception) -> SetupError:
    return SetupError(
        N_("The database is copied to {folder} before it is upgraded, and the copy cannot be written: {detail}."),
        N_("Nothing was changed. Make {megabytes} MB of space there, and start again."),
        folder=folder,
        megabytes=math.ceil(needed / MEGABYTE),
        detail=N_("the disk is full") if is_disk_full(error) else error,
    )
