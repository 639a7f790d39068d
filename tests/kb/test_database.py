"""The schema and its migrations, on SQLite and PostgreSQL."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

from kb.config import Settings
from kb.database import HEAD, Database
from kb.database.migrate import alembic_config, upgrade
from kb.database.tables import metadata, users
from kb.errors import DatabaseUnavailable, SetupError
from tests import real_services
from tests.conftest import MakeSettings, add_user
from tests.real_services import ROOT, free_port

MIGRATE = """
import sys
from kb.config import load_settings
from kb.database import Database
database = Database(load_settings(_env_file=None, zhiwen_home=sys.argv[1], database_url=sys.argv[2]))
sys.stdin.readline()
database.migrate()
database.close()
"""


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == HEAD


def test_migrations_create_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_second_migration_changes_nothing(database: Database) -> None:
    user = add_user(database, "kept")
    database.migrate()
    upgrade(database.engine)
    with database.read() as connection:
        assert connection.scalars(sa.select(users.c.id)).all() == [user.user_id]


def test_two_processes_can_migrate_at_once(make_settings: MakeSettings, database_url: str) -> None:
    settings = make_settings(database_url=database_url)
    command = [sys.executable, "-c", MIGRATE, str(settings.home), database_url]
    starters = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) for _ in "12"
    ]
    for starter in starters:
        assert starter.stdin
        starter.stdin.write("go\n")
        starter.stdin.flush()
    complaints = [starter.communicate(timeout=30)[1] for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0], complaints
    database = Database(settings)
    assert sa.inspect(database.engine).has_table("versions")
    database.close()


def test_failed_write_leaves_nothing(database: Database) -> None:
    def break_off() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(users), {"name": "half"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    add_user(database, "kept")
    with database.read() as connection:
        assert connection.scalars(sa.select(users.c.name)).all() == ["kept"]


def test_ping_names_the_server(database: Database) -> None:
    assert database.ping().startswith("SQLite 3" if database.is_sqlite else "PostgreSQL ")


def test_unreachable_database_is_reported(make_settings: MakeSettings) -> None:
    database = Database(make_settings(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none"))
    for call in (database.ping, database.migrate):
        with pytest.raises(DatabaseUnavailable):
            call()
    database.close()


def test_silent_host_times_out(make_settings: MakeSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        database = Database(make_settings(database_url=f"{url}?connect_timeout=2"))  # overrides our own 5 s
        with pytest.raises(DatabaseUnavailable):
            database.ping()
        database.close()


def test_file_that_is_not_a_database_is_reported(make_settings: MakeSettings) -> None:
    settings = make_settings(database_url="")
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.sqlite_path.write_text("This is no database. " * 100)
    database = Database(settings)
    with pytest.raises(SetupError, match="file is not a database"):
        database.migrate()
    database.close()


@pytest.mark.parametrize("name", ["what?", "100 %25 数据", "a#b&c"])
def test_folder_can_have_any_name(make_settings: MakeSettings, tmp_path: Path, name: str) -> None:
    settings = make_settings(database_url="", zhiwen_home=tmp_path / name)
    database = Database(settings)
    database.migrate()
    database.close()
    assert settings.sqlite_path.is_file()


def test_schema_of_another_version_is_reported(make_settings: MakeSettings, database_url: str) -> None:
    database = Database(make_settings(database_url=database_url))
    database.migrate()
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SetupError, match="another version of Zhiwen"):
        database.migrate()
    database.close()


def test_missing_permission_to_create_tables_is_reported(
    make_settings: MakeSettings, postgresql: real_services.PostgreSQL
) -> None:
    url = make_url(postgresql.new_database())
    with psycopg.connect(url.render_as_string(False), autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    guest = Database(make_settings(database_url=url.set(username="guest").render_as_string(False)))
    with pytest.raises(SetupError, match="permission denied for schema public"):
        guest.migrate()
    guest.close()


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_postgresql_uses_psycopg_3(make_settings: MakeSettings, prefix: str) -> None:
    settings: Settings = make_settings(database_url=f"{prefix}u:p@h/d")
    assert settings.sql_url == "postgresql+psycopg://u:p@h/d"
