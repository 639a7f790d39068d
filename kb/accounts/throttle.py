"""How often passwords and links may be tried: from each address, for each account, and both together.

Failures are counted for all web processes together, see `kb.counters`.
"""

from __future__ import annotations

import hashlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING

from kb.counters import WindowCounters, network_of
from kb.errors import TooManyAttempts
from kb.redis import QuickRedis

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import FixedWindowRateLimiter

MINUTES = 15
# Failures in that time. Somebody elsewhere who tries an account's passwords does not soon keep its owner out.
FOR_ACCOUNT_FROM_ADDRESS = 10
FOR_ACCOUNT = 100
FROM_ADDRESS = 50  # an office may share one


class Throttle:
    def __init__(self, redis: QuickRedis) -> None:
        self._counters = WindowCounters(redis, "throttle")

    def check(self, account: str, address: str) -> None:
        """`account` is a folded name; empty: none. Errors: `TooManyAttempts`."""
        limits = _limits(account, address)
        until = max(self._counters.ask(partial(_blocked_until, limit=limit)) for limit in limits)
        if until > time.time():
            raise TooManyAttempts(minutes=math.ceil((until - time.time()) / 60))

    def count_failure(self, account: str, address: str) -> None:
        for item, key in _limits(account, address):
            self._counters.ask(lambda limiter, item=item, key=key: limiter.hit(item, key))  # type: ignore[misc]

    def forget(self, account: str, address: str) -> None:
        """After a success. What came from the address still counts: it may try other accounts."""
        for item, key in _limits(account, address)[1:]:
            self._counters.ask(lambda limiter, item=item, key=key: limiter.clear(item, key))  # type: ignore[misc]


def _limits(account: str, address: str) -> list[tuple[RateLimitItem, str]]:
    """Each with its key; that of the address comes first. Keys have no names of people in them."""
    from limits import RateLimitItemPerMinute

    network = network_of(address)
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
