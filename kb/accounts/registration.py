"""How accounts are made: the first by a token, others by invitation, administrators or, with approval, anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from kb.access import Principal
from kb.access.tokens import digest, new_token
from kb.accounts.administration import ADMINISTRATORS, require_administrator
from kb.accounts.first_token import FirstToken
from kb.accounts.passwords import Passwords
from kb.accounts.rows import IS_ACCOUNT, account_name, folded_name
from kb.accounts.sessions import Sessions
from kb.accounts.sign_in import replace_password
from kb.accounts.throttle import Throttle
from kb.audit import Action, record
from kb.database import Database
from kb.database.tables import invitations, now, users
from kb.errors import AccountNameTaken, InvitationsClosed, NotFound, RegistrationClosed, WrongFirstToken
from kb.models import UserRole
from kb.models.stored import known
from kb.names import NAME_CHARACTERS, clean_label
from kb.users import Users

INVITATION = timedelta(days=7)
NEW_PASSWORD = timedelta(days=1)

# A link grants what its maker may grant when it is used.
_IS_GOOD = sa.and_(invitations.c.used_at.is_(None), invitations.c.created_by.in_(ADMINISTRATORS))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link for one use."""

    id: UUID
    role: UserRole
    created_at: datetime
    expires_at: datetime
    for_name: str = ""  # of the user who gets a new password by it; empty: it makes an account


