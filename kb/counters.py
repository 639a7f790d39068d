"""Counts within windows of time: in Redis for all processes, and in this process while Redis does not respond."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING, TypeVar

import redis
import structlog

from kb.errors import RedisUnavailable
from kb.redis import PREFIX, QuickRedis

if TYPE_CHECKING:
    from limits.strategies import FixedWindowRateLimiter

Result = TypeVar("Result")

IPV6_NETWORK = 64  # bits: one customer has at least as many addresses

log = structlog.get_logger()


class WindowCounters:
    """The counters below `name` in Redis. A window begins with the first that is counted in it."""

    def __init__(self, redis: QuickRedis, name: str) -> None:
        self._redis = redis
        self._name = name
        self._shared: FixedWindowRateLimiter | None = None
        self._is_away = False

    def ask(self, question: Callable[[FixedWindowRateLimiter], Result]) -> Result:
        try:
            with self._redis.asked() as client:
                self._shared = self._shared or self._in_redis(client)
                found = question(self._shared)
                self._is_away = False
                return found
        except RedisUnavailable as error:
            if not self._is_away:
                log.warning("counters.only_here", counters=self._name, detail=str(error))
            self._is_away = True
            return question(self._own)

    def _in_redis(self, client: redis.Redis) -> FixedWindowRateLimiter:
        from limits.storage import RedisStorage
        from limits.strategies import FixedWindowRateLimiter

        pool = client.connection_pool
        return FixedWindowRateLimiter(
            RedisStorage("redis://", connection_pool=pool, key_prefix=f"{PREFIX}:{self._name}")
        )

    @cached_property
    def _own(self) -> FixedWindowRateLimiter:
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        return FixedWindowRateLimiter(MemoryStorage())


def network_of(address: str) -> str:
    """Whose address it is, as far as addresses tell: an IPv4 address, or the network of an IPv6 one."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped:  # as a socket for both tells it
        return str(found.ipv4_mapped)
    return str(ip_network((found, IPV6_NETWORK), strict=False))
