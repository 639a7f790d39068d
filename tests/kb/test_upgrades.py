"""A database is copied before it is upgraded, and the copy is the way back."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from kb.config import Settings
from kb.database import HEAD, Database
from kb.database.copies import KEPT, PARTIAL
from kb.database.migrate import alembic_config, upgrade
from kb.errors import SetupError
from tests import real_services
from tests.conftest import MakeSettings
from tests.real_services import ROOT

FORMER = ScriptDirectory.from_config(alembic_config()).get_revision(HEAD).down_revision


@pytest.fixture(scope="module")
def former_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as the former release left it, with a user in it."""
    settings = Settings(_env_file=None, zhiwen_home=tmp_path_factory.mktemp("former"))  # type: ignore[call-arg]
    database = Database(settings)
    assert isinstance(FORMER, str)
    upgrade(database.engine, FORMER)
    database.close()
    with closing(sqlite3.connect(settings.sqlite_path)) as connection, connection:
        connection.execute("INSERT INTO users (id, name, created_at) VALUES (?, 'kept', '2026-01-01')", [uuid4().hex])
    return settings.sqlite_path


@pytest.fixture
def settings(make_settings: MakeSettings, former_file: Path) -> Settings:
    settings = make_settings(database_url="")
    settings.home.mkdir()
    shutil.copy(former_file, settings.sqlite_path)
    return settings


def migrate(settings: Settings) -> None:
    database = Database(settings)
    try:
        database.migrate(settings.backups)
    finally:
        database.close()


def copies(settings: Settings) -> list[Path]:
    return sorted(path for path in settings.backups.glob("*") if not path.name.startswith("."))


def state(path: Path) -> tuple[str, str]:
    """The migration of a database, and the name of its user."""
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("SELECT version_num, name FROM alembic_version, users").fetchall()
    return found[0], found[1]


