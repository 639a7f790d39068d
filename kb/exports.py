"""Conversations to take away: what is shown as Markdown, or everything as JSON."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import IO, Any
from uuid import UUID

from kb.access import Principal
from kb.audit import Action, record
from kb.citations import cited, without_dangling
from kb.conversations import Conversations, Messages
from kb.database import Database
from kb.errors import N_, KbError, NotFound, from_code
from kb.formats import FORMAT, NUMBER, to_json, to_record
from kb.library import KnowledgeBases
from kb.messages import Message, Part, PassagesPart, Source, SourcesPart, TextPart
from kb.models import Conversation, MessageState, Mode, Role, Scope
from kb.names import clean_label
from kb.web_search.passages import WebRetrieval

BATCH = 50  # conversations read at once for an archive
FILE_NAME_CHARACTERS = 80

_ENDINGS = {
    MessageState.STREAMING: N_("This answer is still being written."),
    MessageState.STOPPED: N_("This answer was stopped."),
    MessageState.INTERRUPTED: N_("This answer was interrupted because the server stopped."),
    MessageState.FAILED: N_("This answer failed."),
}
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')
_MARKUP = re.compile(r"([\\`*_\[\]<>#&~])")


class Format(StrEnum):
    """The files that a conversation can be taken away as, by their extensions."""

    MARKDOWN = "md"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Wording:
    """The reader's language and time zone."""

    translate: Callable[[str], str]
    modes: Mapping[Mode, str]
    moment: Callable[[datetime], str]  # a date and time
    place: Callable[[Source], str]  # "p. 3", "slide 3"; empty where a document has no pages
    dangling: Callable[[int], str]  # how many citations were left out
    reason: Callable[[KbError], str]  # why an answer failed


class Exports:
    """Each is recorded before anything is handed out."""

    def __init__(
        self, database: Database, conversations: Conversations, messages: Messages, knowledge_bases: KnowledgeBases
    ) -> None:
        self._database = database
        self._conversations = conversations
        self._messages = messages
        self._knowledge_bases = knowledge_bases

    def one(
        self, principal: Principal, conversation_id: UUID, file_format: Format, wording: Wording
    ) -> tuple[str, str]:
        """The name and the text of a conversation's file. Errors: `NotFound`."""
        conversation = self._conversations.get(principal, conversation_id)
        with self._database.write() as connection:
            record(connection, principal, Action.CONVERSATION_EXPORTED, conversation_id)
        return _file_name(conversation, file_format), self._text(
            principal, conversation, self._names(principal), file_format, wording
        )

    def write_all(
        self,
        target: IO[bytes],
        principal: Principal,
        file_format: Format,
        wording: Wording,
        search: str = "",
        mode: Mode | None = None,
        knowledge_base_id: UUID | None = None,
    ) -> None:
        """Write an archive (ZIP) with a file for each conversation that the search finds."""
        names, taken = self._names(principal), set[str]()
        found = self._found(principal, search, mode, knowledge_base_id)
        with self._database.write() as connection:
            record(connection, principal, Action.CONVERSATIONS_EXPORTED, count=len(found))
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for conversation in found:
                try:
                    text = self._text(principal, conversation, names, file_format, wording)
                except NotFound:
                    continue  # deleted meanwhile
                archive.writestr(_untaken(_file_name(conversation, file_format), taken), text)

    def _found(
        self, principal: Principal, search: str, mode: Mode | None, knowledge_base_id: UUID | None
    ) -> Collection[Conversation]:
        """All that the search finds, as it is at the start: later questions change the order."""
        found: dict[UUID, Conversation] = {}
        while True:
            batch = self._conversations.search(principal, search, len(found), BATCH, mode, knowledge_base_id)
            new = [each for each in batch if each.id not in found]
            found.update((each.id, each) for each in new)
            if not new:
                return found.values()

    def _names(self, principal: Principal) -> dict[UUID, str]:
        return {base.id: base.name for base in self._knowledge_bases.list(principal)}

    def _text(
        self,
        principal: Principal,
        conversation: Conversation,
        names: Mapping[UUID, str],
        file_format: Format,
        wording: Wording,
    ) -> str:
        messages = self._messages.tree(principal, conversation.id)
        if file_format is Format.JSON:
            return to_json_text(conversation, messages, names)
        return to_markdown(conversation, shown_branch(conversation, messages), names, wording)


def shown_branch(conversation: Conversation, messages: Sequence[Message]) -> list[Message]:
    """The messages of the branch that is shown, the oldest first."""
    by_id = {message.id: message for message in messages}
    branch: list[Message] = []
    at = conversation.shown_id
    while at and (message := by_id.get(at)):
        branch.append(message)
        at = message.parent_id
    return branch[::-1]


# --- Markdown ---


