"""Users: administrators invite, approve and suspend them, and make administrators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.errors import AdministratorsOnly, InvitationsClosed
from kb.extracts import escape_markdown as escape
from kb.library.quotas import MEGABYTE
from kb.models import Account, UserRole
from pages.ui.account import draw_for_administrators
from pages.ui.feedback import confirm, errors_flashed
from pages.ui.groups import draw_groups
from pages.ui.i18n import _, ago, error_text, join_sentences, moment, ngettext, size
from pages.ui.resources import current_account, services
from pages.ui.session_cookie import home_path

LINK_KEY = "user_link"  # in the session: the link that was made last, and whom it is for
ROLE_KEY = "invite_as"


def main() -> None:
    st.header(_("Users"), anchor=False)
    draw_for_administrators(draw_users)


def draw_users(account: Account) -> None:
    draw_invitations(account.principal)
    draw_groups(account, draw_accounts(account))


# --- links ---


def draw_invitations(principal: Principal) -> None:
    registration = services().accounts.registration
    if registration.mode == "closed":
        st.caption(join_sentences(*error_text(InvitationsClosed())))
    else:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.selectbox(
                _("Role of the person you invite"), list(UserRole), format_func=_role_names().__getitem__, key=ROLE_KEY
            )
            st.button(_("Invite"), key="invite", type="primary", icon=":material/person_add:", on_click=_invite)
    _draw_new_link()
    pending = registration.invitations(principal)
    if not pending:
        return
    st.caption(ngettext("{count} link has not been used yet", "{count} links have not been used yet", len(pending)))
    for each in pending:
        with st.container(horizontal=True, vertical_alignment="center"):
            name = _("New password for {name}").format(name=escape(each.for_name))
            st.markdown(name if each.for_name else _role_names()[each.role], width="stretch")
            st.caption(_("expires {when}").format(when=moment(each.expires_at)))
            st.button(_("Withdraw"), key=f"withdraw-{each.id}", on_click=partial(_withdraw, each.id))


def _draw_new_link() -> None:
    """A link is shown until the page is left or another one is made: only its digest is kept."""
    made = st.session_state.get(LINK_KEY)
    if not made:
        return
    token, name = made
    with st.container(border=True, key="new_link"):
        if name:
            st.write(
                _("Send this link to {name}. It sets a new password once, within a day.").format(name=escape(name))
            )
        else:
            st.write(_("Send this link to the person you invite. It makes one account, within seven days."))
        st.code(_address(token), language=None, wrap_lines=True)


def _address(token: str) -> str:
    """As the browser knows this installation: a proxy may have another address."""
    page = urlsplit(st.context.url or "")
    return f"{page.scheme}://{page.netloc}{home_path()}signup?invitation={token}"


def _invite() -> None:
    with errors_flashed():
        role = UserRole(st.session_state[ROLE_KEY])
        st.session_state[LINK_KEY] = services().accounts.registration.invite(_administrator(), role), ""


def _offer_password(user_id: UUID, name: str) -> None:
    with errors_flashed():
        token = services().accounts.registration.offer_new_password(_administrator(), user_id)
        st.session_state[LINK_KEY] = token, name


def _withdraw(invitation_id: UUID) -> None:
    with errors_flashed():
        st.session_state.pop(LINK_KEY, None)
        services().accounts.registration.withdraw(_administrator(), invitation_id)


# --- accounts ---


def draw_accounts(me: Account) -> list[Account]:
    administration = services().accounts.administration
    accounts, stored = administration.accounts(me.principal), administration.stored_bytes(me.principal)
    st.subheader(ngettext("{count} user", "{count} users", len(accounts)), anchor=False)
    for account in accounts:
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"user-{account.id}"):
            st.markdown(
                f"**{escape(account.name)}**  \n{_note(account, me, stored.get(account.id, 0))}", width="stretch"
            )
            _draw_actions(account)
    return accounts


def _note(account: Account, me: Account, stored_bytes: int) -> str:
    """Role, state, last sign-in, and how much is kept in files."""
    state = _role_names()[account.role]
    if account.awaits_approval:
        state = _("Waits for approval")
    elif account.suspended_at:
        state = _("Suspended")
    seen = (
        _("signed in {when}").format(when=ago(account.signed_in_at)) if account.signed_in_at else _("never signed in")
    )
    most = services().settings.user_storage_mb * MEGABYTE
    kept = _("{used} of {most} of files").format(used=size(stored_bytes), most=size(most)) if most else ""
    kept = kept or _("{size} of files").format(size=size(stored_bytes))
    return " · ".join([state, seen, kept, *([_("you")] if account.id == me.id else [])])


def _draw_actions(account: Account) -> None:
    administration = services().accounts.administration
    if account.awaits_approval:
        _button("approve", _("Approve"), account, administration.approve)
        _button("reject", _("Reject"), account, administration.reject)
        return
    if account.suspended_at:
        _button("resume", _("Allow to sign in again"), account, administration.resume)
        return
    with st.popover(_("Change"), key=f"change-{account.id}"):
        other = UserRole.MEMBER if account.is_administrator else UserRole.ADMINISTRATOR
        text = _("Make an administrator") if other is UserRole.ADMINISTRATOR else _("Make a member")
        _button("role", text, account, partial(_set_role, other))
        st.button(
            _("Link to a new password"),
            key=f"password-{account.id}",
            on_click=partial(_offer_password, account.id, account.name),
        )
        if st.button(_("Suspend"), key=f"suspend-{account.id}"):
            confirm(
                _("Suspend this user?"),
                _("“{name}” is signed out everywhere and cannot sign in. Nothing is deleted.").format(
                    name=escape(account.name)
                ),
                _("Suspend"),
                partial(_act, administration.suspend, account.id),
                key="confirm_suspend",
            )


def _button(key: str, text: str, account: Account, act: Callable[[Principal, UUID], None]) -> None:
    st.button(text, key=f"{key}-{account.id}", on_click=partial(_act, act, account.id))


def _act(act: Callable[[Principal, UUID], None], user_id: UUID) -> None:
    with errors_flashed():
        act(_administrator(), user_id)


def _set_role(role: UserRole, principal: Principal, user_id: UUID) -> None:
    services().accounts.administration.set_role(principal, user_id, role)


def _administrator() -> Principal:
    """Who acts; whether they may, `kb.accounts` checks."""
    account = current_account()
    if account is None:
        raise AdministratorsOnly
    return account.principal


def _role_names() -> dict[UserRole, str]:
    return {UserRole.MEMBER: _("Member"), UserRole.ADMINISTRATOR: _("Administrator")}


main()
