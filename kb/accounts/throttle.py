"""How often passwords and links may be tried: from each address, for each account, and both together.

Failures are counted in Redis for all web processes, and in this process while Redis does not respond.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from functools import cached_property, partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, TypeVar

import redis

from kb.errors import RedisUnavailable, TooManyAttempts
from kb.redis import PREFIX, QuickRedis

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import FixedWindowRateLimiter

Result = TypeVar("Result")

MINUTES = 15
# Failures in that time. Somebody elsewhere who tries an account's passwords does not soon keep its owner out.
FOR_ACCOUNT_FROM_ADDRESS = 10
FOR_ACCOUNT = 100
FROM_ADDRESS = 50  # an office may share one
IPV6_NETWORK = 64  # bits: one customer has at least as many addresses


class Throttle:
    def __init__(self, redis: QuickRedis) -> None:
        self._redis = redis
        self._shared: FixedWindowRateLimiter | None = None

    def check(self, account: str, address: str) -> None:
        """`account` is a folded name; empty: none. Errors: `TooManyAttempts`."""
        limits = _limits(account, address)
        until = max(self._ask(partial(_blocked_until, limit=limit)) for limit in limits)
        if until > time.time():
            raise TooManyAttempts(minutes=math.ceil((until - time.time()) / 60))

    def count_failure(self, account: str, address: str) -> None:
        for item, key in _limits(account, address):
            self._ask(lambda limiter, item=item, key=key: limiter.hit(item, key))  # type: ignore[misc]

    def forget(self, account: str, address: str) -> None:
        """After a success. What came from the address still counts: it may try other accounts."""
        for item, key in _limits(account, address)[1:]:
            self._ask(lambda limiter, item=item, key=key: limiter.clear(item, key))  # type: ignore[misc]

    def _ask(self, question: Callable[[FixedWindowRateLimiter], Result]) -> Result:
        try:
            with self._redis.asked() as client:
                self._shared = self._shared or _in_redis(client)
                return question(self._shared)
        except RedisUnavailable:
            return question(self._own)

    @cached_property
    def _own(self) -> FixedWindowRateLimiter:
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        return FixedWindowRateLimiter(MemoryStorage())


def _in_redis(client: redis.Redis) -> FixedWindowRateLimiter:
    from limits.storage import RedisStorage
    from limits.strategies import FixedWindowRateLimiter

    storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=f"{PREFIX}:throttle")
    return FixedWindowRateLimiter(storage)


def _limits(account: str, address: str) -> list[tuple[RateLimitItem, str]]:
    """Each with its key; that of the address comes first. Keys have no names of people in them."""
    from limits import RateLimitItemPerMinute

    network = _network(address)
    limits = [(FROM_ADDRESS, f"address {network}")]
    if account:
        limits += [(FOR_ACCOUNT_FROM_ADDRESS, f"both {network} {account}"), (FOR_ACCOUNT, f"account {account}")]
    return [
        (RateLimitItemPerMinute(most, MINUTES), hashlib.sha256(key.encode(errors="replace")).hexdigest())
        for most, key in limits
    ]


def _blocked_until(limiter: FixedWindowRateLimiter, limit: tuple[RateLimitItem, str]) -> float:
    """In seconds since 1970; 0 if it is not blocked."""
    ends, left = limiter.get_window_stats(*limit)
    return 0 if left else float(ends)


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, IPV6_NETWORK), strict=False)) if found.version == 6 else str(found)
