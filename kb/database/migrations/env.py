"""Alembic's entry: uses the connection it is handed, in the caller's transaction."""

from alembic import context

from kb.database.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, transaction_per_migration=False
)
context.run_migrations()
