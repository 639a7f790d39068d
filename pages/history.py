"""History: all conversations, to search, filter, open, rename, pin, download and delete."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from kb.errors import KbError
from kb.models import Conversation, KnowledgeBase, Mode, User
from pages.ui.chat_sidebar import mode_names
from pages.ui.feedback import show_error
from pages.ui.i18n import _, day, ngettext, time_of_day
from pages.ui.resources import current_user, services
from pages.ui.scope import base_labels
from pages.ui.talks import draw_page_list

PAGE_CONVERSATIONS = 30
SEARCH_KEY = "history_search"
MODE_KEY = "history_mode"
BASE_KEY = "history_knowledge_base"
PAGE_KEY = "history_page"


def main() -> None:
    st.header(_("History"), anchor=False)
    try:
        draw_retention()
        draw_history(current_user())
    except KbError as error:
        show_error(error)


def draw_retention() -> None:
    """Say for how long conversations are kept, where it is not for ever."""
    if days := services().settings.conversation_days:
        text = ngettext(
            "Conversations without a new question for {count} day are deleted, except pinned ones.",
            "Conversations without a new question for {count} days are deleted, except pinned ones.",
            days,
        )
        with st.container(key="retention"):
            st.caption(text)


def draw_history(user: User) -> None:
    conversations = services().conversations
    knowledge_bases = services().knowledge_bases.list(user.principal)
    if not conversations.count(user.principal):
        st.write(_("You have not asked anything yet."))
        st.page_link("chat.py", label=_("Ask your first question"), icon=":material/forum:")
        draw_page_list([], _day, _note, {}, empty="")  # it may offer to undo a deletion
        return
    search, mode, base_id = draw_filters(knowledge_bases)
    total = conversations.count(user.principal, search, mode, base_id)
    pages = max(1, -(-total // PAGE_CONVERSATIONS))
    if pages < st.session_state.get(PAGE_KEY, 1):
        st.session_state[PAGE_KEY] = pages  # something was deleted
    page = st.session_state.get(PAGE_KEY, 1) if pages > 1 else 1
    is_narrowed = bool(search or mode or base_id)
    if is_narrowed and total:
        st.caption(ngettext("{count} conversation found", "{count} conversations found", total))
    found = conversations.search(
        user.principal, search, (page - 1) * PAGE_CONVERSATIONS, PAGE_CONVERSATIONS, mode, base_id
    )
    export = {"search": search, "mode": mode.value if mode else "", "knowledge_base": str(base_id or "")}
    draw_page_list(found, _day, _note, export, empty="" if total else _nothing(search))
    if is_narrowed and not total:
        st.button(_("Show all conversations"), key="history_show_all", on_click=_clear)
    if pages > 1:
        st.pagination(pages, key=PAGE_KEY)


def draw_filters(knowledge_bases: list[KnowledgeBase]) -> tuple[str, Mode | None, UUID | None]:
    """The words, the mode and the knowledge base that the list is narrowed to."""
    modes, bases = mode_names(), base_labels(knowledge_bases)
    # The choice of all is "": a box whose choice is None has Streamlit's own words and a button to clear it.
    with st.container(horizontal=True, vertical_alignment="bottom", key="history-filters"):
        search = st.text_input(
            _("Search"),
            key=SEARCH_KEY,
            type="search",
            placeholder=_("Words from a title or a message"),
            icon=":material/search:",
            on_change=_show_first_page,
        )
        mode = st.selectbox(
            _("Mode"),
            ["", *modes],
            format_func=lambda each: modes.get(each) or _("All modes"),
            key=MODE_KEY,
            width=200,
            on_change=_show_first_page,
        )
        base_id: object = ""
        if bases:
            base_id = st.selectbox(
                _("Knowledge base"),
                ["", *bases],
                format_func=lambda each: bases.get(each, "…") if each else _("All knowledge bases"),
                key=BASE_KEY,
                width=200,
                on_change=_show_first_page,
            )
    # The browser names its choices by their labels; one that has changed since arrives as text.
    return (
        (search or "").strip(),
        mode if isinstance(mode, Mode) else None,
        base_id if isinstance(base_id, UUID) else None,
    )


def _show_first_page() -> None:
    st.session_state[PAGE_KEY] = 1  # of what another search finds


def _clear() -> None:
    for key in (SEARCH_KEY, MODE_KEY, BASE_KEY):
        st.session_state[key] = ""
    _show_first_page()


def _nothing(search: str) -> str:
    return _("No conversation contains these words.") if search else _("No conversation matches.")


def _day(conversation: Conversation) -> str:
    return day(conversation.updated_at)


def _note(conversation: Conversation) -> str:
    mode = mode_names()[conversation.mode]
    # Pinned ones stand together, whatever their days.
    when = day(conversation.updated_at) if conversation.pinned_at else time_of_day(conversation.updated_at)
    return f"{mode} · {when}"


main()
