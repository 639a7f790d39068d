"""The files that a question is asked with: waits until they are ready, and tells which of them an answer lacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from kb.access import Principal
from kb.errors import FileMissing, ImageNotSeen, ImageUnreadable, KbError, NotFound
from kb.llm import ChatModel
from kb.messages import Attached, LeftOut
from kb.models import Document, Original, Scope, VersionState
from kb.pictures import MEDIA_TYPES, MOST_PICTURES, to_data_url

LOOK_SECONDS = 0.4


class ConversationFiles(Protocol):
    """The files of conversations; see `kb.attachments.Attachments`."""

    def list(self, principal: Principal, conversation_id: UUID) -> Sequence[Document]: ...
    def original(self, principal: Principal, document: Document) -> Original: ...


@dataclass(frozen=True, slots=True)
class FilesAwaited:
    """How many files the answer waits for."""

    count: int


@dataclass(frozen=True, slots=True)
class FilesLeftOut:
    """Files that the answer goes on without."""

    files: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class AskedFiles:
    """What a question has of its conversation's files, once none of them is pending."""

    scope: Scope  # the question's, with the files that can be searched
    has_any: bool = False
    has_texts: bool = False  # any file can be searched
    pictures: tuple[Document, ...] = ()  # the newest last
    failed: Mapping[UUID, LeftOut] = field(default_factory=dict)  # of those that came with this question, by their ids


def with_files(scope: Scope, files: Sequence[Document]) -> Scope:
    """`scope` and the files of a conversation; `scope` itself if there are none."""
    if not files:
        return scope
    document_ids = scope.document_ids
    if document_ids:  # only these would be searched
        document_ids += tuple(document.id for document in files)
    knowledge_base_ids = *scope.knowledge_base_ids, files[0].knowledge_base_id
    return replace(scope, knowledge_base_ids=knowledge_base_ids, document_ids=document_ids)


async def wait_for_files(
    files: ConversationFiles,
    principal: Principal,
    conversation_id: UUID,
    scope: Scope,
    attached: Sequence[Attached],
    is_patient: bool = True,
) -> AsyncIterator[FilesAwaited | AskedFiles]:
    """Wait until each file of the conversation is ready or has failed; yields `AskedFiles` at the end.

    If not `is_patient`, it does without those that are pending.
    """
    told = 0
    while True:
        found = await asyncio.to_thread(files.list, principal, conversation_id)
        pending = sum(1 for document in found if document.latest.state.is_pending) if is_patient else 0
        if pending != told:
            told = pending
            yield FilesAwaited(pending)
        if not pending:
            break
        await asyncio.sleep(LOOK_SECONDS)
    has_texts = any(document.live_version_id for document in found)
    if has_texts:
        scope = with_files(scope, found)
    came = {each.document_id for each in attached}
    pictures = tuple(document for document in found if document.latest.media_type in MEDIA_TYPES)
    failed = {
        document.id: LeftOut(document.name, document.latest.error, document.latest.error_values)
        for document in found
        if document.latest.state is VersionState.FAILED and str(document.id) in came
    }
    yield AskedFiles(scope, bool(found), has_texts, pictures[-MOST_PICTURES:], failed)


def show_pictures(
    files: ConversationFiles,
    principal: Principal,
    asked: AskedFiles,
    attached: Sequence[Attached],
    model: ChatModel | None,
) -> tuple[list[str], tuple[LeftOut, ...]]:
    """The pictures as addresses for the model, and the files of the question that the answer lacks.

    A picture that is removed meanwhile is neither.
    """
    sent: list[str] = []
    failed = dict(asked.failed)
    came = {each.document_id for each in attached}
    for document in asked.pictures:
        try:
            if model is None:
                continue
            if not model.sees_images:
                raise ImageNotSeen(name=document.name, model=model.name)
            sent.append(to_data_url(files.original(principal, document)))
            failed.pop(document.id, None)  # it has no text, but was seen
        except NotFound:
            failed.pop(document.id, None)
        except (ImageNotSeen, ImageUnreadable, FileMissing) as error:
            if str(document.id) in came:
                failed[document.id] = _left_out(document.name, error)
    return sent, tuple(failed.values())


def _left_out(name: str, error: KbError) -> LeftOut:
    return LeftOut(name, error.code, error.values)
