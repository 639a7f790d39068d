"""What a session remembers: ids, choices and drafts. The truth is in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from kb.answers.streams import Arrived
from kb.errors import KbError, NotFound
from kb.messages import Attached
from kb.models import NOWHERE, Choices, KnowledgeBase, Mode, Retrieval, RetrievalProfile, Scope, User
from pages.ui import resources
from pages.ui.saving import Saving, under_way

NO_MODEL = "none"  # in the address; every model's id has a slash
NEW = "new"  # in the address: `State.new_id`
JUST_BEGUN = timedelta(seconds=60)
FIRST_MESSAGES = 10  # that a conversation shows when it is opened: most readers look at the last two or three
MORE_MESSAGES = 16  # with each “Load earlier messages”
SEPARATOR = "."  # of ids in the address: none that it would have to escape


@dataclass(slots=True)
class LiveAnswer:
    """What this session has seen of a running answer."""

    arrived: Arrived = field(default_factory=Arrived)
    polls: int = 0
    grown: int = 0  # by how many characters of text, with the last poll
    is_cut_off: bool = False  # Redis is not responding
    has_ended: bool = False
    is_drawn: bool = False


@dataclass(slots=True)
class Draft:
    """A question that was sent, and its files: those that are still to be saved, and those that are."""

    question: str
    uploads: list[UploadedFile] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AskedNext:
    """A question that waited and has been asked: for the browser, which kept it as a draft. `number` counts them."""

    conversation_id: UUID | None = None
    question: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A question that could not be asked, why, and whom it was meant for."""

    draft: Draft
    reason: KbError
    mode: Mode
    scope: Scope | None  # None: it is gone
    without: str = ""  # the name of a file that it may be asked without


@dataclass(frozen=True, slots=True)
class Lost:
    """How many of the chosen knowledge bases and documents were deleted since."""

    knowledge_bases: int = 0
    documents: int = 0

    def __bool__(self) -> bool:
        return bool(self.knowledge_bases or self.documents)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A conversation that was deleted here, until when the pages offer to undo that, and whether it was open."""

    id: UUID
    title: str
    until: float  # of `time.monotonic`
    was_open: bool


@dataclass(frozen=True, slots=True)
class TestSettings:
    """How the testing page searches: as an answer was searched for, by the ids of the knowledge bases."""

    profiles: Mapping[UUID, RetrievalProfile] = field(default_factory=dict)  # empty: each knowledge base's own
    widened: int = 0


@dataclass(slots=True)
class State:
    mode: Mode = Mode.KNOWLEDGE
    conversation_id: UUID | None = None
    chosen: Scope = NOWHERE  # the knowledge bases, and the documents of them where some are chosen
    search_engine: str = ""  # the id; empty: the default
    chat_model: str | None = None  # this tab's own choice; None: the user's last one
    remembered: Choices | None = None  # what SQL was told last; None: the tab has just been opened
    address: dict[str, str] = field(default_factory=dict)  # the choices as this session last wrote them there
    page: str = ""  # the path of the one that runs; empty: the chat
    # Of the conversation that the next first question begins. It is in the address before that is sent, so that a tab
    # that is reloaded at once finds its question.
    new_id: UUID = field(default_factory=uuid4)
    # A switch before the conversation exists; its line is drawn, and stored with the first question.
    switched: bool = False
    unsent: str = ""  # a question that could not be sent, for the browser to keep as a draft
    has_unsent_files: bool = False  # that were sent with it
    refused: Refused | None = None  # the last question, if it could not be asked
    watched: Sequence[Saving] = ()  # questions that another tab was saving when the page was drawn last
    running: UUID | None = None  # the run of the answer that the page follows
    # By conversations: asked while an answer was being written there, and asked in earnest once that has ended.
    next_questions: dict[UUID, Draft] = field(default_factory=dict)
    asked_next: AskedNext = AskedNext()  # the last of them that was
    shown_messages: int = FIRST_MESSAGES
    begun: UUID | None = None  # the conversation that the last first question began
    talk_search: str = ""  # what the sidebar's list of conversations is searched for
    shown_talks: int = 30
    deleted: list[Deleted] = field(default_factory=list)  # the last one at the end
    choices: int = 0  # how many were made in the sidebar: each closes it on a phone
    # By the names of their widgets, and by the numbers in the keys: the values, the present one last (`choices`).
    shown_choices: dict[str, dict[int, Any]] = field(default_factory=dict)
    told: tuple[KbError, ...] = ()  # what the last run of the whole page said at its top
    told_at: float = 0.0  # of `time.monotonic`
    has_dialog: bool = False  # since the last run of the whole page
    has_parts: bool = False  # the last run of the whole page drew an open conversation to its end (`redraw_parts`)
    live: dict[UUID, LiveAnswer] = field(default_factory=dict)  # by their runs
    test: tuple[Scope, Retrieval] | None = None  # what was tested, and what it found
    test_settings: TestSettings = field(default_factory=TestSettings)

    @property
    def scope(self) -> Scope:
        """Where the next question is looked up."""
        return self.chosen if self.mode.uses_documents else NOWHERE

    def take_new_id(self) -> UUID:
        """The id for a conversation that begins now."""
        taken, self.new_id = self.new_id, uuid4()
        return taken

    def show(self, knowledge_base_id: UUID) -> None:
        """Another page shows a knowledge base: the next question goes there, unless it goes there anyway.

        The address names it first, and then the other chosen ones, whose files F5 has to find again.
        """
        if knowledge_base_id not in self.chosen.knowledge_base_ids:
            self.chosen = Scope.of(knowledge_base_id)
        _write_shown_first(knowledge_base_id, self.chosen)


def state() -> State:
    """This session's state."""
    if "state" not in st.session_state:
        st.session_state["state"] = State()
    found: State = st.session_state["state"]
    return found


