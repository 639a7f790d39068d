"""Files that a knowledge base holds already: the same name, and the same content byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kb.database.tables import documents, versions
from kb.library.rows import DOCUMENT_COLUMNS, to_document
from kb.models import Document, Version, VersionState

_GIVEN_UP = [state.value for state in VersionState if state.is_given_up]
# An index leads to the few of this name, or of this size.
_HAS_NAME = sa.and_(
    versions.c.listed_in == sa.bindparam("of_knowledge_base"),
    versions.c.folded_name == sa.bindparam("of_folded_name"),
    documents.c.name == sa.bindparam("of_name"),
)
_HOLDS = sa.and_(
    versions.c.sha256 == sa.bindparam("of_sha256"),
    versions.c.size_bytes == sa.bindparam("of_size"),
    versions.c.state.not_in(_GIVEN_UP),
    versions.c.cancel_requested.is_(False),
)
_LISTED = versions.join(documents, documents.c.id == versions.c.document_id)
_TWINS = (
    sa.select(*DOCUMENT_COLUMNS)
    .select_from(_LISTED)
    .where(_HAS_NAME, _HOLDS)
    .order_by(versions.c.created_at.desc(), versions.c.id)
)
_NAMESAKE = sa.select(documents.c.id).select_from(_LISTED).where(_HAS_NAME).limit(1)
_HELD = sa.select(versions.c.id).where(versions.c.id == sa.bindparam("of_version"), _HOLDS)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an uploaded file.

    `was_there`: the document had this content already, and nothing was added. `shares_name`: another document has the
    same name, and other content.
    """

    document: Document
    was_there: bool = False
    shares_name: bool = False


def find_twins(connection: sa.Connection, name: str, arrived: Mapping[str, Any]) -> Sequence[Document]:
    """The documents with this name whose newest content is that of `arrived`, a version's row; the newest first.

    Not those that failed or were cancelled. Whoever must not miss one holds the lock of the knowledge base.
    """
    return [to_document(row) for row in connection.execute(_TWINS, _name_of(name, arrived) | _content_of(arrived))]


def has_namesake(connection: sa.Connection, name: str, arrived: Mapping[str, Any]) -> bool:
    return connection.scalar(_NAMESAKE, _name_of(name, arrived)) is not None


def holds(connection: sa.Connection, version: Version, arrived: Mapping[str, Any]) -> bool:
    """Whether a version has the content of `arrived`, and has neither failed nor been cancelled."""
    return connection.scalar(_HELD, {"of_version": version.id} | _content_of(arrived)) is not None


def _name_of(name: str, arrived: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "of_knowledge_base": arrived["listed_in"],
        "of_folded_name": arrived["folded_name"],
        "of_name": name,
    }


def _content_of(arrived: Mapping[str, Any]) -> dict[str, Any]:
    return {"of_sha256": arrived["sha256"], "of_size": arrived["size_bytes"]}
