"""The dialog in which an API key is made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import streamlit as st

from kb.access import KeyScope
from kb.models import KnowledgeBase, User
from kb.names import NAME_CHARACTERS
from pages.ui.feedback import close_dialog_if, dialog, errors_flashed
from pages.ui.i18n import _, ngettext
from pages.ui.reach import chosen_reach, draw_reach, fill_reach
from pages.ui.resources import services
from pages.ui.scope import base_labels
from pages.ui.shown_once import Making, note_made

NAME_KEY, SCOPE_KEY, DAYS_KEY = "api_key_name", "api_key_scope", "api_key_days"
REACH_KEY = "api_key"
LIFETIMES = (30, 90, 365, 0)  # in days; 0: it does not expire
USUAL_LIFETIME = 90


def scope_names() -> dict[KeyScope, str]:
    return {
        KeyScope.READ: _("Read"),
        KeyScope.ASK: _("Ask"),
        KeyScope.WRITE: _("Write"),
        KeyScope.ADMIN: _("Administer"),
    }


def _scope_texts() -> dict[KeyScope, str]:
    return {
        KeyScope.READ: _("list, read and search documents"),
        KeyScope.ASK: _("ask questions, and read your conversations"),
        KeyScope.WRITE: _(
            "create knowledge bases; add and delete documents; rename and delete conversations; set up webhooks"
        ),
        KeyScope.ADMIN: _("delete and share knowledge bases"),
    }


def open_key_form(user: User, bases: Sequence[KnowledgeBase]) -> None:
    making = Making(_title, _note)
    st.session_state.update({NAME_KEY: "", DAYS_KEY: USUAL_LIFETIME})
    fill_reach(REACH_KEY)
    for scope in KeyScope:
        st.session_state[f"{SCOPE_KEY}-{scope}"] = scope is KeyScope.READ

    @dialog(_("New API key"))
    def create() -> None:
        st.text_input(
            _("Name"), key=NAME_KEY, max_chars=NAME_CHARACTERS, placeholder=_("What it is for, such as a script")
        )
        _draw_scopes()
        if bases:
            draw_reach(REACH_KEY, base_labels(bases))
        labels = _lifetimes()
        st.selectbox(_("Expires"), list(labels), format_func=lambda each: labels.get(each, "…"), key=DAYS_KEY)
        created = st.button(_("Create"), key="create_api_key", type="primary", on_click=_create, args=(user, making))
        close_dialog_if(created)

    create()


def _draw_scopes() -> None:
    st.caption(_("What it allows, as far as you may do it yourself:"))
    with st.container(gap="xxsmall"):
        names, texts = scope_names(), _scope_texts()
        for scope in KeyScope:
            st.checkbox(f"**{names[scope]}** · {texts[scope]}", key=f"{SCOPE_KEY}-{scope}")


def _lifetimes() -> dict[int, str]:
    return {days: ngettext("in {count} day", "in {count} days", days) if days else _("never") for days in LIFETIMES}


def _create(user: User, making: Making) -> None:
    chosen = st.session_state
    with errors_flashed():
        reached = chosen_reach(REACH_KEY)
        if making.secret is None:
            _key, making.secret = services().api_keys.create(
                user.principal,
                chosen[NAME_KEY],
                [scope for scope in KeyScope if chosen[f"{SCOPE_KEY}-{scope}"]],
                reached,
                timedelta(days=chosen[DAYS_KEY]) or None,
            )
        note_made(making)


def _title() -> str:
    return _("Copy your API key")


def _note() -> str:
    return _(
        "Copy it now, to where the program finds it: it cannot be shown again. Programs send it in the header {header}."
    ).format(header="`Authorization: Bearer …`")