def keep_choices() -> None:
    """F5 and a new tab begin with what was chosen here: the address is for this tab, SQL for the next one."""
    current = state()
    if current.remembered is None:
        user = resources.current_user()
        _begin(user, resources.services().knowledge_bases.list(user.principal))
    keep_in_address()
    chosen = Choices(current.mode, current.chosen, current.search_engine)
    if chosen != current.remembered:
        resources.services().users.remember_choices(resources.current_principal(), chosen)
        current.remembered = chosen


def _begin(user: User, knowledge_bases: list[KnowledgeBase]) -> None:
    """A new tab or F5: take over the choices in the address, else the user's last ones, as far as they still hold."""
    current, query = state(), st.query_params
    chosen = user.last_choices
    chosen = replace(chosen, scope=chosen.scope.among([base.id for base in knowledge_bases]))
    if "mode" in query or "knowledge_base" in query:
        chosen = Choices(
            Choices.from_texts(query.get("mode", chosen.mode), ()).mode,
            _scope(query.get("knowledge_base", ""), query.get("files", "")),
            query.get("engine", chosen.search_engine),
        )
    current.mode, current.chosen = chosen.mode, chosen.scope
    current.search_engine = chosen.search_engine
    if model := query.get("model"):
        current.chat_model = "" if model == NO_MODEL else model
    current.remembered = chosen
    if "conversation" not in query and (new_id := query_id(NEW)):
        _find_just_begun(current, user, new_id)


def _find_just_begun(current: State, user: User, conversation_id: UUID) -> None:
    """F5 right after the first question was sent: open what that began. Later, it is an old address that was kept."""
    with suppress(NotFound):
        found = resources.services().conversations.get(user.principal, conversation_id)
        if datetime.now(UTC) - found.created_at < JUST_BEGUN or under_way(found.id):
            current.conversation_id = current.begun = found.id


def keep_in_address() -> None:
    """Write this tab's choices into its address, so that F5 keeps them whatever other tabs choose.

    A knowledge base that somebody else wrote there (a link, the Back button) is a choice, too.
    """
    current, query = state(), st.query_params
    written = query.get("knowledge_base", "")
    is_of_others = bool(current.address and written) and written != current.address.get("knowledge_base")
    # The page of the knowledge bases shows one of those that are chosen, and its address names that one first.
    is_part = is_of_others and set(written.split(SEPARATOR)) <= set(map(str, current.chosen.knowledge_base_ids))
    if is_of_others and not is_part:
        linked = _scope(written, query.get("files", ""))
        current.chosen = linked if linked.knowledge_base_ids else current.chosen
    wanted = {"mode": current.mode.value}
    for name, ids in (("knowledge_base", current.chosen.knowledge_base_ids), ("files", current.chosen.document_ids)):
        if ids:
            wanted[name] = SEPARATOR.join(map(str, ids))
        else:
            forget_id(name)
    if current.search_engine:
        wanted["engine"] = current.search_engine
    if current.chat_model is not None:
        wanted["model"] = current.chat_model or NO_MODEL
    if current.page or current.conversation_id or "conversation" in query:
        forget_id(NEW)
    else:
        wanted[NEW] = str(current.new_id)
    current.address = dict(wanted)
    if is_part:
        wanted["knowledge_base"] = written
    if any(query.get(name) != value for name, value in wanted.items()):
        query.update(wanted)


def _write_shown_first(knowledge_base_id: UUID, chosen: Scope) -> None:
    others = [each for each in chosen.knowledge_base_ids if each != knowledge_base_id]
    st.query_params["knowledge_base"] = SEPARATOR.join(map(str, [knowledge_base_id, *others]))


def _scope(knowledge_bases: str, files: str) -> Scope:
    """The choice that an address names."""
    return Choices.from_texts(None, knowledge_bases.split(SEPARATOR), files.split(SEPARATOR)).scope


def query_id(name: str) -> UUID | None:
    """The id in the address's query, the first of several; None if there is none, or no id."""
    try:
        return UUID(st.query_params.get(name, "").partition(SEPARATOR)[0])
    except ValueError:
        return None


def open_conversation_id() -> UUID | None:
    """The conversation that the chat shows, or is about to show."""
    return query_id("conversation") or state().conversation_id


def forget_id(name: str) -> None:
    """Take the id out of the address's query; what else is there stays."""
    if name in st.query_params:
        del st.query_params[name]


def preferred(knowledge_bases: list[KnowledgeBase]) -> UUID | None:
    """The knowledge base to begin with: the newest that can answer, else the newest."""
    ranked = sorted(knowledge_bases, key=lambda base: (base.ready_count > 0, base.created_at))
    return ranked[-1].id if ranked else None


def settle_choices(user: User, knowledge_bases: list[KnowledgeBase]) -> Lost:
    """Take what was deleted since out of the choice. Where no knowledge base is left, another one steps in."""
    current = state()
    chosen = current.chosen
    settled = chosen.among([base.id for base in knowledge_bases])
    if settled.document_ids:
        held = resources.services().documents.chosen(user.principal, settled.knowledge_base_ids, settled.document_ids)
        there = {document_id for each in held.values() for document_id in each}
        settled = replace(settled, document_ids=tuple(each for each in settled.document_ids if each in there))
    if not settled.knowledge_base_ids:
        settled = Scope.of(preferred(knowledge_bases))
    current.chosen = settled
    keep_in_address()
    there_ids = set(settled.knowledge_base_ids)
    return Lost(
        sum(each not in there_ids for each in chosen.knowledge_base_ids),
        len(chosen.document_ids) - len(settled.document_ids),
    )
