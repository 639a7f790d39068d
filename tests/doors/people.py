"""Who tries the doors, and whose things are behind them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb.access import GranteeKind, KeyScope, Permission, Principal
from kb.database.tables import users
from kb.library.sharing import Grantee
from kb.models import Document, KnowledgeBase, MessageState, Mode, UserRole
from kb.services import Services
from tests.conftest import add_user
from tests.messages import said

# What only those who may know of a thing can read anywhere.
BASE, DOCUMENT, QUESTION = "Secret garden", "hidden-path.md", "Where does the hidden path lead?"
TEXT = b"# Paths\n\nThe hidden path leads to the pond."


class Role(StrEnum):
    """The last four act with a key of the owner's."""

    STRANGER = "stranger"
    SUSPENDED = "suspended user"
    MEMBER = "other user"
    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"
    ADMINISTRATOR = "administrator"
    EXPIRED_KEY = "expired key"
    REVOKED_KEY = "revoked key"
    OUT_OF_SCOPE_KEY = "key without the scope"
    OTHER_BASE_KEY = "key to another knowledge base"

    @property
    def has_page(self) -> bool:
        """Whether they use a browser: keys open no page."""
        return not self.value.endswith(("key", "scope", "base"))

    @property
    def permission(self) -> Permission | None:
        """With the owner's knowledge base."""
        held = {Role.VIEWER: Permission.VIEW, Role.EDITOR: Permission.EDIT, Role.OWNER: Permission.OWN}
        return held.get(self)


@dataclass(frozen=True, slots=True)
class Things:
    """What belongs to the owner."""

    base: KnowledgeBase
    document: Document
    conversation_id: UUID
    answer_id: UUID
    link: str  # to the conversation
    webhook_id: UUID
    delivery_id: UUID  # to the webhook


class People:
    """The users of one installation, and the owner's things."""

    def __init__(self, services: Services, ingest: Callable[[Principal, Document], object]) -> None:
        """`ingest` does a worker's work, or waits for it."""
        self.services = services
        self._ingest = ingest
        database = services.database
        self.principals = {role: add_user(database, role.value) for role in Role if role.has_page}
        self.principals.pop(Role.STRANGER)
        self.owner = self.principals[Role.OWNER]
        self._make_administrator(self.principals[Role.ADMINISTRATOR])
        self.ready = self.things(is_ready=True)
        # Before the suspension, which ends all sessions: what is kept of them must not open anything.
        self._suspended = self._session(self.principals[Role.SUSPENDED])
        self._suspended_key = self._key(self.principals[Role.SUSPENDED], KeyScope)
        services.accounts.administration.suspend(
            self.principals[Role.ADMINISTRATOR], self.principals[Role.SUSPENDED].user_id
        )
        other = services.knowledge_bases.create(self.owner, "Other", self.ready.base.embedding_model)
        self._keys = {
            Role.EXPIRED_KEY: self._key(self.owner, KeyScope, lifetime=timedelta(seconds=-1)),
            Role.REVOKED_KEY: self._revoked(),
            Role.OTHER_BASE_KEY: self._key(self.owner, KeyScope, [other.id]),
        }

    def things(self, is_ready: bool = False) -> Things:
        """New things of the owner's, shared with the others as their roles say. `is_ready`: they can be asked."""
        services, embedding = self.services, self.services.embeddings.default
        name = BASE if is_ready else f"{BASE} {uuid4()}"
        base = services.knowledge_bases.create(self.owner, name, embedding.name, embedding.dimension)
        document = services.arrivals.register(self.owner, base.id, DOCUMENT, io.BytesIO(TEXT)).document
        if is_ready:
            self._ingest(self.owner, document)
        for role, permission in (
            (Role.VIEWER, Permission.VIEW),
            (Role.EDITOR, Permission.EDIT),
            (Role.SUSPENDED, Permission.EDIT),
        ):
            grantee = Grantee(GranteeKind.USER, self.principals[role].user_id)
            services.sharing.grant(self.owner, base.id, grantee, permission)
        conversation = services.conversations.create(self.owner, QUESTION, Mode.LLM)
        answer = services.messages.ask(self.owner, conversation.id, QUESTION)
        services.messages.finish(self.owner, answer.id, MessageState.DONE, said("To the pond.", model="fake"))
        link = services.conversation_links.share(self.owner, conversation.id)
        return Things(base, document, conversation.id, answer.id, link.token, *self._webhook())

    def _webhook(self) -> tuple[UUID, UUID]:
        """A new one, and what waits to be sent to it; of those before, the first is kept: a user has some at most."""
        webhooks = self.services.webhooks
        for old in webhooks.list(self.owner)[:-1]:
            webhooks.delete(self.owner, old.id)
        webhook_id = webhooks.create(self.owner, "https://hooks.example/")[0].id
        return webhook_id, webhooks.test(self.owner, webhook_id).id

    def cookie(self, role: Role) -> str:
        """The token of a session of theirs; empty for who has none."""
        if role is Role.SUSPENDED:
            return self._suspended
        return self._session(self.principals[role]) if role in self.principals else ""

    def key(self, role: Role, scope: KeyScope | None = None) -> str:
        """A key for a call that needs `scope`; empty for a stranger."""
        if role is Role.STRANGER:
            return ""
        if role is Role.SUSPENDED:
            return self._suspended_key
        if role is Role.OUT_OF_SCOPE_KEY:
            return self._key(self.owner, [other for other in KeyScope if other is not scope])
        if role not in self._keys:
            self._keys[role] = self._key(self.principals[role], KeyScope)
        return self._keys[role]

    def _session(self, principal: Principal) -> str:
        with self.services.database.write() as connection:
            return self.services.accounts.sessions.begin(connection, principal)

    def _key(
        self,
        principal: Principal,
        scopes: Iterable[KeyScope],
        knowledge_base_ids: Iterable[UUID] | None = None,
        lifetime: timedelta | None = None,
    ) -> str:
        create = self.services.api_keys.create
        _key, secret = create(principal, "Program", tuple(scopes), knowledge_base_ids, lifetime)
        return secret.get_secret_value()

    def _revoked(self) -> str:
        key, secret = self.services.api_keys.create(self.owner, "Program", tuple(KeyScope))
        self.services.api_keys.revoke(self.owner, key.id)
        return secret.get_secret_value()

    def _make_administrator(self, principal: Principal) -> None:
        of = users.c.id == principal.user_id
        with self.services.database.write() as connection:
            connection.execute(sa.update(users).where(of).values(role=UserRole.ADMINISTRATOR))
