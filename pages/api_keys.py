"""API: with which keys programs use Zhiwen for the user, and which ones are told of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import streamlit as st

from kb.access.keys import ApiKey
from kb.extracts import escape_markdown as escape
from kb.models import KnowledgeBase, User
from pages.ui.api_key_form import open_key_form, scope_names
from pages.ui.feedback import confirm, errors_flashed, errors_shown
from pages.ui.i18n import _, ago, day, join_list
from pages.ui.reach import reach_text
from pages.ui.resources import current_user, services
from pages.ui.scope import base_labels
from pages.ui.shown_once import show_once, take_made
from pages.ui.webhooks import draw_webhooks

PART_KEY = "api_part"
PART, WEBHOOKS = "part", "webhooks"  # in the address


def main() -> None:
    made = take_made()
    st.header(_("API"), anchor=False)
    with errors_shown():
        draw_page(current_user())
    if made:
        show_once(made)


def draw_page(user: User) -> None:
    labels = [_("API keys"), _("Webhooks")]
    shown = labels[st.query_params.get(PART) == WEBHOOKS]
    keys, webhooks = st.tabs(labels, default=shown, key=PART_KEY, on_change=_note_part, args=(labels[1],))
    bases = services().knowledge_bases.list(user.principal)
    if webhooks.open:
        with webhooks:
            draw_webhooks(user, bases)
    else:
        with keys:
            draw_keys(user, bases)


def _note_part(webhooks: str) -> None:
    """In the address, so that the part stays open when the page is loaded again."""
    if st.session_state.get(PART_KEY) == webhooks:
        st.query_params[PART] = WEBHOOKS
    else:
        st.query_params.pop(PART, None)


def draw_keys(user: User, bases: Sequence[KnowledgeBase]) -> None:
    keys = services().api_keys.list(user.principal)
    st.write(
        _(
            "With an API key, a program uses Zhiwen for you, through the HTTP API at {path}: it searches your "
            "knowledge bases, asks them questions, or adds documents, as far as the key allows."
        ).format(path="`/api/v1`")
    )
    if keys:
        st.caption(_("{path} describes every call.").format(path="`/api/v1/openapi.json`"))
    _draw_new_button(user, bases, primary=not keys)
    labels = base_labels(bases)
    for key in keys:
        _draw_key(user, key, labels)


def _draw_new_button(user: User, bases: Sequence[KnowledgeBase], primary: bool) -> None:
    if st.button(
        _("New API key"), key="new_api_key", icon=":material/add:", type="primary" if primary else "secondary"
    ):
        open_key_form(user, bases)


def _draw_key(user: User, key: ApiKey, labels: Mapping[UUID, str]) -> None:
    with st.container(border=True, key=f"api_key-{key.id}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"line-api_key-{key.id}"):
            expired = _("Expired") if _has_expired(key) else ""
            badge = f" :red-badge[{expired}]" if expired else ""
            st.markdown(f"**{escape(key.name)}** `{key.hint}…`{badge}", width="stretch")
            if st.button(_("Revoke…"), key=f"revoke_api_key-{key.id}", icon=":material/key_off:"):
                _confirm_revoke(user, key)
        names = scope_names()
        allowed = join_list(names[scope] for scope in names if scope in key.scopes)
        st.markdown(escape(f"{allowed} · {reach_text(key.knowledge_base_ids, labels)}"))
        st.caption(escape(" · ".join(_dates(key))))


def _has_expired(key: ApiKey) -> bool:
    return key.expires_at is not None and key.expires_at <= datetime.now(UTC)


def _dates(key: ApiKey) -> list[str]:
    return [
        _("Created: {when}").format(when=day(key.created_at)),
        _("Last used: {when}").format(when=ago(key.used_at)) if key.used_at else _("Not used yet"),
        _("Expires: {when}").format(when=day(key.expires_at)) if key.expires_at else _("Does not expire"),
    ]


def _confirm_revoke(user: User, key: ApiKey) -> None:
    question = _("Revoke “{name}”? Programs that use it are refused at once. This cannot be undone.").format(
        name=escape(key.name)
    )
    confirm(_("Revoke API key"), question, _("Revoke"), lambda: _revoke(user, key), "confirm_delete_api_key")


def _revoke(user: User, key: ApiKey) -> None:
    with errors_flashed():
        services().api_keys.revoke(user.principal, key.id)


main()
