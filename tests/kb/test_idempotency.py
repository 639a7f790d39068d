"""Idempotency keys of programs."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.access import KeyScope, Principal
from kb.access.idempotency import DEAD_SECONDS, KEPT_HOURS, Claim, IdempotencyKeys, KeptReply
from kb.access.keys import ApiKeys
from kb.database import Database
from kb.database.tables import idempotency_keys
from kb.errors import IdempotencyKeyReused, NotFound, RequestRunning
from kb.providers.keys import KeySafe
from tests.conftest import Clock, Library, MakeSettings

ASKED = "POST /knowledge-bases?"


@pytest.fixture
def keys(library: Library, clock: Clock, make_settings: MakeSettings) -> IdempotencyKeys:
    return IdempotencyKeys(library.database, KeySafe(make_settings()), clock)


def program(library: Library) -> Principal:
    api_keys = ApiKeys(library.database)
    _key, secret = api_keys.create(library.user, "Program", [KeyScope.WRITE])
    return api_keys.authenticate(secret.get_secret_value())


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(idempotency_keys)) or 0


def test_repeated_request_gets_the_first_reply(library: Library, keys: IdempotencyKeys) -> None:
    acting = program(library)
    claim = keys.claim(acting, "one", ASKED)
    assert isinstance(claim, Claim)
    keys.keep(claim, 201, '{"name": "水果"}', "digest")
    assert keys.claim(acting, "one", ASKED) == KeptReply(201, '{"name": "水果"}', "digest")
    with library.database.read() as connection:
        assert "水果" not in str(
            connection.scalar(sa.select(idempotency_keys.c.encrypted_reply))
        )  # it may hold a secret
    with pytest.raises(IdempotencyKeyReused):
        keys.claim(acting, "one", "PUT /documents?")
    assert isinstance(keys.claim(acting, "two", ASKED), Claim)
    assert isinstance(keys.claim(program(library), "one", ASKED), Claim)


def test_request_that_runs_is_refused_until_its_process_is_gone(
    library: Library, keys: IdempotencyKeys, clock: Clock
) -> None:
    acting = program(library)
    first = keys.claim(acting, "one", ASKED)
    assert isinstance(first, Claim)
    clock.advance(DEAD_SECONDS - 1)
    keys.note_alive(first)
    clock.advance(DEAD_SECONDS - 1)
    with pytest.raises(RequestRunning):
        keys.claim(acting, "one", ASKED)
    clock.advance(2)
    assert keys.claim(acting, "one", ASKED) == first  # with the same id, so that nothing is created twice
    with pytest.raises(RequestRunning):
        keys.claim(acting, "one", ASKED)


def test_request_of_a_process_that_is_gone_does_not_run_on_when_the_clock_is_set_back(
    library: Library, keys: IdempotencyKeys, clock: Clock
) -> None:
    acting = program(library)
    first = keys.claim(acting, "one", ASKED)
    clock.advance(-86_400)
    assert keys.claim(acting, "one", ASKED) == first


def test_refused_request_leaves_nothing(library: Library, keys: IdempotencyKeys) -> None:
    acting = program(library)
    first = keys.claim(acting, "one", ASKED)
    assert isinstance(first, Claim)
    keys.release(first)
    second = keys.claim(acting, "one", "POST /generate?")
    assert isinstance(second, Claim)
    assert second.id != first.id


def test_keys_are_forgotten_after_a_day(library: Library, keys: IdempotencyKeys, clock: Clock) -> None:
    acting = program(library)
    claim = keys.claim(acting, "one", ASKED)
    assert isinstance(claim, Claim)
    keys.keep(claim, 201, "{}", "digest")
    clock.advance(timedelta(hours=KEPT_HOURS).total_seconds() + 1)
    assert isinstance(keys.claim(acting, "two", ASKED), Claim)
    assert rows(library.database) == 1


def test_reply_under_another_secret_is_gone(
    library: Library, keys: IdempotencyKeys, clock: Clock, make_settings: MakeSettings
) -> None:
    acting = program(library)
    claim = keys.claim(acting, "one", ASKED)
    assert isinstance(claim, Claim)
    keys.keep(claim, 201, "{}", "digest")
    other = IdempotencyKeys(library.database, KeySafe(make_settings(secret_key=uuid4().hex)), clock)
    with pytest.raises(NotFound):
        other.claim(acting, "one", ASKED)
