"""Accounts of users at OpenID providers: whose they are here, and who gets an account by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kb.access import Principal
from kb.accounts.registration import Registration
from kb.accounts.sessions import Sessions
from kb.accounts.throttle import Throttle
from kb.audit import Action, record, record_failed_sign_in
from kb.database import Database
from kb.database.tables import identities, now, users
from kb.errors import AccountSuspended, AwaitsApproval, IdentityTaken, LastWayIn, NotConnected, SignInOver
from kb.oidc.client import Identity, OidcClient
from kb.oidc.settings import OidcProvider


class Identities:
    """An identity is an issuer and a subject. Neither a name nor an e-mail address ever connects two accounts."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        registration: Registration,
        throttle: Throttle,
        providers: tuple[OidcProvider, ...] = (),
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._registration = registration
        self._clock = clock
        self.throttle = throttle
        self.clients: Mapping[str, OidcClient] = {each.key: OidcClient(each) for each in providers}

    def sign_in(self, identity: Identity, invitation: str = "", former_token: str = "") -> str:
        """The token of a new session; where registration allows it, of a new account.

        Errors: `AccountSuspended`, `AwaitsApproval`, `NotConnected`; `RegistrationClosed` for an invitation.
        """
        known = (
            sa.select(users.c.id, users.c.name, users.c.suspended_at, users.c.awaits_approval)
            .join(identities, identities.c.user_id == users.c.id)
            .where(_is(identity))
        )
        try:
            with self._database.write() as connection:
                row = connection.execute(known).one_or_none()
                if row is None:
                    user, waits = self._admit(connection, identity, invitation), not invitation
                else:
                    user, waits = Principal(row.id), row.awaits_approval
                if row is not None and row.suspended_at:
                    record_failed_sign_in(connection, row.id, row.name)
                elif not waits:
                    record(connection, user, Action.SIGNED_IN, provider=identity.provider.name)
                    return self._sessions.begin(connection, user, former_token)
        except IntegrityError as error:  # two clicks made the account at once
            raise SignInOver from error
        raise AccountSuspended if row is not None and row.suspended_at else AwaitsApproval

    def _admit(self, connection: sa.Connection, identity: Identity, invitation: str) -> Principal:
        """A new account, as registration allows it: by an invitation, or one that waits for approval."""
        provider = identity.provider
        if not invitation and (self._registration.mode != "open" or self._registration.needs_first()):
            raise NotConnected(name=provider.name)
        user, name = self._registration.admit(connection, identity.name or provider.name, invitation)
        self._insert(connection, user, identity)
        action = Action.ACCOUNT_CREATED if invitation else Action.ACCOUNT_REQUESTED
        record(connection, user, action, user.user_id, name, provider=provider.name)
        return user

    # --- what a user connects ---

    def connected(self, principal: Principal) -> set[str]:
        """The keys of the providers by which the user can sign in."""
        own = sa.select(identities.c.issuer).where(identities.c.user_id == principal.user_id)
        with self._database.read() as connection:
            issuers = {issuer.rstrip("/") for issuer in connection.scalars(own)}
        return {key for key, client in self.clients.items() if client.provider.issuer.rstrip("/") in issuers}

    def connect(self, principal: Principal, identity: Identity) -> None:
        """Errors: `IdentityTaken`."""
        owner = sa.select(identities.c.user_id).where(_is(identity))
        with self._database.write() as connection:
            user_id = connection.scalar(owner)
            if user_id is None:
                self._insert(connection, principal, identity)
                record(connection, principal, Action.IDENTITY_CONNECTED, provider=identity.provider.name)
            elif user_id != principal.user_id:
                raise IdentityTaken(name=identity.provider.name)

    def disconnect(self, principal: Principal, provider_key: str) -> None:
        """What is not connected stays so. Errors: `LastWayIn` of a user without a password."""
        client = self.clients.get(provider_key)
        if client is None:
            return
        issuer = client.provider.issuer.rstrip("/")
        own = identities.c.user_id == principal.user_id
        of_provider = sa.and_(own, identities.c.issuer.in_([issuer, f"{issuer}/"]))
        password = sa.select(users.c.password_hash).where(users.c.id == principal.user_id).with_for_update()
        with self._database.write() as connection:
            has_password = bool(connection.scalar(password))
            if connection.execute(sa.delete(identities).where(of_provider)).rowcount == 0:
                return
            if not has_password and connection.scalar(sa.select(identities.c.user_id).where(own).limit(1)) is None:
                raise LastWayIn(name=client.provider.name)
            record(connection, principal, Action.IDENTITY_DISCONNECTED, provider=client.provider.name)

    def has_password(self, user_id: UUID) -> bool:
        with self._database.read() as connection:
            return bool(connection.scalar(sa.select(users.c.password_hash).where(users.c.id == user_id)))

    def _insert(self, connection: sa.Connection, user: Principal, identity: Identity) -> None:
        row = {"issuer": identity.issuer, "subject": identity.subject, "user_id": user.user_id}
        connection.execute(sa.insert(identities), row | {"created_at": self._clock()})


def _is(identity: Identity) -> sa.ColumnElement[bool]:
    return sa.and_(identities.c.issuer == identity.issuer, identities.c.subject == identity.subject)
