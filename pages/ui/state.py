"""What a session remembers: ids, choices and drafts. The truth is in SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import streamlit as st

from kb.errors import KbError
from kb.models import KnowledgeBase, Mode, Retrieval


@dataclass(slots=True)
class LiveAnswer:
    """What this session has seen of a running answer."""

    position: str = "0-0"
    text: str = ""
    reasoning: str = ""
    retrieval: Retrieval | None = None
    polls: int = 0
    is_cut_off: bool = False  # Redis does not answer
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A question that could not be asked, why, and whom it was meant for."""

    question: str
    reason: KbError
    mode: Mode
    knowledge_base_id: UUID | None


@dataclass(slots=True)
class State:
    mode: Mode = Mode.KNOWLEDGE
    conversation_id: UUID | None = None
    knowledge_base_id: UUID | None = None
    # A switch before the conversation exists; its line is drawn, and stored with the first question.
    switched: bool = False
    refused: Refused | None = None  # the last question, if it could not be asked
    shown_messages: int = 20
    choices: int = 0  # how many were made in the sidebar: each closes it on a phone
    has_dialog: bool = False  # since the last run of the whole page
    live: dict[UUID, LiveAnswer] = field(default_factory=dict)
    test: tuple[UUID, Retrieval] | None = None  # the tested knowledge base and what it found


def state() -> State:
    """This session's state."""
    if "state" not in st.session_state:
        st.session_state["state"] = State()
    found: State = st.session_state["state"]
    return found


def query_id(name: str) -> UUID | None:
    """The id in the address's query; None if there is none, or no id."""
    try:
        return UUID(st.query_params.get(name, ""))
    except ValueError:
        return None


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
    if chosen in [base.id for base in knowledge_bases]:
        return False
    current.knowledge_base_id = preferred(knowledge_bases)
    return chosen is not None
