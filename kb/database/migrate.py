"""Run the migrations from inside the program, without an alembic.ini."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from kb.errors import N_, SetupError


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema to `revision`. Processes that start at once take turns; the later ones find nothing to do.

    Errors: `SetupError` for a schema that no script here leads to.
    """
    config = alembic_config()
    with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7265)"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise SetupError(
                N_("The database belongs to another version of Zhiwen ({detail})."),
                N_("Start that version, or a newer one."),
                detail=error,
            ) from error
