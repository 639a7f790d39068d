"""JSON that is kept: what an earlier release wrote is read, with fields added and removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa

from kb import redis as kb_redis
from kb.conversations import Conversations, Messages
from kb.database.tables import conversations, knowledge_bases, message_parts, messages
from kb.errors import from_code
from kb.formats import FORMAT, NUMBER, Unreadable, from_json, from_record, to_json, to_record
from kb.messages import Part, PassagesPart, Source, SourcesPart, TextPart, UsagePart
from kb.models import (
    IndexSettings,
    MessageState,
    Mode,
    Progress,
    Retrieval,
    RetrievalProfile,
    Role,
    Scope,
    VersionState,
)
from kb.progress import ProgressBoard, WorkerInfo
from tests.conftest import Library

# Recorded from the release before formats had a number. A file here never changes; each release adds its own.
RECORDED = json.loads((Path(__file__).parent / "formats" / "release_0_1.json").read_text(encoding="utf-8"))
KINDS: dict[str, type[Any]] = {
    "retrieval": Retrieval,
    "index_settings": IndexSettings,
    "profile": RetrievalProfile,
    "progress": Progress,
    "worker": WorkerInfo,
}
# Without these there is nothing to show; every other field has a default.
REQUIRED = {"chunk", "id", "document_id", "version_id", "stage", "done", "total", "rate", "at"}


@pytest.mark.parametrize("name", KINDS)
def test_recorded_format_is_read_whole(name: str) -> None:
    record = RECORDED[name]
    written = to_json(from_json(KINDS[name], record))
    assert written.pop(FORMAT) == NUMBER
    assert set(written) >= set(record)
    assert to_json(from_json(KINDS[name], written)) == written | {FORMAT: NUMBER}


def test_recorded_values_are_kept() -> None:
    retrieval = from_record(RECORDED["retrieval"])
    best, second = retrieval.passages
    assert (best.document_name, best.chunk.page, best.chunk.heading) == ("apples.md", 2, "Fruit › Apples")
    assert best.chunk.version_id == UUID(int=2)
    assert best.dense
    assert (best.dense.score, second.dense) == (0.45, None)
    assert retrieval.trace.steps[2].note == "left out: its weight is 0"
    assert retrieval.trace.profile.top_k == 7
    progress = from_json(Progress, RECORDED["progress"])
    assert (progress.stage, progress.done, progress.rate) == (VersionState.EMBEDDING, 64, 12.34)
    assert progress.at == from_json(WorkerInfo, RECORDED["worker"]).since == datetime(2026, 1, 1, tzinfo=UTC)
    assert from_json(IndexSettings, RECORDED["index_settings"]) == IndexSettings(index_type="FLAT", m=32)


def dicts_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from dicts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from dicts_in(inner)


@pytest.mark.parametrize("name", KINDS)
def test_unknown_fields_are_ignored(name: str) -> None:
    record = json.loads(json.dumps(RECORDED[name]))
    expected = from_json(KINDS[name], record)
    for fields in list(dicts_in(record)):
        fields["of_a_later_release"] = "new"
    assert from_json(KINDS[name], record | {FORMAT: NUMBER + 1}) == expected


@pytest.mark.parametrize("name", KINDS)
def test_missing_fields_take_their_defaults(name: str) -> None:
    for place, fields in enumerate(dicts_in(RECORDED[name])):
        for field in set(fields) - REQUIRED:
            record = json.loads(json.dumps(RECORDED[name]))
            del list(dicts_in(record))[place][field]
            from_json(KINDS[name], record)


def test_search_terms_are_not_kept() -> None:
    retrieval = from_record(RECORDED["retrieval"])
    assert all(passage["chunk"]["terms"] == "" for passage in to_record(retrieval)["passages"])


def test_stored_errors_of_other_releases_are_read() -> None:
    assert str(from_code("of_a_later_release", {"name": "a.md"})) == "Something went wrong."
    assert "…" in str(from_code("damaged_file", {"of_a_later_release": "x"}))


def test_conversation_opens_whatever_was_stored_with_its_answers(library: Library) -> None:
    messages = Messages(library.database)
    conversation = Conversations(library.database).create(
        library.user, "Q", Mode.KNOWLEDGE, Scope.of(library.knowledge_base().id)
    )
    records = [RECORDED["retrieval"] | {"of_a_later_release": 1}, {"passages": [{"chunk": {}}]}, {"passages": 7}]
    ids = []
    for record in records:
        answer = messages.ask(library.user, conversation.id, "Q")
        parts: list[Part] = [TextPart("A [1]"), SourcesPart((Source(1, "apples.md", 2),)), UsagePart("m")]
        messages.finish(library.user, answer.id, MessageState.DONE, parts)
        with library.database.write() as connection:
            for position, kind in enumerate([PassagesPart.kind, "of_a_later_release"], 5):
                part = {"message_id": answer.id, "position": position, "kind": kind, "body": record}
                connection.execute(sa.insert(message_parts), part)
        ids.append(answer.id)
    listed = {message.id: message for message in messages.shown(library.user, conversation.id)}
    assert [listed[each].content for each in ids] == ["A [1]"] * 3
    assert [listed[each].sources for each in ids] == [SourcesPart((Source(1, "apples.md", 2),))] * 3
    assert [listed[each].retrieval for each in ids] == [None] * 3
    opened = [messages.get(library.user, each) for each in ids]
    assert [message.has_lost_passages for message in opened] == [False, True, True]
    assert opened[0].retrieval == from_record(RECORDED["retrieval"])


def test_knowledge_base_of_another_release_opens(library: Library) -> None:
    base = library.knowledge_base()
    settings = {"index_settings": RECORDED["index_settings"] | {"new": 1}, "profile": {"top_k": 9, "new": 1}}
    with library.database.write() as connection:
        connection.execute(sa.update(knowledge_bases).values(settings))
    found = library.knowledge_bases.get(library.user, base.id)
    assert found.index == IndexSettings(index_type="FLAT", m=32)
    assert found.profile == RetrievalProfile(top_k=9)


def test_conversation_of_another_release_is_listed_and_opens(library: Library) -> None:
    own, asking = Conversations(library.database), Messages(library.database)
    conversation = own.create(library.user, "Which apples are there?", Mode.WEB)
    asking.finish(library.user, asking.ask(library.user, conversation.id, "Q").id, MessageState.DONE, [TextPart("A")])
    with library.database.write() as connection:
        connection.execute(sa.update(conversations).values(mode="agent"))
        connection.execute(sa.update(messages).values(mode="agent", role="tool", state="waiting"))
    (listed,) = own.search(library.user)
    opened = own.get(library.user, conversation.id)
    assert (listed.mode, opened.mode) == (Mode.KNOWLEDGE, Mode.KNOWLEDGE)
    assert [(each.mode, each.role, each.state, each.content) for each in asking.shown(library.user, listed.id)] == [
        (Mode.KNOWLEDGE, Role.NOTICE, MessageState.DONE, text) for text in ("Q", "A")
    ]
    own.note_choice(library.user, conversation.id)
    assert asking.ask(library.user, conversation.id, "And pears?").mode is Mode.KNOWLEDGE


def test_progress_and_workers_of_other_releases(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushall()
        board = ProgressBoard(kb_redis.QuickRedis(client))
        version = UUID(int=2)
        client.hset(kb_redis.progress_key(version), mapping=RECORDED["progress"])
        client.hset(kb_redis.progress_key(UUID(int=3)), mapping={"stage": "of a later release"})
        assert board.read([version, UUID(int=3)]) == {version: from_json(Progress, RECORDED["progress"])}
        facts: list[tuple[str, str]] = [("host:1:x", json.dumps(RECORDED["worker"])), ("other", "{}"), ("odd", "?")]
        for worker_id, text in facts:
            client.sadd(kb_redis.WORKERS, worker_id)
            client.set(kb_redis.worker_key(worker_id), text)
        assert [worker.id for worker in board.workers()] == ["host:1:x"]


def test_unreadable_json_raises_unreadable() -> None:
    calls: list[Callable[[], object]] = [
        lambda: from_json(Progress, {}),
        lambda: from_record({"passages": [{"chunk": {"id": "x"}}]}),
    ]
    for call in calls:
        with pytest.raises(Unreadable):
            call()
