"""Who may see what: every statement on a user's things starts here."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from kb.database.tables import Base, DocumentRow, KnowledgeBaseRow, VersionRow
from kb.errors import N_, NotFound

# For the translators: what `NotFound` can be about.
KNOWLEDGE_BASE = N_("knowledge base")
DOCUMENT = N_("document")

# Stated once, and without a row to build from it: each upload asks it twice.
_knowledge_bases = Base.metadata.tables["knowledge_bases"]
_OWN = sa.select(_knowledge_bases.c.id).where(
    _knowledge_bases.c.id == sa.bindparam("of_knowledge_base"),
    _knowledge_bases.c.owner_id == sa.bindparam("of_user"),
    _knowledge_bases.c.deleted_at.is_(None),
)
_OWN_LOCKED = _OWN.with_for_update()


def require_knowledge_base(
    connection: Session | sa.Connection, user_id: UUID, knowledge_base_id: UUID, lock: bool = False
) -> None:
    """`NotFound` unless `user_id` owns it and has not deleted it. `lock`: nobody changes it meanwhile."""
    of = {"of_knowledge_base": knowledge_base_id, "of_user": user_id}
    if connection.scalar(_OWN_LOCKED if lock else _OWN, of) is None:
        raise NotFound(what=KNOWLEDGE_BASE)


def own_knowledge_base(
    session: Session, user_id: UUID, knowledge_base_id: UUID, lock: bool = False
) -> KnowledgeBaseRow:
    """The row, if `user_id` owns it and has not deleted it; else `NotFound`. `lock`: nobody changes it meanwhile."""
    row = session.get(KnowledgeBaseRow, knowledge_base_id, with_for_update=lock or None)
    if row is None or row.owner_id != user_id or row.deleted_at is not None:
        raise NotFound(what=KNOWLEDGE_BASE)
    return row


def own_document(
    session: Session, user_id: UUID, document_id: UUID, lock: bool = False
) -> tuple[DocumentRow, VersionRow]:
    """The row and its newest version, if `user_id` owns its knowledge base; else `NotFound`.

    `lock`: nobody changes either meanwhile.
    """
    statement = (
        sa.select(DocumentRow, VersionRow)
        .join(VersionRow, VersionRow.document_id == DocumentRow.id)
        .where(DocumentRow.id == document_id, DocumentRow.deleted_at.is_(None))
        .order_by(VersionRow.created_at.desc())
        .limit(1)
    )
    if lock:
        # The document before the version, as `Claims.switch` does: in another order the two would wait for each other.
        statement = statement.with_for_update(of=(DocumentRow, VersionRow))
    found = session.execute(statement).one_or_none()
    if found is None:
        raise NotFound(what=DOCUMENT)
    document, version = found
    require_knowledge_base(session, user_id, document.knowledge_base_id)
    return document, version
