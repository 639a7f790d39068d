"""How often passwords may be tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis

from kb.accounts import Throttle
from kb.accounts.throttle import FOR_ACCOUNT, FOR_ACCOUNT_FROM_ADDRESS, FROM_ADDRESS, MINUTES
from kb.errors import TooManyAttempts
from kb.redis import QuickRedis

HERE, THERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture(params=["redis", "memory"])
def throttle(request: pytest.FixtureRequest) -> Iterator[Throttle]:
    """Counts in Redis, and in memory while that does not respond."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else "redis://127.0.0.1:1"
    with closing(redis.Redis.from_url(url, decode_responses=True, socket_timeout=2)) as client:
        if request.param == "redis":
            client.flushall()
        yield Throttle(QuickRedis(client))


def is_refused(throttle: Throttle, account: str, address: str) -> bool:
    try:
        throttle.check(account, address)
    except TooManyAttempts as error:
        return 0 < int(error.values["minutes"]) <= MINUTES
    return False


def fail(throttle: Throttle, times: int, account: str, address: str | Callable[[int], str]) -> None:
    for attempt in range(times):
        throttle.count_failure(account, address if isinstance(address, str) else address(attempt))


def test_account_is_closed_to_who_tries_it_and_open_to_others(throttle: Throttle) -> None:
    fail(throttle, FOR_ACCOUNT_FROM_ADDRESS - 1, "ada", HERE)
    assert not is_refused(throttle, "ada", HERE)
    fail(throttle, 1, "ada", HERE)
    assert is_refused(throttle, "ada", HERE)
    assert not is_refused(throttle, "ben", HERE)
    assert not is_refused(throttle, "ada", THERE)


def test_address_that_tries_many_accounts_is_refused(throttle: Throttle) -> None:
    for attempt in range(FROM_ADDRESS):
        fail(throttle, 1, f"user {attempt}", HERE)
    assert is_refused(throttle, "another", HERE)
    assert is_refused(throttle, "", HERE)
    assert not is_refused(throttle, "another", THERE)


def test_account_that_many_addresses_try_is_closed(throttle: Throttle) -> None:
    fail(throttle, FOR_ACCOUNT, "ada", lambda attempt: f"192.0.2.{attempt}")
    assert is_refused(throttle, "ada", THERE)


def test_addresses_of_one_ipv6_network_are_one(throttle: Throttle) -> None:
    fail(throttle, FROM_ADDRESS, "", lambda attempt: f"2001:db8::{attempt:x}")
    assert is_refused(throttle, "", "2001:db8::ffff:1")
    assert not is_refused(throttle, "", "2001:db8:0:1::1")


def test_ipv4_addresses_are_told_apart_also_by_a_socket_for_both(throttle: Throttle) -> None:
    fail(throttle, FROM_ADDRESS, "", lambda _attempt: "::ffff:192.0.2.1")
    assert is_refused(throttle, "", "192.0.2.1")
    assert not is_refused(throttle, "", "::ffff:192.0.2.2")


def test_success_opens_the_account_and_not_the_address(throttle: Throttle) -> None:
    fail(throttle, FOR_ACCOUNT_FROM_ADDRESS, "ada", HERE)
    throttle.forget("ada", HERE)
    assert not is_refused(throttle, "ada", HERE)
    fail(throttle, FROM_ADDRESS - FOR_ACCOUNT_FROM_ADDRESS, "", HERE)
    assert is_refused(throttle, "ada", HERE)


def test_processes_count_together(redis_url: str) -> None:
    with closing(redis.Redis.from_url(redis_url, decode_responses=True)) as client:
        client.flushall()
        first, second = Throttle(QuickRedis(client)), Throttle(QuickRedis(client))
        fail(first, FOR_ACCOUNT_FROM_ADDRESS, "ada", HERE)
        assert is_refused(second, "ada", HERE)
        assert not [key for key in client.scan_iter() if "ada" in key or HERE in key]
