"""Copies of a database: of SQLite for a backup, and of each one before it is upgraded.

The copies before upgrades are `backups/20261127-162459-before-0.2.0-schema-0020.db` in the home folder: when, by which
release, and at which migration the data is. Of PostgreSQL, it is `….sql.gz`: the rows, for `psql`, to go into the empty
tables of the same migration. docs/operations.md says how to go back to one.
"""

from __future__ import annotations

import errno
import gzip
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock

from kb.disk import sync
from kb.errors import N_, SetupError, is_disk_full

KEPT = 3
COPIES = "*-before-*-schema-*"
SQLITE, POSTGRESQL = ".db", ".sql.gz"
PARTIAL = ".partial"
SPARE_BYTES = 100_000_000  # for the upgrade itself, and for whoever shares the disk
MEGABYTE = 1_000_000
COMPRESSION = 3  # of 9: nobody can write meanwhile

_SCRIPT_BEGIN = """\
-- The rows of Zhiwen's database at migration {revision}. How to go back to them: docs/operations.md.
\\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_encoding TO '{encoding}';
SET LOCAL datestyle TO 'ISO';
DO $$ BEGIN
  IF (SELECT version_num FROM alembic_version) <> '{revision}' THEN
    RAISE EXCEPTION 'These rows are of the release whose last migration is {revision}: the tables are of another one.';
  END IF;
END $$;
TRUNCATE {tables};
"""


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


def copy_postgresql(source: sa.Connection, revision: str, target: Path) -> None:
    """Write all rows, as they are at one moment, as a compressed script for `psql`.

    Nobody else writes until the transaction of `source` ends. Tables are sorted so that rows come after those that they
    refer to.
    """
    inspector, quoted = sa.inspect(source), source.dialect.identifier_preparer.quote
    found = (name for name, _ in inspector.get_sorted_table_and_fkc_names() if name)
    tables = {
        quoted(name): ", ".join(
            quoted(each["name"]) for each in inspector.get_columns(name) if not each.get("computed")
        )
        for name in found
        if name != "alembic_version"
    }
    every = ", ".join(tables)
    source.execute(sa.text(f"LOCK TABLE {every} IN SHARE MODE"))
    source.execute(sa.text("SET LOCAL datestyle TO 'ISO'"))
    driver: Any = source.connection.driver_connection
    with gzip.open(target, "wb", compresslevel=COMPRESSION) as script, driver.cursor() as cursor:
        encoding = driver.info.parameter_status("client_encoding")
        script.write(_SCRIPT_BEGIN.format(revision=revision, encoding=encoding, tables=every).encode())
        for table, columns in tables.items():
            script.write(f"\nCOPY {table} ({columns}) FROM stdin;\n".encode())
            with cursor.copy(f"COPY {table} ({columns}) TO STDOUT") as rows:
                for some in rows:
                    script.write(some)
            script.write(b"\\.\n")
        script.write(b"\nCOMMIT;\n")


def copy_before_upgrade(source: sa.Connection, revision: str, folder: Path) -> Path:
    """Copy what `source` reads. Errors: `SetupError` if there is no room for it, or it cannot be read."""
    is_sqlite = source.dialect.name == "sqlite"
    suffix = SQLITE if is_sqlite else POSTGRESQL
    copy = folder / f"{datetime.now():%Y%m%d-%H%M%S}-before-{version('zhiwen')}-schema-{revision}{suffix}"
    needed = _size(source) + SPARE_BYTES
    driver = source.dialect.loaded_dbapi  # which is used without SQLAlchemy
    failures: tuple[type[Exception], ...] = (OSError, driver.Error) if driver else (OSError,)
    partial = copy.with_name(copy.name + PARTIAL)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(COPIES + PARTIAL):  # by a process that was killed
            left.unlink(missing_ok=True)
        if shutil.disk_usage(folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if is_sqlite:
            copy_sqlite(source, partial)
        else:
            copy_postgresql(source, revision, partial)
        sync(partial)
        partial.rename(copy)
        sync(folder)
    except failures as error:
        raise _no_copy(folder, needed, error) from error
    finally:
        partial.unlink(missing_ok=True)
    return copy


def keep_newest(folder: Path) -> None:
    """Delete all but the newest copies."""
    copies = [path for path in folder.glob(COPIES) if path.name.endswith((SQLITE, POSTGRESQL))]
    for older in sorted(copies)[:-KEPT]:
        older.unlink(missing_ok=True)


def _size(source: sa.Connection) -> int:
    """At least as many bytes as the copy has."""
    if source.dialect.name != "sqlite":
        return int(source.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)
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