class Registration:
    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        passwords: Passwords,
        throttle: Throttle,
        first_token: FirstToken,
        mode: Literal["closed", "invitation", "open"],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._passwords = passwords
        self._throttle = throttle
        self._first_token = first_token
        self._clock = clock
        self.mode = mode

    # --- the first account ---

    def needs_first(self) -> bool:
        """Whether nobody can sign in yet."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(users.c.id).where(IS_ACCOUNT).limit(1)) is None

    def first_token(self) -> str:
        """What the first account is made with; empty once there is one."""
        return self._first_token.ensure() if self.needs_first() else ""

    def create_first(self, token: str, name: str, password: str, address: str) -> str:
        """The administrator, who takes over the local user and all that it owns. Returns a session's token.

        Errors: `WrongFirstToken`; `RegistrationClosed` if there is an account already; those of `register`.
        """
        self._throttle.check("", address)
        if not self.needs_first():
            self._refuse(address)
        if not self._first_token.matches(token):
            self._refuse(address, WrongFirstToken)
        return self._take_over(name, password, self._sessions.begin)

    def add_first(self, name: str, password: str) -> None:
        """The same without the token, for whoever could read it. Errors: those of `register`."""
        self._take_over(name, password, lambda _connection, _user: "")

    def _take_over(self, name: str, password: str, begin: Callable[[sa.Connection, Principal], str]) -> str:
        values = self._account(name, password) | {"role": UserRole.ADMINISTRATOR.value}
        local = Users(self._database).local().principal
        statement = sa.update(users).where(users.c.id == local.user_id, users.c.folded_name.is_(None))
        with self._database.write() as connection:
            if connection.execute(statement.values(**values)).rowcount == 0:  # somebody was faster
                raise RegistrationClosed
            record(connection, local, Action.ACCOUNT_CREATED, local.user_id, values["name"])
            session = begin(connection, local)
        self._first_token.remove()
        log.info("accounts.first", user=str(local.user_id))
        return session

    # --- invitations ---

    def invite(self, principal: Principal, role: UserRole = UserRole.MEMBER) -> str:
        """The token of a link for one new account. Errors: `AdministratorsOnly`, `InvitationsClosed`."""
        if self.mode == "closed":
            raise InvitationsClosed
        return self._add_link(principal, role, None, INVITATION)

    def offer_new_password(self, principal: Principal, user_id: UUID) -> str:
        """The token of a link by which a user who forgot the password sets a new one.

        Errors: `AdministratorsOnly`; `NotFound` for a user who is gone.
        """
        return self._add_link(principal, UserRole.MEMBER, user_id, NEW_PASSWORD)

    def _add_link(self, principal: Principal, role: UserRole, user_id: UUID | None, lasts: timedelta) -> str:
        token, moment, link_id = new_token(), self._clock(), uuid4()
        values: dict[str, Any] = {"id": link_id, "token_hash": digest(token), "role": role.value, "user_id": user_id}
        values |= {"created_by": principal.user_id, "created_at": moment, "expires_at": moment + lasts}
        account = sa.select(users.c.name).where(users.c.id == user_id, IS_ACCOUNT)
        with self._database.write() as connection:
            require_administrator(connection, principal)
            name = connection.scalar(account.with_for_update(read=True, key_share=True))  # nobody rejects it meanwhile
            if user_id is not None and name is None:
                raise NotFound(what="user")
            connection.execute(sa.insert(invitations), values)
            if name is None:
                record(connection, principal, Action.INVITATION_MADE, link_id, role=role.value)
            else:
                record(connection, principal, Action.PASSWORD_LINK_MADE, user_id, name)
        return token

    def invitation(self, token: str) -> Invitation | None:
        """What a link is good for; None if it was used or has expired, or who made it is no administrator any more."""
        statement = self._links().where(invitations.c.token_hash == digest(token))
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        return _invitation(row) if row else None

    def invitations(self, principal: Principal) -> list[Invitation]:
        """Those that can still be used. Errors: `AdministratorsOnly`."""
        with self._database.read() as connection:
            require_administrator(connection, principal)
            return [_invitation(row) for row in connection.execute(self._links())]

    def withdraw(self, principal: Principal, invitation_id: UUID) -> None:
        """Errors: `AdministratorsOnly`."""
        with self._database.write() as connection:
            require_administrator(connection, principal)
            if connection.execute(sa.delete(invitations).where(invitations.c.id == invitation_id)).rowcount:
                record(connection, principal, Action.INVITATION_WITHDRAWN, invitation_id)

    def accept(self, token: str, name: str, password: str, address: str) -> str:
        """Make the account, or set the password, that the link is for. Returns a session's token.

        Errors: `RegistrationClosed` for a link that is not valid; those of `register`.
        """
        self._throttle.check("", address)
        found = self.invitation(token)
        if found is None or (self.mode == "closed" and not found.for_name):
            self._refuse(address)
        if found.for_name:
            return self._set_password(found, password)
        values = self._account(name, password) | {"role": found.role.value}
        with self._database.write() as connection:
            self._use(connection, found)
            added = self._add(connection, values)
            record(connection, added, Action.ACCOUNT_CREATED, added.user_id, values["name"])
            return self._sessions.begin(connection, added)

    def _set_password(self, found: Invitation, password: str) -> str:
        self._passwords.check(password)
        hashed = self._passwords.hash(password)
        with self._database.write() as connection:
            user_id = self._use(connection, found)
            if user_id is None:
                raise RegistrationClosed
            replace_password(connection, Principal(user_id), hashed)
            record(connection, Principal(user_id), Action.PASSWORD_SET, user_id, found.for_name)
            return self._sessions.begin(connection, Principal(user_id))

    def _use(self, connection: sa.Connection, found: Invitation) -> UUID | None:
        """Of two who use a link at once, one succeeds."""
        link = sa.update(invitations).where(invitations.c.id == found.id, _IS_GOOD)
        if connection.execute(link.values(used_at=self._clock())).rowcount == 0:
            raise RegistrationClosed
        user_id: UUID | None = connection.scalar(sa.select(invitations.c.user_id).where(invitations.c.id == found.id))
        return user_id

    def _links(self) -> sa.Select[Any]:
        return (
            sa.select(invitations, users.c.name.label("for_name"))
            .outerjoin(users, users.c.id == invitations.c.user_id)
            .where(_IS_GOOD, invitations.c.expires_at > self._clock())
            .order_by(invitations.c.created_at)
        )

    # --- an administrator, who types the password ---

    def add(self, principal: Principal, name: str, password: str, role: UserRole = UserRole.MEMBER) -> None:
        """Make an account, also where registration is closed.

        Errors: `AdministratorsOnly`, `InvalidName`, `AccountNameTaken`, `PasswordTooShort`, `PasswordTooLong`.
        """
        values = self._account(name, password) | {"role": role.value}
        with self._database.write() as connection:
            require_administrator(connection, principal)
            added = self._add(connection, values)
            record(connection, principal, Action.ACCOUNT_CREATED, added.user_id, values["name"])
        log.info("accounts.added", user=str(added.user_id), by=str(principal.user_id), role=role.value)

    def set_password(self, principal: Principal, user_id: UUID, password: str) -> None:
        """Ends the user's sessions. Errors: `AdministratorsOnly`, `NotFound`, `PasswordTooShort`, `PasswordTooLong`."""
        self._passwords.check(password)
        hashed = self._passwords.hash(password)
        with self._database.write() as connection:
            require_administrator(connection, principal)
            name = connection.scalar(sa.select(users.c.name).where(users.c.id == user_id, IS_ACCOUNT))
            if name is None:
                raise NotFound(what="user")
            replace_password(connection, Principal(user_id), hashed)
            record(connection, principal, Action.PASSWORD_REPLACED, user_id, name)
        log.info("accounts.changed", user=str(user_id), by=str(principal.user_id), what=["password"])

    # --- by an account elsewhere ---

    def admit(self, connection: sa.Connection, proposed: str, invitation: str) -> tuple[Principal, str]:
        """An account without a password, and its name; without an invitation, one that waits for approval.

        Errors: `RegistrationClosed` for an invitation that is not valid.
        """
        name = _free_name(connection, proposed)
        values: dict[str, Any] = {"name": name, "folded_name": folded_name(name)}
        if not invitation:
            return self._add(connection, values | {"awaits_approval": True}), name
        row = connection.execute(self._links().where(invitations.c.token_hash == digest(invitation))).one_or_none()
        if row is None or row.for_name or self.mode == "closed":
            raise RegistrationClosed
        self._use(connection, _invitation(row))
        return self._add(connection, values | {"role": row.role}), name

    # --- anybody ---

    def register(self, name: str, password: str, address: str) -> None:
        """An account that an administrator has to approve.

        Errors: `RegistrationClosed` unless registration is open; `InvalidName`, `AccountNameTaken`,
        `PasswordTooShort`, `PasswordTooLong`, `TooManyAttempts`.
        """
        if self.mode != "open" or self.needs_first():
            raise RegistrationClosed
        self._throttle.check("", address)
        self._throttle.count_failure("", address)  # so that nobody fills the list of those who wait
        values = self._account(name, password) | {"awaits_approval": True}
        with self._database.write() as connection:
            added = self._add(connection, values)
            record(connection, added, Action.ACCOUNT_REQUESTED, added.user_id, values["name"])

    def _account(self, name: str, password: str) -> dict[str, Any]:
        shown = account_name(name)
        self._passwords.check(password)
        return {"name": shown, "folded_name": folded_name(shown), "password_hash": self._passwords.hash(password)}

    def _add(self, connection: sa.Connection, values: dict[str, Any]) -> Principal:
        try:
            added = connection.execute(sa.insert(users).returning(users.c.id), values).scalar_one()
        except IntegrityError as error:
            raise AccountNameTaken(name=values["name"]) from error
        return Principal(added)

    def _refuse(self, address: str, error: type[RegistrationClosed] = RegistrationClosed) -> NoReturn:
        self._throttle.count_failure("", address)
        raise error


def _free_name(connection: sa.Connection, proposed: str) -> str:
    """`proposed`, with a number if somebody has it."""
    stem = " ".join(clean_label(proposed).split())[: NAME_CHARACTERS - 5].strip() or "?"
    name, number = stem, 1
    while connection.scalar(
        sa.select(users.c.id).where((users.c.folded_name == folded_name(name)) | (users.c.name == name))
    ):
        number += 1
        name = f"{stem} {number}"
    return name


def _invitation(row: sa.Row[Any]) -> Invitation:
    return Invitation(row.id, known(row.role, UserRole.MEMBER), row.created_at, row.expires_at, row.for_name or "")
