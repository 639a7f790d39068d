"""What the documents of a knowledge base are made of: the digests of their newest files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from kb.access import Principal
from kb.database import Database
from kb.database.tables import documents, versions
from kb.errors import KbError, from_code
from kb.library.rows import find_knowledge_base
from kb.models import VersionState

_IDS_AT_ONCE = 500
_CONTENTS: sa.Select[Any] = (
    sa.select(
        *(versions.c[name] for name in ("id", "document_id", "sha256", "size_bytes")),
        *(versions.c[name] for name in ("state", "error", "error_values")),
        documents.c.name,
    )
    .join(documents, documents.c.id == versions.c.document_id)
    .where(versions.c.listed_in == sa.bindparam("of_knowledge_base"))
)
_NEWEST_FIRST = _CONTENTS.order_by(versions.c.created_at.desc(), versions.c.id)
_SOME = _CONTENTS.where(versions.c.id.in_(sa.bindparam("of_versions", expanding=True)))


@dataclass(frozen=True, slots=True)
class Content:
    """The newest version of a document. `sha256` is in hexadecimal digits; empty for files of old releases.

    `error` says why it failed.
    """

    version_id: UUID
    document_id: UUID
    name: str
    sha256: str
    size_bytes: int
    state: VersionState
    error: KbError | None = None


def contents(database: Database, principal: Principal, knowledge_base_id: UUID) -> list[Content]:
    """Of all documents, the newest first. Errors: `NotFound`."""
    with database.read() as connection:
        find_knowledge_base(connection, principal, knowledge_base_id)
        return [_to_content(row) for row in connection.execute(_NEWEST_FIRST, {"of_knowledge_base": knowledge_base_id})]


def contents_of(
    database: Database, principal: Principal, knowledge_base_id: UUID, version_ids: Collection[UUID]
) -> list[Content]:
    """Of those versions that are their documents' newest ones, in any order. Errors: `NotFound`."""
    found, ids = [], iter(version_ids)
    with database.read() as connection:
        find_knowledge_base(connection, principal, knowledge_base_id)
        while some := list(islice(ids, _IDS_AT_ONCE)):
            of = {"of_knowledge_base": knowledge_base_id, "of_versions": some}
            found += [_to_content(row) for row in connection.execute(_SOME, of)]
    return found


def _to_content(row: sa.Row[Any]) -> Content:
    error = from_code(row.error, row.error_values) if row.error else None
    state = VersionState(row.state)
    return Content(row.id, row.document_id, row.name, row.sha256, row.size_bytes, state, error)
