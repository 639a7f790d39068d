"""The dialog in which the owner of a knowledge base shares it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import streamlit as st

from kb.access import EVERYBODY, GranteeKind, Permission
from kb.errors import NobodyChosen
from kb.extracts import escape_markdown as escape
from kb.library.sharing import Grant, Grantee
from kb.models import KnowledgeBase, User
from pages.ui.choices import choice
from pages.ui.feedback import dialog, errors_flashed, errors_shown, flash, show_flash
from pages.ui.i18n import _, join_list
from pages.ui.resources import has_login, services

KIND_KEY, WHO_KEY, PERMISSION_KEY = "share_kind", "share_who", "share_permission"
SHOWN_NAMES = 5
ICONS = {GranteeKind.USER: "person", GranteeKind.GROUP: "group", GranteeKind.EVERYBODY: "public"}


def can_share(user: User, base: KnowledgeBase) -> bool:
    """Whether the user may share it, and there is anyone to share it with: without a login, everybody is one user."""
    return has_login() and base.permission is Permission.OWN and services().sharing.has_others(user.principal)


def draw_shared_with(user: User, base: KnowledgeBase) -> None:
    """Tell the owner with whom the knowledge base is shared."""
    names = [_name(grant.grantee) for grant in services().sharing.list(user.principal, base.id)]
    if not names:
        return
    shown, hidden = join_list(names[:SHOWN_NAMES]), len(names) - SHOWN_NAMES
    text = _("{names} and {count} more").format(names=shown, count=hidden) if hidden > 0 else shown
    st.caption(_("Shared with: {names}").format(names=escape(text)))


def open_sharing(user: User, base: KnowledgeBase) -> None:
    st.session_state[WHO_KEY] = None
    st.session_state[KIND_KEY] = None  # the first one that is offered
    st.session_state[PERMISSION_KEY] = Permission.VIEW

    # What it changes counts at once, and the page tells it once the dialog is closed.
    @dialog(_("Share “{name}”").format(name=escape(base.name)), is_page_older=True)
    @errors_shown()
    def share() -> None:
        draw_sharing(user, base)
        show_flash()

    share()


def draw_sharing(user: User, base: KnowledgeBase) -> None:
    sharing = services().sharing
    grants = sharing.list(user.principal, base.id)
    for grant in grants:
        _draw_grant(user, base, grant)
    if not grants:
        st.caption(_("Only you can see it."))
    granted = {(grant.grantee.kind, grant.grantee.id) for grant in grants}
    left = [each for each in sharing.offered(user.principal, base.id) if (each.kind, each.id) not in granted]
    if left:
        st.divider()
        _draw_form(user, base, left)


def _permissions() -> dict[Permission, str]:
    return {Permission.VIEW: _("May ask and read"), Permission.EDIT: _("May edit too")}


def _name(grantee: Grantee) -> str:
    return _("Everybody") if grantee.kind is GranteeKind.EVERYBODY else grantee.name


# --- who may do what by now ---


def _draw_grant(user: User, base: KnowledgeBase, grant: Grant) -> None:
    """A line: who, what they may do, and a button to withdraw it."""
    grantee, labels = grant.grantee, _permissions()
    key, name = f"{grantee.kind}-{grantee.id}", _name(grantee)
    with st.container(horizontal=True, vertical_alignment="center", key=f"grant-{key}"):
        st.markdown(f":material/{ICONS[grantee.kind]}: {escape(name)}", width="stretch")
        st.selectbox(
            _("What {name} may do").format(name=escape(name)),
            list(labels),
            format_func=lambda each: labels.get(each, "…"),
            label_visibility="collapsed",
            width=190,
            **choice(f"granted-{key}", grant.permission, labels, partial(_grant, user, base, grantee)),
        )
        if grantee.kind is GranteeKind.EVERYBODY:
            with st.popover(_("Withdraw"), type="tertiary"):
                _draw_withdrawal(user, base, grantee)
        else:
            st.button(
                _("Withdraw"),
                key=f"withdraw-{key}",
                type="tertiary",
                on_click=_withdraw,
                args=(user, base, grantee),
            )


def _draw_withdrawal(user: User, base: KnowledgeBase, everybody: Grantee) -> None:
    """It concerns many people at once, so ask before."""
    st.write(_("Only you, and the people and groups that are listed by name, will see it then."))
    st.button(
        _("Withdraw from everybody"),
        key=f"withdraw-{everybody.kind}",
        type="primary",
        on_click=_withdraw,
        args=(user, base, everybody),
    )


def _grant(user: User, base: KnowledgeBase, grantee: Grantee, permission: Permission) -> None:
    with errors_flashed():
        services().sharing.grant(user.principal, base.id, grantee, permission)


def _withdraw(user: User, base: KnowledgeBase, grantee: Grantee) -> None:
    with errors_flashed():
        services().sharing.withdraw(user.principal, base.id, grantee)


# --- somebody more ---


def _draw_form(user: User, base: KnowledgeBase, left: Sequence[Grantee]) -> None:
    """Choose who, and what they may do. A person and a group can have the same name, so their lists are two."""
    titles = {
        GranteeKind.USER: _("A person"),
        GranteeKind.GROUP: _("A group"),
        GranteeKind.EVERYBODY: _("Everybody"),
    }
    kinds = [kind for kind in GranteeKind if any(each.kind is kind for each in left)]
    if st.session_state.get(KIND_KEY) not in kinds:
        st.session_state[KIND_KEY] = kinds[0]
    st.segmented_control(_("Share with"), kinds, format_func=titles.__getitem__, key=KIND_KEY, required=True)
    kind: GranteeKind = st.session_state[KIND_KEY]
    if kind is GranteeKind.EVERYBODY:
        st.caption(_("Everybody who has an account here, now or later."))
    else:
        _draw_names(titles[kind], {each.id: each.name for each in left if each.kind is kind})
    labels = _permissions()
    st.radio(_("What they may do"), list(labels), format_func=labels.__getitem__, key=PERMISSION_KEY, horizontal=True)
    st.button(_("Share"), key="share", type="primary", on_click=_share, args=(user, base))


def _draw_names(title: str, names: dict[UUID, str]) -> None:
    if st.session_state.get(WHO_KEY) not in names:
        st.session_state[WHO_KEY] = None
    st.selectbox(
        title,
        list(names),
        index=None,
        format_func=lambda each: names.get(each, "…"),
        key=WHO_KEY,
        placeholder=_("Choose by name"),
        label_visibility="collapsed",
    )


def _share(user: User, base: KnowledgeBase) -> None:
    """With whom the fields name, which may have changed since they were drawn."""
    chosen = st.session_state
    kind = chosen[KIND_KEY]
    grantee_id = EVERYBODY if kind is GranteeKind.EVERYBODY else chosen.get(WHO_KEY)
    if not isinstance(grantee_id, UUID):
        flash(NobodyChosen())
        return
    _grant(user, base, Grantee(kind, grantee_id), chosen[PERMISSION_KEY])
    chosen[WHO_KEY] = None
