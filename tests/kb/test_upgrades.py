"""An SQLite database is copied before it is upgraded, and the copy is the way back."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from kb.config import Settings
from kb.database import HEAD, Database
from kb.database.copies import KEPT, PARTIAL
from kb.database.migrate import alembic_config, upgrade
from kb.errors import SetupError
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
    return sorted(settings.backups.glob("*.db*"))


def state(path: Path) -> tuple[str, str]:
    """The migration of a database, and the name of its user."""
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("SELECT version_num, name FROM alembic_version, users").fetchall()
    return found[0], found[1]


def test_documented_way_back(settings: Settings) -> None:
    migrate(settings)
    assert state(settings.sqlite_path) == (HEAD, "kept")
    (copy,) = copies(settings)
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-before-[\w.]+-schema-{FORMER}\.db", copy.name)
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = text.partition("### Go back to the former release")[2]
    steps = section.partition("```sh\n")[2].partition("```")[0]
    environment = {**os.environ, "ZHIWEN_HOME": str(settings.home)}
    subprocess.run(["bash", "-ec", steps], env=environment, check=True, capture_output=True)
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
