"""History: all conversations, to search, open, rename and delete."""

from __future__ import annotations

from itertools import groupby

import streamlit as st

from kb.errors import KbError
from kb.extracts import escape_markdown as escape
from kb.models import Conversation, User
from pages.ui.chat_sidebar import mode_names
from pages.ui.feedback import confirm, errors_flashed, show_error
from pages.ui.i18n import _, day, time_of_day
from pages.ui.resources import current_user, services
from pages.ui.state import state

PAGE_CONVERSATIONS = 30
SEARCH_KEY = "history_search"
PAGE_KEY = "history_page"


def main() -> None:
    st.header(_("History"), anchor=False)
    try:
        draw_history(current_user())
    except KbError as error:
        show_error(error)


def draw_history(user: User) -> None:
    search = st.text_input(
        _("Search"),
        key=SEARCH_KEY,
        type="search",
        placeholder=_("Words from a title or a message"),
        icon=":material/search:",
        on_change=_show_first_page,
    )
    total = services().conversations.count(user.id, search or "")
    if not total:
        st.write(_("No conversation contains these words.") if search else _("You have not asked anything yet."))
        if not search:
            st.page_link("chat.py", label=_("Ask your first question"), icon=":material/forum:")
        return
    pages = -(-total // PAGE_CONVERSATIONS)
    page = st.pagination(pages, key=PAGE_KEY) if pages > 1 else 1
    found = services().conversations.search(
        user.id, search or "", offset=(page - 1) * PAGE_CONVERSATIONS, limit=PAGE_CONVERSATIONS
    )
    for label, of_a_day in groupby(found, key=lambda conversation: day(conversation.updated_at)):
        st.caption(f"**{label}**")
        for conversation in of_a_day:
            draw_conversation(user, conversation)


def _show_first_page() -> None:
    st.session_state[PAGE_KEY] = 1  # of what another search finds


def draw_conversation(user: User, conversation: Conversation) -> None:
    with st.container(horizontal=True, vertical_alignment="center", border=True, key=f"conversation-{conversation.id}"):
        st.page_link(
            "chat.py",
            label=f"**{escape(conversation.title)}**",
            query_params={"conversation": str(conversation.id)},
            width="stretch",
        )
        st.caption(f"{mode_names()[conversation.mode]} · {time_of_day(conversation.updated_at)}", width="content")
        popover = f"editing-{conversation.id}"
        with st.popover(
            _("Rename"), icon=":material/edit:", type="tertiary", help=_("Rename"), key=popover, on_change="rerun"
        ):
            key = f"title-{conversation.id}"
            with st.form(f"rename-form-{conversation.id}", border=False):
                st.text_input(_("Title"), value=conversation.title, key=key)
                st.form_submit_button(
                    _("Rename"),
                    key=f"rename-{conversation.id}",
                    on_click=_rename,
                    args=(user, conversation, key, popover),
                )
        if st.button(
            _("Delete"),
            icon=":material/delete:",
            key=f"delete_conversation-{conversation.id}",
            type="tertiary",
            help=_("Delete"),
        ):
            question = _("Delete “{name}” with all its messages? This cannot be undone.").format(
                name=escape(conversation.title)
            )
            confirm(
                _("Delete conversation"), question, _("Delete"), lambda: _delete(user, conversation), "confirm_delete"
            )


def _rename(user: User, conversation: Conversation, key: str, popover: str) -> None:
    st.session_state[popover] = False
    with errors_flashed():
        services().conversations.rename(user.id, conversation.id, st.session_state[key])


def _delete(user: User, conversation: Conversation) -> None:
    if state().conversation_id == conversation.id:
        state().conversation_id = None
    with errors_flashed():
        services().conversations.delete(user.id, conversation.id)


main()
