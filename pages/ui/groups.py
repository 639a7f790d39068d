"""The groups of users, on the page of the users: administrators keep them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import streamlit as st

from kb.accounts.groups import Group
from kb.extracts import escape_markdown as escape
from kb.models import Account
from kb.names import NAME_CHARACTERS
from pages.ui.choices import choice
from pages.ui.feedback import confirm, errors_flashed
from pages.ui.i18n import _, ngettext
from pages.ui.resources import current_principal, services

NAME_KEY, RENAME_KEY = "group_name", "rename_group"


def draw_groups(me: Account, accounts: Sequence[Account]) -> None:
    st.subheader(_("Groups"), anchor=False)
    st.caption(_("A knowledge base can be shared with a group. Whoever joins it later sees it, too."))
    names = {account.id: account.name for account in accounts}
    for group in services().accounts.groups.list(me.principal):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"group-{group.id}"):
            count = ngettext("{count} member", "{count} members", len(group.member_ids))
            st.markdown(f"**{escape(group.name)}**  \n{count}", width="stretch")
            _draw_actions(group, names)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(_("Name of a new group"), key=NAME_KEY, max_chars=NAME_CHARACTERS)
        st.button(_("New group"), key="create_group", icon=":material/group_add:", on_click=_create)


def _draw_actions(group: Group, names: dict[UUID, str]) -> None:
    with st.popover(_("Members"), key=f"members-{group.id}"):
        for user_id, name in names.items():
            key, is_member = f"member-{group.id}-{user_id}", user_id in group.member_ids
            st.checkbox(escape(name), **choice(key, is_member, (False, True), partial(_set_member, group.id, user_id)))
    with st.popover(_("Change"), key=f"change_group-{group.id}"):
        key = f"{RENAME_KEY}-{group.id}"
        st.text_input(_("Name"), value=group.name, key=key, max_chars=NAME_CHARACTERS)
        st.button(_("Rename"), key=f"rename-{group.id}", on_click=partial(_rename, group.id, key))
        if st.button(_("Delete…"), key=f"delete_group-{group.id}"):
            question = _("Delete the group “{name}”? Its members lose what is shared with it.").format(
                name=escape(group.name)
            )
            confirm(_("Delete group"), question, _("Delete"), partial(_delete, group.id), key="confirm_delete_group")


def _create() -> None:
    with errors_flashed():
        services().accounts.groups.create(current_principal(), st.session_state[NAME_KEY])
        st.session_state[NAME_KEY] = ""


def _set_member(group_id: UUID, user_id: UUID, is_member: bool) -> None:
    groups = services().accounts.groups
    with errors_flashed():
        (groups.add if is_member else groups.remove)(current_principal(), group_id, user_id)


def _rename(group_id: UUID, key: str) -> None:
    with errors_flashed():
        services().accounts.groups.rename(current_principal(), group_id, st.session_state[key])


def _delete(group_id: UUID) -> None:
    with errors_flashed():
        services().accounts.groups.delete(current_principal(), group_id)
