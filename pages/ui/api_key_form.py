"""The dialog in which an API key is made, and the one that shows it, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import streamlit as st
from pydantic import SecretStr

from kb.access import KeyScope
from kb.errors import NoKnowledgeBaseChosen
from kb.extracts import escape_markdown as escape
from kb.models import KnowledgeBase, User
from kb.names import NAME_CHARACTERS
from pages.ui.feedback import close_dialog_if, dialog, errors_flashed
from pages.ui.i18n import _, ngettext
from pages.ui.resources import services
from pages.ui.scope import base_labels

NAME_KEY, SCOPE_KEY, DAYS_KEY = "api_key_name", "api_key_scope", "api_key_days"
REACH_KEY, BASES_KEY = "api_key_reach", "api_key_bases"
MADE_KEY = "made_api_key"  # until the next run of the whole page
ALL, CHOSEN = "all", "chosen"
LIFETIMES = (30, 90, 365, 0)  # in days; 0: it does not expire
USUAL_LIFETIME = 90


@dataclass(slots=True)
class MadeKey:
    """What one dialog has made. A second click on its button makes no other key."""

    secret: SecretStr | None = None


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
    made = MadeKey()
    st.session_state.update({NAME_KEY: "", DAYS_KEY: USUAL_LIFETIME, REACH_KEY: ALL, BASES_KEY: []})
    for scope in KeyScope:
        st.session_state[f"{SCOPE_KEY}-{scope}"] = scope is KeyScope.READ

    @dialog(_("New API key"))
    def create() -> None:
        st.text_input(
            _("Name"), key=NAME_KEY, max_chars=NAME_CHARACTERS, placeholder=_("What it is for, such as a script")
        )
        _draw_scopes()
        if bases:
            _draw_bases(base_labels(bases))
        labels = _lifetimes()
        st.selectbox(_("Expires"), list(labels), format_func=lambda each: labels.get(each, "…"), key=DAYS_KEY)
        created = st.button(_("Create"), key="create_api_key", type="primary", on_click=_create, args=(user, made))
        close_dialog_if(created)

    create()


def _draw_scopes() -> None:
    st.caption(_("What it allows, as far as you may do it yourself:"))
    with st.container(gap="xxsmall"):
        names, texts = scope_names(), _scope_texts()
        for scope in KeyScope:
            st.checkbox(f"**{names[scope]}** · {texts[scope]}", key=f"{SCOPE_KEY}-{scope}")


def _draw_bases(names: dict[UUID, str]) -> None:
    reaches = {ALL: _("All that you can see, now or later"), CHOSEN: _("Only these:")}
    reach = st.radio(_("Knowledge bases"), list(reaches), format_func=reaches.__getitem__, key=REACH_KEY)
    if reach == CHOSEN:
        st.pills(
            _("Knowledge bases"),
            list(names),
            selection_mode="multi",
            format_func=lambda each: escape(names[each]),
            key=BASES_KEY,
            label_visibility="collapsed",
        )


def _lifetimes() -> dict[int, str]:
    return {days: ngettext("in {count} day", "in {count} days", days) if days else _("never") for days in LIFETIMES}


def _create(user: User, made: MadeKey) -> None:
    chosen = st.session_state
    is_limited = chosen.get(REACH_KEY) == CHOSEN
    with errors_flashed():
        if is_limited and not chosen.get(BASES_KEY):
            raise NoKnowledgeBaseChosen
        if made.secret is None:
            _key, made.secret = services().api_keys.create(
                user.principal,
                chosen[NAME_KEY],
                [scope for scope in KeyScope if chosen[f"{SCOPE_KEY}-{scope}"]],
                chosen[BASES_KEY] if is_limited else None,
                timedelta(days=chosen[DAYS_KEY]) or None,
            )
        chosen[MADE_KEY] = made.secret


def take_made_key() -> SecretStr | None:
    """The key that has just been made, for the one run that shows it; also for pages that do not."""
    made: SecretStr | None = st.session_state.pop(MADE_KEY, None)
    return made


def show_key_once(secret: SecretStr) -> None:
    left = [secret]

    @dialog(_("Copy your API key"))
    def show() -> None:
        if not left:  # it was shown: whatever was clicked, close
            st.rerun()
        with st.container(key="shown_api_key"):
            st.code(left.pop().get_secret_value(), language=None, wrap_lines=True)
        st.caption(
            _(
                "Copy it now, to where the program finds it: it cannot be shown again. Programs send it in the header "
                "{header}."
            ).format(header="`Authorization: Bearer …`")
        )
        st.button(_("Done"), key="api_key_copied", type="primary")

    show()
