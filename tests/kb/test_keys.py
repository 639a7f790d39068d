"""API keys: who acts with one, and what it reaches."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from kb.access import GranteeKind, KeyScope, Permission, Principal
from kb.access.keys import HINT_CHARACTERS, PREFIX, ApiKeys
from kb.conversations import Conversations
from kb.database.tables import api_keys, now, users
from kb.errors import InvalidName, KeyRefused, NoScopeChosen, NotFound, OutOfScope, PersonOnly
from kb.library.sharing import Grantee, Sharing
from kb.models import KnowledgeBase, Mode, Scope
from tests.conftest import Library


@pytest.fixture
def keys(library: Library) -> ApiKeys:
    return ApiKeys(library.database)


def acting(keys: ApiKeys, library: Library, *scopes: KeyScope, only: KnowledgeBase | None = None) -> Principal:
    """Who acts with a new key of the user; `only` limits it to a knowledge base."""
    limit = None if only is None else [only.id]
    _key, secret = keys.create(library.user, "Program", scopes, limit)
    return keys.authenticate(secret.get_secret_value())


def test_key_is_shown_once_and_stored_as_a_digest(keys: ApiKeys, library: Library) -> None:
    key, secret = keys.create(library.user, "Backup", [KeyScope.READ])
    value = secret.get_secret_value()
    assert value.startswith(PREFIX)
    assert key.hint == value[:HINT_CHARACTERS]
    with library.database.read() as connection:
        stored = str(connection.execute(sa.select(api_keys)).one())
    assert value not in stored
    assert value[HINT_CHARACTERS:] not in stored
    assert value not in repr(keys.list(library.user))
    assert value not in repr(secret)


def test_use_is_noted(keys: ApiKeys, library: Library) -> None:
    _key, secret = keys.create(library.user, "Backup", [KeyScope.READ])
    assert keys.list(library.user)[0].used_at is None
    assert keys.authenticate(secret.get_secret_value()).user_id == library.user.user_id
    first = keys.list(library.user)[0].used_at
    assert first is not None
    keys.authenticate(secret.get_secret_value())
    assert keys.list(library.user)[0].used_at == first  # at most once a minute


def test_wrong_expired_and_revoked_keys_get_one_answer(keys: ApiKeys, library: Library) -> None:
    expired = keys.create(library.user, "Old", [KeyScope.READ], lifetime=timedelta(seconds=-1))[1].get_secret_value()
    key, secret = keys.create(library.user, "Gone", [KeyScope.READ])
    revoked = secret.get_secret_value()
    keys.authenticate(revoked)
    keys.revoke(library.user, key.id)
    refused = set()
    for value in ("", "zw_", "nonsense", "\ud800", revoked + "x", revoked[:-1], expired, revoked):
        with pytest.raises(KeyRefused) as caught:
            keys.authenticate(value)
        refused.add(str(caught.value))
    assert len(refused) == 1
    assert [each.name for each in keys.list(library.user)] == ["Old"]


def test_key_of_a_suspended_user_is_refused(keys: ApiKeys, library: Library) -> None:
    _key, secret = keys.create(library.user, "Mine", [KeyScope.READ])
    suspended = sa.update(users).where(users.c.id == library.user.user_id).values(suspended_at=now())
    with library.database.write() as connection:
        connection.execute(suspended)
    with pytest.raises(KeyRefused):
        keys.authenticate(secret.get_secret_value())


def test_keys_belong_to_their_user(keys: ApiKeys, library: Library) -> None:
    key, secret = keys.create(library.user, "Mine", [KeyScope.READ])
    assert keys.list(library.stranger) == []
    with pytest.raises(NotFound):
        keys.revoke(library.stranger, key.id)
    keys.authenticate(secret.get_secret_value())
    with pytest.raises(NotFound):
        keys.create(library.stranger, "Theirs", [KeyScope.READ], [library.knowledge_base().id])
    with pytest.raises(InvalidName):
        keys.create(library.user, " ", [KeyScope.READ])
    with pytest.raises(NoScopeChosen):
        keys.create(library.user, "Idle", [])


def test_program_makes_no_keys(keys: ApiKeys, library: Library) -> None:
    program = acting(keys, library, *KeyScope)
    key = keys.list(library.user)[0]
    refused: list[Callable[[], object]] = [
        lambda: keys.create(program, "More", [KeyScope.READ]),
        lambda: keys.list(program),
        lambda: keys.revoke(program, key.id),
    ]
    for call in refused:
        with pytest.raises(PersonOnly):
            call()


@pytest.mark.parametrize("scope", list(KeyScope))
def test_scope_is_the_most_that_a_key_allows(keys: ApiKeys, library: Library, scope: KeyScope) -> None:
    base = library.knowledge_base()
    document = library.upload(base)
    program = acting(keys, library, scope)
    assert library.knowledge_bases.get(program, base.id).permission is scope.permission
    assert library.documents.get(program, document.id).name == "a.md"
    calls: dict[Permission, Callable[[], object]] = {
        Permission.EDIT: lambda: library.documents.cancel(program, document.id),
        Permission.OWN: lambda: library.knowledge_bases.delete(program, base.id),
    }
    for permission, call in calls.items():
        if scope.permission.includes(permission):
            call()
        else:
            with pytest.raises(OutOfScope):
                call()


def test_key_reaches_no_further_than_its_user(keys: ApiKeys, library: Library) -> None:
    base = library.knowledge_base("Theirs", library.stranger)
    program = acting(keys, library, *KeyScope)
    with pytest.raises(NotFound):
        library.knowledge_bases.get(program, base.id)
    Sharing(library.database).grant(library.stranger, base.id, Grantee(GranteeKind.EVERYBODY), Permission.VIEW)
    assert library.knowledge_bases.get(program, base.id).permission is Permission.VIEW


def test_limited_key_reaches_its_knowledge_bases_only(keys: ApiKeys, library: Library) -> None:
    chosen, other = library.knowledge_base("Chosen"), library.knowledge_base("Other")
    hidden = library.upload(other)
    conversations = Conversations(library.database)
    talk = conversations.create(library.user, "Private", Mode.LLM)
    program = acting(keys, library, *KeyScope, only=chosen)
    assert [base.id for base in library.knowledge_bases.list(program)] == [chosen.id]
    library.arrivals.register(program, chosen.id, "b.md", io.BytesIO(b"# B"))
    with pytest.raises(NotFound):
        library.documents.get(program, hidden.id)
    with pytest.raises(OutOfScope):
        library.knowledge_bases.create(program, "New", "m")
    with pytest.raises(NotFound):
        conversations.get(program, talk.id)
    with pytest.raises(NotFound):
        conversations.create(program, "Q", Mode.KNOWLEDGE, Scope.of(other.id))
    own = conversations.create(program, "Q", Mode.KNOWLEDGE, Scope.of(chosen.id))
    assert conversations.get(program, own.id).title == "Q"
    assert conversations.get(library.user, own.id).title == "Q"  # who made the key sees what it does
    with pytest.raises(NotFound):
        conversations.get(acting(keys, library, *KeyScope, only=chosen), own.id)


def test_key_for_deleted_knowledge_bases_reaches_none(keys: ApiKeys, library: Library) -> None:
    """Not all of them: an empty limit is one still."""
    base, _other = library.knowledge_base("Gone"), library.knowledge_base("Other")
    program = acting(keys, library, KeyScope.READ, only=base)
    library.knowledge_bases.delete(library.user, base.id)
    assert library.knowledge_bases.list(program) == []
    _key, secret = keys.create(library.user, "None", [KeyScope.READ], [])
    assert library.knowledge_bases.list(keys.authenticate(secret.get_secret_value())) == []
