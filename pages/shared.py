"""A conversation that somebody has shared by a link: to read, with the passages of its answers."""

from __future__ import annotations

from functools import partial

import streamlit as st

from kb.conversations import SharedConversation
from kb.errors import KbError, NotFound
from kb.extracts import escape_markdown as escape
from kb.messages import Message
from kb.models import Mode, Role
from pages.ui.actions import draw_citations
from pages.ui.feedback import live_fragment, show_error
from pages.ui.i18n import _, moment
from pages.ui.messages import draw_asked, draw_ending, draw_notice, draw_text
from pages.ui.passages import draw_passages, open_passage
from pages.ui.resources import has_login, services
from pages.ui.state import FIRST_MESSAGES, MORE_MESSAGES
from pages.ui.steps import draw_found, draw_searched_for
from pages.ui.web_results import draw_web_results, open_web_passage

LINK = "link"  # in the address
SHOWN_KEY = "shared_messages"


def main() -> None:
    token, limit = st.query_params.get(LINK, ""), st.session_state.get(SHOWN_KEY, FIRST_MESSAGES)
    try:
        shared = services().conversation_links.read(token, limit)
    except NotFound:
        st.info(_("There is no conversation at this link. It may have been withdrawn."), icon=":material/link_off:")
        st.page_link("chat.py", label=_("Go to the chat"), icon=":material/forum:")
        return
    except KbError as error:
        show_error(error)
        return
    draw(shared, token)


def draw(shared: SharedConversation, token: str) -> None:
    st.header(escape(shared.title), anchor=False)
    shared_by = _("Shared by {name}").format(name=escape(shared.owner_name)) if has_login() else ""
    until = _("It shows what was said until {when}.").format(when=moment(shared.shared_at))
    st.caption(" · ".join(filter(None, [shared_by, until])))
    if shared.messages and shared.messages[0].parent_id:
        with st.container(horizontal_alignment="center"):
            st.button(_("Load earlier messages"), key="load_earlier", type="tertiary", on_click=_show_more)
    for message in shared.messages:
        with st.container(key=f"message-{message.id}"):
            if message.role is Role.NOTICE:
                draw_notice(message.mode, message.content, len(message.scope.document_ids))
            elif message.role is Role.USER:
                draw_asked(message.content, [each.name for each in message.attached])
            else:
                draw_answer(message, token)


def draw_answer(message: Message, token: str) -> None:
    """What it says and what it rests on. Passages are read when they are opened."""

    @live_fragment()
    def draw_it() -> None:
        with st.chat_message("assistant"):
            draw_searched_for(message.searched_for)
            if message.sources and message.sources.passages:
                draw_found(message.sources, message.id, partial(_draw_sources, message, token))
            if message.content:
                draw_text(message, has_formulas=bool(message.model))
            draw_ending(message)

    draw_it()
    draw_citations(message, partial(_open_passage, message, token))


def _draw_sources(message: Message, token: str) -> None:
    whole, suffix = services().conversation_links.message(token, message.id), f"-{message.id}"
    if message.mode is Mode.WEB and whole.web:
        draw_web_results(whole.web, suffix)
    elif whole.retrieval:
        draw_passages(whole.retrieval, suffix)


def _open_passage(message: Message, token: str, rank: int) -> None:
    whole = services().conversation_links.message(token, message.id)
    if message.mode is Mode.WEB and whole.web:
        open_web_passage(whole.web, rank)
    elif whole.retrieval:
        open_passage(whole.retrieval, rank, has_document=False)


def _show_more() -> None:
    st.session_state[SHOWN_KEY] = st.session_state.get(SHOWN_KEY, FIRST_MESSAGES) + MORE_MESSAGES


main()
