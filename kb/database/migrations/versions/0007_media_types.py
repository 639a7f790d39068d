"""A version's format and digest, decided when it is registered, and notes on what its chunks lack of the file."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# Formats as releases before this one read them: by the name's extension.
_OPEN_XML = "application/vnd.openxmlformats-officedocument"
MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".log": "text/plain",
    ".rst": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".docx": f"{_OPEN_XML}.wordprocessingml.document",
    ".pptx": f"{_OPEN_XML}.presentationml.presentation",
    ".xlsx": f"{_OPEN_XML}.spreadsheetml.sheet",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
}
BATCH = 1_000

versions = sa.table("versions", sa.column("id", sa.Uuid()), sa.column("document_id"), sa.column("media_type"))
documents = sa.table("documents", sa.column("id"), sa.column("name"))


def upgrade() -> None:
    op.add_column("versions", sa.Column("sha256", sa.String(64), server_default="", nullable=False))
    op.add_column("versions", sa.Column("media_type", sa.String(100), server_default="", nullable=False))
    op.add_column("versions", sa.Column("notes", sa.JSON(), server_default=json.dumps({}), nullable=False))
    connection = op.get_bind()
    named = sa.select(versions.c.id, documents.c.name).join(documents, documents.c.id == versions.c.document_id)
    change = sa.update(versions).where(versions.c.id == sa.bindparam("of_version"))
    found = connection.execute(named).all()
    changes = [{"of_version": row.id, "media_type": MEDIA_TYPES.get(_extension(row.name), "")} for row in found]
    for first in range(0, len(changes), BATCH):
        connection.execute(change, changes[first : first + BATCH])


def downgrade() -> None:
    for column in ("notes", "media_type", "sha256"):
        op.drop_column("versions", column)


def _extension(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/").strip()).suffix.lower()
