"""The engine, its connections and the migrations. Statements are written with SQLAlchemy Core throughout."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kb.config import Settings
from kb.errors import ITS_DISK_IS_FULL, N_, DatabaseUnavailable, SetupError, is_disk_full

# The newest migration. A test holds it equal to the scripts, so that a start need not load Alembic to know.
HEAD = "0030"
SQLITE_WAIT_SECONDS = 15.0
# Give up on a silent host after seconds; by default the system waits for minutes.
POSTGRESQL_WAITS = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}


class Database:
    """The connection pool. Safe to share among threads."""

    def __init__(self, settings: Settings, durable: bool = True) -> None:
        """`durable`: what was committed also survives a power cut; a crash of the process never loses anything.

        A worker need not wait for the disk at each step of its progress, which can be done again.
        """
        self.url = settings.sql_url
        self.is_sqlite = self.url.startswith("sqlite")
        if self.is_sqlite:
            settings.home.mkdir(parents=True, exist_ok=True)
        self.engine = _create_engine(self.url, self.is_sqlite, durable)
        self._writer = self.engine.execution_options(writes=True)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading."""
        with _translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction: committed when the block ends without an error, else rolled back."""
        with _translated(), self._writer.begin() as connection:
            yield connection

    def migrate(self, backups: Path | None = None) -> None:
        """Bring the schema to the newest version; several processes may call this at once.

        A database that has to be upgraded is first copied into the folder `backups`, if one is given.
        Errors: `DatabaseUnavailable`; `SetupError` if it answers but cannot be used, or cannot be copied.
        """
        try:
            with _translated():
                if self.revision() == HEAD:
                    return
                from kb.database.migrate import upgrade  # Alembic is only loaded when there is something to do

                upgrade(self.engine, backups=backups)
        except DBAPIError as error:
            raise SetupError(
                N_("The database cannot be used ({detail})."),
                N_("Check that it is the right one (DATABASE_URL, if set), and that its user may create tables in it."),
                detail=_reason(error),
            ) from error

    def revision(self) -> str | None:
        """The newest migration that was applied; None for an empty database. Errors: `DatabaseUnavailable`."""
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            return revision

    def ping(self) -> str:
        """The server's name and version; raises `DatabaseUnavailable`."""
        with _translated(), self.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
            version = ".".join(str(part) for part in connection.dialect.server_version_info or ())
            return f"{'SQLite' if self.is_sqlite else 'PostgreSQL'} {version}".strip()

    def close(self) -> None:
        self.engine.dispose()


def _create_engine(url: str, is_sqlite: bool, durable: bool) -> sa.Engine:
    if not is_sqlite:
        given = sa.make_url(url).query  # what the address itself says goes first
        return sa.create_engine(
            url,
            hide_parameters=True,
            connect_args={name: value for name, value in POSTGRESQL_WAITS.items() if name not in given},
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            pool_timeout=10,
        )
    engine = sa.create_engine(
        url, hide_parameters=True, connect_args={"timeout": SQLITE_WAIT_SECONDS}, pool_size=10, max_overflow=20
    )
    sa.event.listen(engine, "connect", partial(_configure_sqlite, durable))
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(durable: bool, connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own: `_begin_sqlite` does
    cursor = connection.cursor()
    _enter_wal_mode(cursor)
    for pragma in (f"synchronous={'FULL' if durable else 'NORMAL'}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _enter_wal_mode(cursor: sqlite3.Cursor) -> None:
    """The one statement that does not wait for a lock by itself: two processes may start on a new file at once."""
    deadline = time.monotonic() + SQLITE_WAIT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that turns writer fails at once when another wrote in between; taking the write lock first waits.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(detail=_reason(error)) from error
    except PoolTimeout as error:
        raise DatabaseUnavailable(detail=N_("all its connections are in use")) from error


def _reason(error: DBAPIError) -> str:
    if is_disk_full(error):
        return ITS_DISK_IS_FULL
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error).__name__
