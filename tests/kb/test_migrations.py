"""Migrations upwards from the first revision, with data in it, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from alembic import command

from kb.access import Principal
from kb.conversations import Conversations, Messages
from kb.database import Database
from kb.database.migrate import alembic_config, upgrade
from kb.database.tables import FOLDED_CHARACTERS, documents, versions
from kb.library import Documents, FileStore, KnowledgeBases
from kb.library.counts import recount
from kb.models import DocumentOrder, RetrievalProfile, VersionState
from kb.names import fold
from kb.vectors import VectorStore
from tests.conftest import MakeSettings
from tests.fakes.queue import RecordingQueue

START = datetime(2026, 1, 1, tzinfo=UTC)
USER, BASE, CONVERSATION = Principal(uuid4()), uuid4(), uuid4()


@pytest.fixture
def database(make_settings: MakeSettings, database_url: str) -> Iterator[Database]:
    """At the first revision."""
    database = Database(make_settings(database_url=database_url))
    upgrade(database.engine, "0001")
    yield database
    database.close()


def insert(database: Database, table: str, **values: Any) -> UUID:
    """A row as the first release wrote it."""
    reflected = sa.Table(table, sa.MetaData(), autoload_with=database.engine)
    row_id: UUID = values.setdefault("id", uuid4())
    if database.is_sqlite:
        values = {name: value.hex if isinstance(value, UUID) else value for name, value in values.items()}
    with database.write() as connection:
        connection.execute(sa.insert(reflected), values)
    return row_id


def add_document(database: Database, name: str, *states: str, is_deleted: bool = False) -> UUID:
    """A document with a version in each of `states`, the newest last; the last ready one is live."""
    document_id, live = uuid4(), None
    version_ids = [uuid4() for _ in states]
    for version_id, state in zip(version_ids, states, strict=True):
        live = version_id if state == "ready" else live
    deleted_at = START if is_deleted else None
    values = {"knowledge_base_id": BASE, "name": name, "live_version_id": live, "created_at": START}
    insert(database, "documents", id=document_id, deleted_at=deleted_at, **values)
    for place, (version_id, state) in enumerate(zip(version_ids, states, strict=True)):
        numbers = dict.fromkeys(("pages", "chunks", "stored_chunks", "attempts", "crashes", "waits"), 0)
        texts = dict.fromkeys(("chunks_digest", "lease_owner", "error"), "")
        insert(
            database,
            "versions",
            id=version_id,
            document_id=document_id,
            state=state,
            file_key="k",
            size_bytes=7,
            cancel_requested=is_deleted,
            error_values={},
            created_at=START + timedelta(minutes=place),
            **numbers,
            **texts,
        )
    return document_id


def fill(database: Database) -> None:
    insert(database, "users", id=USER.user_id, name="user", chat_model="", created_at=START)
    base = {"owner_id": USER.user_id, "name": "Base", "collection": "c", "embedding_model": "m", "dimension": 3}
    base |= {"index_settings": {"m": 8}, "profile": {"top_k": 9}, "created_at": START}
    insert(database, "knowledge_bases", id=BASE, **base)
    for name, states in {
        "Ready.pdf": ["ready"],
        "ЗАМЕНЁН.pdf": ["ready", "queued"],
        "Failed.pdf": ["failed"],
        "Running.pdf": ["embedding"],
        "Cancelled.pdf": ["cancelled"],
    }.items():
        add_document(database, name, *states)
    add_document(database, "Deleted.pdf", "ready", is_deleted=True)
    moments = {"created_at": START, "updated_at": START}
    conversation = {"owner_id": USER.user_id, "title": "ВОПРОС", "mode": "llm", "knowledge_base_id": BASE}
    insert(database, "conversations", id=CONVERSATION, **conversation, **moments)
    for ordinal, (role, content) in enumerate([("notice", "Base"), ("user", "Grüße"), ("assistant", "ΣΊΣΥΦΟΣ")]):
        insert(
            database,
            "messages",
            conversation_id=CONVERSATION,
            ordinal=ordinal,
            role=role,
            state="done",
            mode="llm",
            content=content,
            model="",
            error="",
            error_values={},
            created_at=START,
        )


def test_data_of_the_first_revision_is_kept_and_found(database: Database, make_settings: MakeSettings) -> None:
    fill(database)
    database.migrate()
    settings, queue = make_settings(), RecordingQueue()
    documents = Documents(database, FileStore(settings.uploads), VectorStore(settings), queue)
    found = documents.list(USER, BASE, order=DocumentOrder.NAME)
    assert {document.name: document.latest.state for document in found} == {
        "Ready.pdf": VersionState.READY,
        "ЗАМЕНЁН.pdf": VersionState.QUEUED,
        "Failed.pdf": VersionState.FAILED,
        "Running.pdf": VersionState.EMBEDDING,
        "Cancelled.pdf": VersionState.CANCELLED,
    }
    first = documents.list(USER, BASE, limit=2)
    assert [document.name for document in first] == ["Running.pdf", "ЗАМЕНЁН.pdf"]
    assert [document.name for document in documents.list(USER, BASE, search="заменён")] == ["ЗАМЕНЁН.pdf"]
    assert documents.queue_places(USER, [document.latest.id for document in found]) == {first[1].latest.id: 1}
    base = KnowledgeBases(database, queue).get(USER, BASE)
    assert (base.document_count, base.ready_count, base.profile.top_k, base.index.m) == (5, 2, 9, 8)
    with database.write() as connection:
        assert recount(connection, BASE) == {}
    conversations = Conversations(database)
    for search in ("вопрос", "GRÜSSE", "σίσυφος"):
        assert [each.id for each in conversations.search(USER, search)] == [CONVERSATION], search
    assert conversations.search(USER, "base") == []  # a notice is no text of the conversation
    assert [message.content for message in Messages(database).shown(USER, CONVERSATION)] == ["Base", "Grüße", "ΣΊΣΥΦΟΣ"]


def test_documents_get_the_format_that_their_name_says(database: Database) -> None:
    fill(database)
    add_document(database, "陈旧.MD", "failed")
    add_document(database, "unknown.xyz", "failed")
    database.migrate()
    with database.read() as connection:
        found = connection.execute(
            sa.select(documents.c.name, versions.c.media_type, versions.c.sha256, versions.c.notes)
            .join(versions, versions.c.document_id == documents.c.id)
            .where(versions.c.state == "failed")
        ).all()
    assert sorted(map(tuple, found), key=str) == [
        ("Failed.pdf", "application/pdf", "", {}),
        ("unknown.xyz", "", "", {}),
        ("陈旧.MD", "text/markdown", "", {}),
    ]


OLD_WEIGHTS = {"dense_weight": 0.45, "lexical_weight": 0.55}


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({}, RetrievalProfile()),
        ({"top_k": 9, "threshold": 0.1} | OLD_WEIGHTS, RetrievalProfile(top_k=9)),
        ({"threshold": 0.3} | OLD_WEIGHTS, RetrievalProfile(0.45, 0.55, threshold=0.3)),
        ({"threshold": 0.1, "dense_weight": 0.2, "lexical_weight": 0.8}, RetrievalProfile(0.2, 0.8, threshold=0.1)),
    ],
)
def test_unchanged_profile_gets_the_new_defaults(
    database: Database, stored: dict[str, Any], expected: RetrievalProfile
) -> None:
    fill(database)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE knowledge_bases SET profile = :profile"), {"profile": json.dumps(stored)})
    database.migrate()
    assert KnowledgeBases(database, RecordingQueue()).get(USER, BASE).profile == expected
    config = alembic_config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
        kept = connection.scalar(sa.select(sa.table("knowledge_bases", sa.column("profile", sa.JSON())).c.profile))
    assert {"threshold": 0.1} | OLD_WEIGHTS | (kept or {}) == {"threshold": 0.1} | OLD_WEIGHTS | stored


def test_empty_database_of_the_first_revision_migrates(database: Database) -> None:
    database.migrate()
    assert sa.inspect(database.engine).has_table("document_counts")


def test_name_that_folds_into_many_characters_fits_the_index(database: Database) -> None:
    """Revisions before 0005 kept all of them, which PostgreSQL would refuse."""
    fill(database)
    name = "\ufdfa" * 255  # each one folds into 18 characters
    document_id = add_document(database, name, "ready")
    database.migrate()
    with database.read() as connection:
        folded = connection.scalar(sa.select(versions.c.folded_name).where(versions.c.document_id == document_id))
    assert folded == fold(name)[:FOLDED_CHARACTERS]


def test_texts_in_traditional_characters_are_found_in_simplified_ones(
    database: Database, make_settings: MakeSettings
) -> None:
    """Revisions before 0012 folded them to what they are."""
    fill(database)
    document_id = add_document(database, "Manual.pdf", "ready")
    upgrade(database.engine, "0011")
    with database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.document_id == document_id).values(folded_name="手冊"))
        connection.execute(sa.text("UPDATE conversations SET folded_title = '發票'"))
        connection.execute(sa.text("UPDATE message_texts SET text = '頭髮' WHERE text = 'grüsse'"))
    database.migrate()
    conversations, settings = Conversations(database), make_settings()
    for search in ("发票", "發票", "头发", "σίσυφος"):
        assert [each.id for each in conversations.search(USER, search)] == [CONVERSATION], search
    documents = Documents(database, FileStore(settings.uploads), VectorStore(settings), RecordingQueue())
    assert [each.id for each in documents.list(USER, BASE, search="手册")] == [document_id]


def test_folded_names_survive_a_downgrade(database: Database) -> None:
    fill(database)
    database.migrate()
    config = alembic_config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        names = connection.scalars(sa.text("SELECT folded_name FROM documents ORDER BY folded_name")).all()
    assert names == sorted(["ready.pdf", "заменён.pdf", "failed.pdf", "running.pdf", "cancelled.pdf", "deleted.pdf"])
    database.migrate()


def test_unknown_dimension_survives_a_downgrade(database: Database) -> None:
    """Revisions before 0013 had no knowledge base without one."""
    fill(database)
    database.migrate()
    bases = KnowledgeBases(database, RecordingQueue())
    new = bases.create(USER, "New", "m")
    config = alembic_config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0012")
        stored = connection.execute(sa.text("SELECT name, dimension FROM knowledge_bases ORDER BY name")).all()
    assert [tuple(row) for row in stored] == [("Base", 3), ("New", 0)]
    database.migrate()
    assert [bases.get(USER, base_id).dimension for base_id in (BASE, new.id)] == [3, None]
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(documents)) == 6
