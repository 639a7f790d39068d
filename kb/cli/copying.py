"""What a backup consists of, and rows between databases. A backup is a tar file:

    zhiwen.db       everything in SQL, as SQLite, whichever database it was in
    secret.key      what the API keys in SQL are encrypted with, unless SECRET_KEY is set
    uploads/…       the original files
    manifest.json   the format, the release, the names of the settings that were set, without their values, and which
                    uploads are missing

Milvus and Redis are not in it: both follow SQL and the uploads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from kb.config import Settings
from kb.database import Database
from kb.database.tables import metadata

MANIFEST, DATABASE, KEY, UPLOADS = "manifest.json", "zhiwen.db", "secret.key", "uploads"
FORMAT = 1
ROWS_AT_ONCE = 1_000


@contextmanager
def sqlite_in(folder: Path, settings: Settings) -> Iterator[Database]:
    """The database file `zhiwen.db` in a folder, with all tables of this release. Afterwards it is one file."""
    database = Database(settings.model_copy(update={"zhiwen_home": folder, "database_url": ""}))
    try:
        database.migrate()
        yield database
    finally:
        database.close()


def copy_rows(source: Database, target: Database) -> None:
    """All rows, as they are at one moment, into the empty tables of a database of the same release."""
    with source.read() as reading, target.write() as to:
        if not source.is_sqlite:  # whose transactions always see one moment
            reading.execution_options(isolation_level="REPEATABLE READ")
        for table in metadata.sorted_tables:
            columns = [column for column in table.columns if column.computed is None]
            found = reading.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(*columns))
            for some in found.mappings().partitions(ROWS_AT_ONCE):
                to.execute(sa.insert(table), [dict(row) for row in some])
