"""Run the migrations from inside the program, without an alembic.ini."""

from contextlib import ExitStack, nullcontext
from pathlib import Path

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from kb.database.copies import copy_before_upgrade, keep_newest, one_at_a_time
from kb.errors import N_, SetupError

HOW_TO_GO_BACK = "docs/operations.md, “Go back to the former release”"

log = structlog.get_logger()


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(engine: sa.Engine, revision: str = "head", backups: Path | None = None) -> None:
    """Bring the schema to `revision`. Processes that start at once take turns; the later ones find nothing to do.

    A database with tables is first copied into the folder `backups`, if one is given.
    Errors: `SetupError` for a schema that no script here leads to, or if there is no room for the copy.
    """
    is_sqlite = engine.dialect.name == "sqlite"  # on PostgreSQL, a lock of its own has them take turns
    with one_at_a_time(backups) if backups and is_sqlite else nullcontext():
        try:
            _upgrade(engine, revision, backups)
        except CommandError as error:
            raise SetupError(
                N_("The database belongs to another version of Zhiwen ({detail})."),
                N_("Start that version, or a newer one."),
                detail=error,
            ) from error


def _upgrade(engine: sa.Engine, revision: str, backups: Path | None) -> None:
    """Errors: `CommandError`."""
    config = alembic_config()
    copy: Path | None = None
    with ExitStack() as undo:
        with engine.execution_options(writes=True).begin() as connection:  # from here on, nobody else writes
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7265)"))
            present, wanted = _revisions(config, connection, revision)
            if present == wanted:
                return
            if present and backups:
                copy = _copy(engine, connection, present, backups)
                undo.callback(copy.unlink, missing_ok=True)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        undo.pop_all()  # the copy stays
    if copy and backups:
        keep_newest(backups)
    if present:
        log.warning("database.upgraded", before=present, copy=str(copy or "none"), to_go_back=HOW_TO_GO_BACK)


def _copy(engine: sa.Engine, connection: sa.Connection, present: str, backups: Path) -> Path:
    """On PostgreSQL in the transaction of the upgrade, so that nothing is written between the two."""
    if connection.dialect.name == "postgresql":
        return copy_before_upgrade(connection, present, backups)
    with engine.connect() as source:  # the transaction of the upgrade keeps others from writing
        return copy_before_upgrade(source, present, backups)


def _revisions(config: Config, connection: sa.Connection, revision: str) -> tuple[str | None, str]:
    """Which migration was applied last, None for an empty database, and which is to be. Errors: `CommandError`."""
    scripts = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(connection).get_current_revision()
    if present:
        scripts.get_revision(present)  # one that is not ours is refused
    return present, scripts.get_revision(revision).revision