def to_markdown(
    conversation: Conversation, messages: Sequence[Message], names: Mapping[UUID, str], wording: Wording
) -> str:
    """The messages with their times and files, the models that answered, and the documents and pages that they cite."""
    lines = [f"# {escape(conversation.title)}", "", _choice(conversation.mode, conversation.scope, names, wording), ""]
    for message in messages:
        lines += _message(message, names, wording)
    return "\n".join(lines).rstrip() + "\n"


def _message(message: Message, names: Mapping[UUID, str], wording: Wording) -> Iterator[str]:
    say = wording.translate
    if message.role is Role.NOTICE:
        yield from (f"*{_choice(message.mode, message.scope, names, wording)}*", "")
        return
    who = say(N_("Question")) if message.role is Role.USER else say(N_("Answer"))
    about = [wording.moment(message.created_at), *([escape(message.model)] if message.model else [])]
    yield from (f"## {who}", "", f"*{' · '.join(about)}*", "")
    if message.content:
        yield from (without_dangling(message.content, message.sources), "")
    if message.attached:
        files = ", ".join(escape(each.name) for each in message.attached)
        with_files = say(N_("With {names}")).format(names=files)
        yield from (f"*{with_files}*", "")
    if message.state in _ENDINGS:
        why = message.error
        reason = f" {escape(wording.reason(from_code(why.code, why.values)))}" if why.code else ""
        yield from (f"*{say(_ENDINGS[message.state])}*{reason}", "")
    if dangling := message.dangling_citations:
        yield from (f"*{wording.dangling(dangling)}*", "")
    sources = message.sources or SourcesPart()
    # A search for passages has no text that could cite them.
    used = cited(message.content, sources) if message.content else sources.passages
    if used:
        yield from (say(N_("Sources:")), "")
        for source in used:
            yield f"- [{source.rank}] {_source(source, message.web, wording)}"
        yield ""


def _source(source: Source, web: WebRetrieval | None, wording: Wording) -> str:
    """A document with its page, or a web page with its address and when it was read."""
    name = escape(source.document_name)
    if not source.address:
        place = escape(wording.place(source))  # a sheet has a name
        return f"{name}, {place}" if place else name
    link = f"[{name}](<{source.address}>)"
    page = next((each for each in web.passages if each.rank == source.rank), None) if web else None
    if page is None or page.is_snippet or page.fetched_at is None:
        return link
    read = wording.translate(N_("read {moment}")).format(moment=wording.moment(page.fetched_at))
    return f"{link}, {read}"


def _choice(mode: Mode, scope: Scope, names: Mapping[UUID, str], wording: Wording) -> str:
    bases = [escape(names[each]) for each in scope.knowledge_base_ids if each in names]
    return " · ".join([wording.modes[mode], *bases])


def escape(text: str) -> str:
    """A name in a line of Markdown."""
    return _MARKUP.sub(r"\\\1", text)


# --- JSON ---


def to_json_text(conversation: Conversation, messages: Sequence[Message], names: Mapping[UUID, str]) -> str:
    """All branches with all parts. `parent_id` names the message before; `shown_id` ends the branch that is shown."""
    scopes = [conversation.scope, *(message.scope for message in messages)]
    bases = {each for scope in scopes for each in scope.knowledge_base_ids}
    content = {
        FORMAT: NUMBER,
        "id": str(conversation.id),
        "title": conversation.title,
        "mode": conversation.mode.value,
        "scope": to_json(conversation.scope),
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
        "pinned_at": conversation.pinned_at.isoformat() if conversation.pinned_at else None,
        "shown_id": str(conversation.shown_id) if conversation.shown_id else None,
        "knowledge_bases": {str(each): names[each] for each in sorted(bases) if each in names},
        "messages": [_record(message) for message in messages],
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _record(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "parent_id": str(message.parent_id) if message.parent_id else None,
        "role": message.role.value,
        "state": message.state.value,
        "mode": message.mode.value,
        "scope": to_json(message.scope),
        "created_at": message.created_at.isoformat(),
        "rating": to_json(message.rating),
        "dangling_citations": message.dangling_citations,
        "parts": [{"kind": part.kind, **_body(part, message)} for part in message.parts],
    }


def _body(part: Part, message: Message) -> dict[str, Any]:
    """A text is the model's own, but for citations that point to no passage: programs would follow them."""
    if isinstance(part, TextPart):
        part = replace(part, text=without_dangling(part.text, message.sources))
    return to_record(part.retrieval) if isinstance(part, PassagesPart) else to_json(part)


# --- names of files ---


def _file_name(conversation: Conversation, file_format: Format) -> str:
    """The title as a name that every system takes."""
    title = " ".join(clean_label(_UNSAFE.sub(" ", conversation.title)).split())[:FILE_NAME_CHARACTERS].strip(" .")
    return f"{title or conversation.id}.{file_format}"


def _untaken(name: str, taken: set[str]) -> str:
    """The name, with a number where an archive has it already; systems differ in whether case counts."""
    stem, _, extension = name.rpartition(".")
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{stem} ({number}).{extension}"
    taken.add(free.casefold())
    return free
