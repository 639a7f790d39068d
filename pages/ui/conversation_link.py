"""The dialog in which the owner of a conversation shares it by a link, and withdraws that."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

import streamlit as st

from kb.access import Principal
from kb.conversations import Link
from kb.extracts import escape_markdown as escape
from kb.models import Conversation
from pages.ui.feedback import dialog, errors_flashed, errors_shown, show_flash
from pages.ui.i18n import _, moment
from pages.ui.resources import has_login, services
from pages.ui.session_cookie import home_path


def open_link(principal: Principal, conversation: Conversation) -> None:
    @dialog(_("Share “{name}” by a link").format(name=escape(conversation.title)))
    @errors_shown()
    def share() -> None:
        link = services().conversation_links.find(principal, conversation.id)
        if link:
            _draw_link(principal, conversation, link)
        else:
            _draw_offer(principal, conversation)
        show_flash()

    share()


def _draw_offer(principal: Principal, conversation: Conversation) -> None:
    if has_login():
        st.write(_("Everybody who has an account here and the link can read this conversation."))
    else:
        st.write(_("Everybody who can open Zhiwen and has the link can read this conversation."))
    st.write(
        _(
            "It shows what was said so far, with the passages of the answers; what you ask later stays yours. You can "
            "withdraw the link at any time."
        )
    )
    st.button(
        _("Make a link"),
        key="make_link",
        type="primary",
        icon=":material/link:",
        on_click=partial(_share, principal, conversation),
    )


def _draw_link(principal: Principal, conversation: Conversation, link: Link) -> None:
    with st.container(key="conversation_link"):
        st.code(_address(link), language=None, wrap_lines=True)
    st.caption(_("It shows what was said until {when}.").format(when=moment(link.shared_at)))
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button(_("Withdraw"), key="withdraw_link", on_click=partial(_withdraw, principal, conversation))
        if link.is_older:
            st.button(
                _("Show what was said since, too"),
                key="renew_link",
                type="primary",
                on_click=partial(_share, principal, conversation),
            )


def _address(link: Link) -> str:
    page = urlsplit(st.context.url or "")
    return f"{page.scheme}://{page.netloc}{home_path()}shared?link={link.token}"


def _share(principal: Principal, conversation: Conversation) -> None:
    with errors_flashed():
        services().conversation_links.share(principal, conversation.id)


def _withdraw(principal: Principal, conversation: Conversation) -> None:
    with errors_flashed():
        services().conversation_links.withdraw(principal, conversation.id)
