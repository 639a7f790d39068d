"""The policy: who may do what with what."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

import kb
from kb.access import GranteeKind, Permission, Principal, can
from kb.database.tables import conversations, group_members, groups, knowledge_bases, now, users
from kb.errors import EditNotAllowed, NotFound, OwnerOnly, WrongState
from kb.library import Arrivals, Documents, KnowledgeBases
from kb.library.sharing import Grant, Grantee, Sharing
from kb.models import Document, KnowledgeBase, Mode, Scope
from kb.services import WorkerParts
from tests.conftest import Core, Library, add_user

CODE = Path(kb.__file__).parent
OWNER = re.compile(
    r"owner_id\b\s*(?:==|\.in_\()|==\s*[\w.]*owner_id\b|\.c\.user_id\b\s*(?:==|\.in_\()|==\s*[\w.]*\.c\.user_id\b"
)


def test_only_the_policy_compares_owners() -> None:
    """Else there were two policies.

    The others join names, roles and what a user has chosen, spare an owner a grant, share out turns and quotas, and
    look for what a user did. What an account consists of, its sessions and identities, is for `kb.accounts` to keep.
    """
    found = [
        f"{path.relative_to(CODE)}: {line.strip()}"
        for path in sorted(CODE.rglob("*.py"))
        if "migrations" not in path.parts and path.parent.name != "accounts"
        for line in path.read_text(encoding="utf-8").splitlines()
        if OWNER.search(line)
    ]
    assert list(dict.fromkeys(line.split(":")[0] for line in found)) == [
        "access/keys.py",
        "access/policy.py",
        "audit/log.py",
        "audit/recording.py",
        "conversations/links.py",
        "ingestion/claims.py",
        "ingestion/turns.py",
        "library/knowledge_bases.py",
        "library/queue_places.py",
        "library/quotas.py",
        "library/sharing.py",
        "providers/store.py",
        "users.py",
        "webhooks/deliveries.py",
        "webhooks/outbox.py",
    ], found


@pytest.mark.parametrize("permission", list(Permission))
def test_statement_without_a_principal_is_refused(library: Library, permission: Permission) -> None:
    library.knowledge_base()
    statement = sa.select(knowledge_bases.c.name).where(can(permission, knowledge_bases))
    with library.database.read() as connection:
        assert connection.scalars(statement, library.user.binds).all() == ["Test"]
        with pytest.raises(SQLAlchemyError, match="of_user"):
            connection.execute(statement)


@pytest.mark.parametrize("permission", list(Permission))
def test_owner_may_do_everything_and_a_stranger_nothing(library: Library, permission: Permission) -> None:
    base = library.knowledge_base()
    for principal, expected in ((library.user, [base.id]), (library.stranger, []), (Principal(uuid4()), [])):
        statement = sa.select(knowledge_bases.c.id).where(can(permission, knowledge_bases, principal))
        with library.database.read() as connection:
            assert connection.scalars(statement).all() == expected
            own = sa.select(conversations.c.id).where(can(permission, conversations, principal))
            assert connection.scalars(own).all() == []


# --- sharing ------------------------------------------------------------------------------------------------------

READS = {
    (KnowledgeBases, "get"): lambda at, who, base, document: at.knowledge_bases.get(who, base.id),
    (Documents, "get"): lambda at, who, base, document: at.documents.get(who, document.id),
    (Documents, "original"): lambda at, who, base, document: at.documents.original(who, base.id, document.latest.id),
    (Documents, "download"): lambda at, who, base, document: at.documents.download(who, base.id, document.latest.id),
    (Documents, "called"): lambda at, who, base, document: at.documents.called(who, base.id, "a", 5),
    (Documents, "list"): lambda at, who, base, document: at.documents.list(who, base.id),
    (Documents, "after"): lambda at, who, base, document: at.documents.after(who, base.id, None, 5),
    (Documents, "count"): lambda at, who, base, document: at.documents.count(who, base.id),
    (Documents, "count_by_state"): lambda at, who, base, document: at.documents.count_by_state(who, base.id),
    (Documents, "chunks"): lambda at, who, base, document: at.documents.chunks(who, document.id, 0, 5),
}
EDITS = {
    (KnowledgeBases, "change"): lambda at, who, base, document: at.knowledge_bases.change(who, base.id, "New"),
    (KnowledgeBases, "rename"): lambda at, who, base, document: at.knowledge_bases.rename(who, base.id, "New"),
    (KnowledgeBases, "set_prompt"): lambda at, who, base, document: at.knowledge_bases.set_prompt(
        who, base.id, "Answer from {passages}"
    ),
    (Arrivals, "register"): lambda at, who, base, document: at.arrivals.register(
        who, base.id, "b.md", io.BytesIO(b"# B")
    ),
    (Arrivals, "replace_once"): lambda at, who, base, document: at.arrivals.replace_once(
        who, base.id, document.id, "b.md", io.BytesIO(b"# C")
    ),
    (Arrivals, "replace"): lambda at, who, base, document: at.arrivals.replace(who, document.id, io.BytesIO(b"# C")),
    (Documents, "cancel"): lambda at, who, base, document: at.documents.cancel(who, document.id),
    (Documents, "retry"): lambda at, who, base, document: at.documents.retry(who, document.id),
    (Documents, "delete"): lambda at, who, base, document: at.documents.delete(who, document.id),
}
OWNS = {
    (Sharing, "offered"): lambda at, who, base, document: Sharing(at.database).offered(who, base.id),
    (Sharing, "list"): lambda at, who, base, document: Sharing(at.database).list(who, base.id),
    (Sharing, "grant"): lambda at, who, base, document: Sharing(at.database).grant(
        who, base.id, Grantee(GranteeKind.EVERYBODY), Permission.VIEW
    ),
    (Sharing, "withdraw"): lambda at, who, base, document: Sharing(at.database).withdraw(
        who, base.id, Grantee(GranteeKind.EVERYBODY)
    ),
    (KnowledgeBases, "delete"): lambda at, who, base, document: at.knowledge_bases.delete(who, base.id),
}
# These find nothing of what one may not view, or make something new.
FINDS = {
    (KnowledgeBases, "create"),
    (KnowledgeBases, "find"),
    (KnowledgeBases, "list"),
    (KnowledgeBases, "named"),
    (Sharing, "has_others"),
    (Documents, "chosen"),
    (Documents, "live_chunks"),
    (Documents, "live_names"),
    (Documents, "partly_read"),
    (Documents, "queue_places"),
    (Documents, "unsearchable"),
    (Documents, "usage"),
}
Call = Callable[[Library, Principal, KnowledgeBase, Document], object]
DOORS: list[tuple[Permission, str, Call]] = [
    (permission, f"{kind.__name__}.{name}", call)
    for permission, doors in ((Permission.VIEW, READS), (Permission.EDIT, EDITS), (Permission.OWN, OWNS))
    for (kind, name), call in doors.items()
]


def share(library: Library, base: KnowledgeBase, permission: Permission) -> Principal:
    guest = add_user(library.database, str(uuid4()))
    Sharing(library.database).grant(library.user, base.id, Grantee(GranteeKind.USER, guest.user_id), permission)
    return guest


def test_every_door_is_in_the_table() -> None:
    doors = {*READS, *EDITS, *OWNS, *FINDS}
    for kind in (KnowledgeBases, Arrivals, Documents, Sharing):
        public = {name for name in vars(kind) if not name.startswith("_")}
        assert public == {name for of, name in doors if of is kind}


@pytest.mark.parametrize(("needed", "_name", "call"), DOORS, ids=[name for _needed, name, _call in DOORS])
def test_what_each_may_do(library: Library, needed: Permission, _name: str, call: Call) -> None:
    base = library.knowledge_base()
    document = library.upload(base)
    viewer, editor = share(library, base, Permission.VIEW), share(library, base, Permission.EDIT)
    with pytest.raises(NotFound):
        call(library, library.stranger, base, document)
    refused = OwnerOnly if needed is Permission.OWN else EditNotAllowed
    for principal, held in ((viewer, Permission.VIEW), (editor, Permission.EDIT), (library.user, Permission.OWN)):
        if held.includes(needed):
            with suppress(WrongState):  # what is queued cannot be retried, and what was cancelled not be cancelled
                call(library, principal, base, document)
            if call is EDITS[Documents, "delete"]:
                document = library.upload(base)
        else:
            with pytest.raises(refused):
                call(library, principal, base, document)


def test_shared_knowledge_base_is_listed_with_what_one_may_do(library: Library) -> None:
    own, shared = library.knowledge_base("Own", library.stranger), library.knowledge_base("Shared")
    grantee, sharing = Grantee(GranteeKind.USER, library.stranger.user_id), Sharing(library.database)
    for permission in (Permission.VIEW, Permission.EDIT):
        sharing.grant(library.user, shared.id, grantee, permission)
        found = {base.id: base.permission for base in library.knowledge_bases.list(library.stranger)}
        assert found == {own.id: Permission.OWN, shared.id: permission}
        assert library.knowledge_bases.get(library.stranger, shared.id).permission is permission
        assert [base.id for base in library.knowledge_bases.find(library.stranger, [shared.id])] == [shared.id]
        assert sharing.list(library.user, shared.id) == [Grant(replace(grantee, name="stranger"), permission)]
    sharing.withdraw(library.user, shared.id, grantee)
    assert [base.id for base in library.knowledge_bases.list(library.stranger)] == [own.id]
    assert library.knowledge_bases.find(library.stranger, [shared.id]) == []


def test_group_and_everybody(library: Library) -> None:
    """The highest of several grants counts, and what one is no longer a member of counts no more."""
    base, sharing = library.knowledge_base(), Sharing(library.database)
    group_id = uuid4()
    with library.database.write() as connection:
        connection.execute(sa.insert(groups), {"id": group_id, "name": "Harbour"})
    sharing.grant(library.user, base.id, Grantee(GranteeKind.GROUP, group_id), Permission.EDIT)
    assert library.knowledge_bases.list(library.stranger) == []
    member = {"group_id": group_id, "user_id": library.stranger.user_id}
    with library.database.write() as connection:
        connection.execute(sa.insert(group_members), member)
    sharing.grant(library.user, base.id, Grantee(GranteeKind.EVERYBODY), Permission.VIEW)
    assert library.knowledge_bases.get(library.stranger, base.id).permission is Permission.EDIT
    with library.database.write() as connection:
        connection.execute(sa.delete(group_members))
    assert library.knowledge_bases.get(library.stranger, base.id).permission is Permission.VIEW
    names = [(each.grantee.kind, each.grantee.name) for each in sharing.list(library.user, base.id)]
    assert names == [(GranteeKind.EVERYBODY, ""), (GranteeKind.GROUP, "Harbour")]


def test_deleted_knowledge_base_is_gone_for_everybody(library: Library) -> None:
    base = library.knowledge_base()
    guest = share(library, base, Permission.EDIT)
    library.knowledge_bases.delete(library.user, base.id)
    assert library.knowledge_bases.list(guest) == []
    with pytest.raises(NotFound):
        library.knowledge_bases.get(guest, base.id)


def test_nobody_is_granted_what_cannot_be(library: Library) -> None:
    base, sharing = library.knowledge_base(), Sharing(library.database)
    with pytest.raises(ValueError, match="one owner"):
        sharing.grant(library.user, base.id, Grantee(GranteeKind.EVERYBODY), Permission.OWN)
    for kind in (GranteeKind.USER, GranteeKind.GROUP):
        with pytest.raises(NotFound):
            sharing.grant(library.user, base.id, Grantee(kind, uuid4()), Permission.VIEW)
    sharing.grant(library.user, base.id, Grantee(GranteeKind.USER, library.user.user_id), Permission.VIEW)
    assert library.knowledge_bases.get(library.user, base.id).permission is Permission.OWN


def test_only_those_who_can_sign_in_are_offered(library: Library) -> None:
    base, sharing = library.knowledge_base(), Sharing(library.database)
    add_user(library.database, "Away", suspended_at=now())
    add_user(library.database, "New", awaits_approval=True)
    add_user(library.database, "No account", folded_name=None)
    with library.database.write() as connection:
        connection.execute(sa.insert(groups), {"name": "Developers"})
    offered = sharing.offered(library.user, base.id)
    assert [(each.kind.value, each.name) for each in offered] == [
        ("user", "stranger"),
        ("group", "Developers"),
        ("everybody", ""),
    ]


def test_who_is_alone_shares_with_nobody(library: Library) -> None:
    base, sharing = library.knowledge_base(), Sharing(library.database)
    assert sharing.has_others(library.user)
    with library.database.write() as connection:
        connection.execute(sa.update(users).where(users.c.name == "stranger").values(suspended_at=now()))
    assert not sharing.has_others(library.user)
    assert sharing.offered(library.user, base.id) == []
    with library.database.write() as connection:
        connection.execute(sa.insert(groups), {"name": "Developers"})
    assert sharing.has_others(library.user)


def test_conversation_and_its_files_are_not_shared(core: Core) -> None:
    """A grant to everybody opens one knowledge base, and nothing else of its owner."""
    base = core.knowledge_base()
    conversation = core.services.conversations.create(core.user, "Q", Mode.KNOWLEDGE, Scope.of(base.id))
    core.services.attachments.add(core.user, conversation.id, "a.md", io.BytesIO(b"# A"))
    Sharing(core.services.database).grant(core.user, base.id, Grantee(GranteeKind.EVERYBODY), Permission.EDIT)
    assert [each.id for each in core.services.knowledge_bases.list(core.stranger)] == [base.id]
    assert core.services.attachments.list(core.stranger, conversation.id) == []
    with pytest.raises(NotFound):
        core.services.conversations.get(core.stranger, conversation.id)


@pytest.mark.parametrize("core", ["lite"], indirect=True)
def test_viewer_gets_answers_until_it_is_withdrawn(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    document = core.upload(base, "a.md", "# Apples\n\nApples grow in the old garden.")
    assert worker.ingestion.ingest(document.latest.id) == "ready"
    grantee, sharing = Grantee(GranteeKind.EVERYBODY), Sharing(core.services.database)
    sharing.grant(core.user, base.id, grantee, Permission.VIEW)
    found = core.services.retriever.retrieve(core.stranger, Scope.of(base.id), "Where do apples grow?")
    assert [passage.document_name for passage in found.passages] == ["a.md"]
    sharing.withdraw(core.user, base.id, grantee)
    with pytest.raises(NotFound):
        core.services.retriever.retrieve(core.stranger, Scope.of(base.id), "Where do apples grow?")