def documented_steps(place: int) -> str:
    """The commands of one block of the documentation, the first is 0."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = text.partition("### Go back to the former release")[2]
    return section.split("```sh\n")[place + 1].partition("```")[0]


def run(steps: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ZHIWEN_HOME": str(settings.home), "DATABASE_URL": settings.database_url}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", steps], env=environment, capture_output=True, text=True, check=False
    )


def test_documented_way_back(settings: Settings) -> None:
    migrate(settings)
    assert state(settings.sqlite_path) == (HEAD, "kept")
    (copy,) = copies(settings)
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-before-[\w.]+-schema-{FORMER}\.db", copy.name)
    run(documented_steps(0), settings).check_returncode()
    assert state(settings.sqlite_path) == (FORMER, "kept")
    migrate(settings)
    assert state(settings.sqlite_path) == (HEAD, "kept")


def test_new_database_is_not_copied(make_settings: MakeSettings, settings: Settings) -> None:
    migrate(settings)
    migrate(settings)
    assert len(copies(settings)) == 1
    fresh = make_settings(zhiwen_home=settings.home / "fresh")
    migrate(fresh)
    assert copies(fresh) == []


def test_processes_that_start_at_once_make_one_copy(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, [settings] * 4))
    assert len(copies(settings)) == 1


def test_full_disk_stops_the_upgrade(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("kb.database.copies.shutil.disk_usage", lambda _folder: usage(10**9, 10**9, 5_000))
    with pytest.raises(SetupError, match=r"cannot be written: the disk is full\. Nothing was changed\. Make 10\d MB"):
        migrate(settings)
    assert state(settings.sqlite_path) == (FORMER, "kept")
    assert copies(settings) == []


def test_copy_that_breaks_off_stops_the_upgrade(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_source: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("kb.database.copies.copy_sqlite", fill)
    with pytest.raises(SetupError, match="the disk is full"):
        migrate(settings)
    assert state(settings.sqlite_path) == (FORMER, "kept")
    assert copies(settings) == []


def test_failed_upgrade_leaves_no_copy(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(command, "upgrade", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        migrate(settings)
    assert state(settings.sqlite_path) == (FORMER, "kept")
    assert copies(settings) == []


def test_last_copies_are_kept(settings: Settings) -> None:
    settings.backups.mkdir()
    (settings.backups / "mine.db").touch()
    old = [settings.backups / f"2020010{day}-000000-before-0.1-schema-0001.db" for day in range(1, 5)]
    left = old[0].with_name(old[0].name + PARTIAL)  # by a process that was killed
    for path in [*old, left]:
        path.touch()
    migrate(settings)
    kept = copies(settings)
    assert [path.name for path in kept[: KEPT - 1]] == [path.name for path in old[-(KEPT - 1) :]]
    assert [path.name for path in kept[KEPT:]] == ["mine.db"]


# --- PostgreSQL ---

MOMENT = datetime(2026, 1, 1, 3, 4, 5, 678, UTC)
TRICKY = 'tab\tline\nback\\slash \\. \\N "quoted" 知问 😀'


@pytest.fixture
def former_postgresql(postgresql: real_services.PostgreSQL, make_settings: MakeSettings) -> Settings:
    """As the former release left it, with rows that refer to each other, and one value of each kind."""
    settings = make_settings(database_url=empty_former(postgresql, make_settings))
    database = Database(settings)
    user, base, document, conversation = (uuid4() for _ in range(4))
    with database.write() as connection:
        rows: dict[str, dict[str, Any]] = {
            "users": {"id": user, "name": TRICKY},
            "knowledge_bases": {
                "id": base,
                "owner_id": user,
                "name": TRICKY,
                "index_settings": {"a": [1, None, TRICKY]},
            },
            "documents": {"id": document, "knowledge_base_id": base, "name": "", "live_version_id": None},
            "versions": {"document_id": document, "listed_in": base, "state": "parsing", "size_bytes": 2**40},
            "conversations": {"id": conversation, "owner_id": user},
        }
        for table, values in rows.items():
            add_row(connection, table, values)
        question = add_row(connection, "messages", {"conversation_id": conversation, "parts": [{"text": TRICKY}]})
        add_row(connection, "messages", {"conversation_id": conversation, "ordinal": 1, "parent_id": question})
    database.close()
    return settings


def empty_former(postgresql: real_services.PostgreSQL, make_settings: MakeSettings) -> str:
    """The URL of a database with the tables of the former release."""
    url = postgresql.new_database()
    database = Database(make_settings(database_url=url))
    assert isinstance(FORMER, str)
    upgrade(database.engine, FORMER)
    database.close()
    return url


def add_row(connection: sa.Connection, name: str, values: dict[str, Any]) -> UUID:
    """`values`, and something for each other column that must have a value."""
    table = sa.Table(name, sa.MetaData(), autoload_with=connection)
    row: dict[str, Any] = {"id": uuid4()} | values
    for column in table.columns:
        if column.name in row or column.nullable or column.server_default is not None or column.computed is not None:
            continue
        kind = column.type.python_type
        row[column.name] = MOMENT if kind is datetime else {} if kind is object else kind()  # JSON may be any object
    connection.execute(sa.insert(table), row)
    row_id: UUID = row["id"]
    return row_id


def all_rows(url: str) -> dict[str, list[str]]:
    query = psycopg.sql.SQL("SELECT * FROM {} ORDER BY 1")
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        return {
            name: [str(row) for row in connection.execute(query.format(psycopg.sql.Identifier(name)))]
            for (name,) in names
        }


def test_documented_way_back_of_postgresql(
    former_postgresql: Settings, postgresql: real_services.PostgreSQL, make_settings: MakeSettings
) -> None:
    settings, before = former_postgresql, all_rows(former_postgresql.database_url)
    assert [len(before[table]) for table in ("users", "versions", "messages")] == [1, 1, 2]
    migrate(settings)
    (copy,) = copies(settings)
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-before-[\w.]+-schema-{FORMER}\.sql\.gz", copy.name)
    new = settings.model_copy(update={"database_url": empty_former(postgresql, make_settings)})
    database = Database(new)
    with database.write() as connection:
        add_row(connection, "users", {"name": "made by the first start"})
    run(documented_steps(2), new).check_returncode()
    assert all_rows(new.database_url) == before
    with database.read() as connection:
        assert connection.scalar(sa.text("SELECT activity FROM versions")) == 2
    database.close()
    migrate(new)
    newest = all_rows(new.database_url)
    assert newest["alembic_version"] == [str((HEAD,))]
    ended = run(documented_steps(2).replace("tail -n 1", "head -n 1"), new)
    assert ended.returncode != 0
    assert "the tables are of another one" in ended.stderr
    assert all_rows(new.database_url) == newest


def test_postgresql_is_copied_once_by_processes_that_start_at_once(former_postgresql: Settings) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, [former_postgresql] * 4))
    migrate(former_postgresql)
    assert len(copies(former_postgresql)) == 1


def test_nobody_writes_between_the_copy_and_the_upgrade(
    former_postgresql: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in the copy would be lost on the way back."""

    def write(*_arguments: object) -> None:
        with psycopg.connect(former_postgresql.database_url, options="-c lock_timeout=50ms") as other:
            other.execute("UPDATE users SET name = 'late'")

    monkeypatch.setattr(command, "upgrade", write)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        migrate(former_postgresql)


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "unreadable"])
def test_copy_of_postgresql_that_fails_stops_the_upgrade(
    former_postgresql: Settings, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    before = all_rows(former_postgresql.database_url)
    usage = namedtuple("usage", "total used free")
    if is_full:
        monkeypatch.setattr("kb.database.copies.shutil.disk_usage", lambda _folder: usage(10**9, 10**9, 5_000))
    else:
        monkeypatch.setattr("kb.database.copies.sync", lambda _path: Path("/nowhere").stat())
    with pytest.raises(SetupError, match=r"cannot be written: .*\. Nothing was changed\. Make \d+ MB"):
        migrate(former_postgresql)
    assert all_rows(former_postgresql.database_url) == before
    assert copies(former_postgresql) == []
