"""What a session remembers: ids, choices and drafts. The truth is in SQL."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from kb.answers.streams import Arrived
from kb.errors import KbError
from kb.messages import Attached
from kb.models import NOWHERE, Choices, KnowledgeBase, Mode, Retrieval, Scope, User
from pages.ui import resources

NO_MODEL = "none"  # in the address; every model's id has a slash


@dataclass(slots=True)
class LiveAnswer:
    """What this session has seen of a running answer."""

    arrived: Arrived = field(default_factory=Arrived)
    polls: int = 0
    is_cut_off: bool = False  # Redis is not responding
    has_ended: bool = False


@dataclass(slots=True)
class Draft:
    """A question that was sent, and its files: those that are still to be saved, and those that are."""

    question: str
    uploads: list[UploadedFile] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refused:
    """A question that could not be asked, why, and whom it was meant for."""

    draft: Draft
    reason: KbError
    mode: Mode
    knowledge_base_id: UUID | None
    without: str = ""  # the name of a file that it may be asked without


@dataclass(frozen=True, slots=True)
class Deleted:
    """A conversation that was deleted here, until when the pages offer to undo that, and whether it was open."""

    id: UUID
    title: str
    until: float  # of `time.monotonic`
    was_open: bool


@dataclass(slots=True)
class State:
    mode: Mode = Mode.KNOWLEDGE
    conversation_id: UUID | None = None
    knowledge_base_id: UUID | None = None
    search_engine: str = ""  # the id; empty: the default
    chat_model: str | None = None  # this tab's own choice; None: the user's last one
    remembered: Choices | None = None  # what SQL was told last; None: the tab has just been opened
    address: dict[str, str] = field(default_factory=dict)  # the choices as this session last wrote them there
    # A switch before the conversation exists; its line is drawn, and stored with the first question.
    switched: bool = False
    refused: Refused | None = None  # the last question, if it could not be asked
    running: UUID | None = None  # the run of the answer that the page follows
    # Asked while an answer was being written in this conversation, and asked in earnest once that has ended.
    next_question: tuple[UUID, Draft] | None = None
    shown_messages: int = 20
    begun: UUID | None = None  # the conversation that the last first question began
    talk_search: str = ""  # what the sidebar's list of conversations is searched for
    shown_talks: int = 30
    deleted: list[Deleted] = field(default_factory=list)  # the last one at the end
    choices: int = 0  # how many were made in the sidebar: each closes it on a phone
    told: tuple[KbError, ...] = ()  # what the last run of the whole page said at its top
    told_at: float = 0.0  # of `time.monotonic`
    has_dialog: bool = False  # since the last run of the whole page
    has_parts: bool = False  # the last run of the whole page drew an open conversation to its end (`redraw_parts`)
    live: dict[UUID, LiveAnswer] = field(default_factory=dict)  # by their runs
    test: tuple[UUID, Retrieval] | None = None  # the tested knowledge base and what it found

    @property
    def scope(self) -> Scope:
        """Where the next question is looked up."""
        return Scope.of(self.knowledge_base_id) if self.mode.uses_documents else NOWHERE


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
        _begin(user, resources.services().knowledge_bases.list(user.id))
    keep_in_address()
    chosen = Choices(current.mode, current.knowledge_base_id, current.search_engine)
    if chosen != current.remembered:
        resources.services().users.remember_choices(resources.current_user().id, chosen)
        current.remembered = chosen


def _begin(user: User, knowledge_bases: list[KnowledgeBase]) -> None:
    """A new tab or F5: take over the choices in the address, else the user's last ones, as far as they still hold."""
    current, query = state(), st.query_params
    chosen = user.last_choices
    if chosen.knowledge_base_id not in [base.id for base in knowledge_bases]:
        chosen = replace(chosen, knowledge_base_id=None)
    if "mode" in query or "knowledge_base" in query:
        engine = query.get("engine", chosen.search_engine)
        chosen = Choices.from_texts(query.get("mode", chosen.mode), query.get("knowledge_base"), engine)
    current.mode, current.knowledge_base_id = chosen.mode, chosen.knowledge_base_id
    current.search_engine = chosen.search_engine
    if model := query.get("model"):
        current.chat_model = "" if model == NO_MODEL else model
    current.remembered = chosen


def keep_in_address() -> None:
    """Write this tab's choices into its address, so that F5 keeps them whatever other tabs choose.

    A knowledge base that somebody else wrote there (a link, the Back button) is a choice, too.
    """
    current = state()
    written = st.query_params.get("knowledge_base")
    if current.address and written not in (None, current.address.get("knowledge_base")):
        current.knowledge_base_id = query_id("knowledge_base") or current.knowledge_base_id
    wanted = {"mode": current.mode.value}
    if current.knowledge_base_id:
        wanted["knowledge_base"] = str(current.knowledge_base_id)
    if current.search_engine:
        wanted["engine"] = current.search_engine
    if current.chat_model is not None:
        wanted["model"] = current.chat_model or NO_MODEL
    if any(st.query_params.get(name) != value for name, value in wanted.items()):
        st.query_params.update(wanted)
    current.address = wanted


def query_id(name: str) -> UUID | None:
    """The id in the address's query; None if there is none, or no id."""
    try:
        return UUID(st.query_params.get(name, ""))
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


def settle_choices(knowledge_bases: list[KnowledgeBase]) -> bool:
    """Where none is chosen, or the chosen one is gone, another one steps in. Whether it is gone."""
    current = state()
    chosen = current.knowledge_base_id
    if is_missing := chosen not in [base.id for base in knowledge_bases]:
        current.knowledge_base_id = preferred(knowledge_bases)
    keep_in_address()
    return is_missing and chosen is not None
