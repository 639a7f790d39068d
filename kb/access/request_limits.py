"""How often programs may ask: each key in a minute, and each address without a key that is known to be valid; and how
many answers each person may ask for, on the pages and by all programs together that have a key of theirs.

What is used up is remembered here until its window ends, so that refusing a flood costs neither Redis nor SQL.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache, TLRUCache

from kb.access.tokens import digest
from kb.counters import WindowCounters, network_of
from kb.errors import TooManyAnswers
from kb.principals import Principal
from kb.redis import QuickRedis

WINDOW_SECONDS = 60
UNKNOWN = "unknown"  # the limit of an address
UNKNOWN_A_MINUTE = 60  # requests from one address without a valid key; each may cost a look into SQL
REMEMBERED = 10_000  # keys that are valid, and limits that are used up


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` requests a minute, counted under `key`."""

    name: str
    most: int
    key: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a limit is used up. `seconds`: until all of it is there again."""

    name: str
    most: int
    left: int
    seconds: int
    is_exceeded: bool = False


class RequestLimits:
    """`requests` and `answers` a minute for each key, `user_answers` for each user; 0: no limit.

    Safe to use from several threads.
    """

    def __init__(
        self,
        redis: QuickRedis,
        requests: int,
        answers: int,
        clock: Callable[[], float] = time.time,
        user_answers: int = 0,
    ) -> None:
        self._user_answers = user_answers
        self._counters = WindowCounters(redis, "requests")
        self._requests, self._answers, self._clock = requests, answers, clock
        self._guard = threading.Lock()
        self._valid: LRUCache[str, bool] = LRUCache(REMEMBERED)
        self._used_up: TLRUCache[str, float] = TLRUCache(REMEMBERED, ttu=_until, timer=clock)

    def refusal(self, token: str, address: str, is_question: bool) -> Standing | None:
        """The limit that is known to be used up. Asks nobody, and counts nothing."""
        with self._guard:
            limits = self._limits(token, address, is_question)
        return next(filter(None, map(self._refusal, limits)), None)

    def count(self, token: str, address: str, is_question: bool) -> Sequence[Standing]:
        """Count a request; how its limits stand then. One that is exceeded comes alone."""
        with self._guard:
            limits = self._limits(token, address, is_question)
        standings = []
        for limit in limits:
            # Requests that waited for their turn meet what the one before them found.
            standing = self.refusal(token, address, is_question) or self._hit(limit)
            if standing.is_exceeded:
                return [standing]
            standings.append(standing)
        return standings

    def count_answer(self, principal: Principal) -> None:
        """Count an answer that a user, or a program for them, asks for. Errors: `TooManyAnswers`."""
        if not self._user_answers:
            return
        limit = Limit("answers", self._user_answers, f"user {principal.user_id}")
        standing = self._refusal(limit) or self._hit(limit)
        if standing.is_exceeded:
            raise TooManyAnswers(most=limit.most, seconds=standing.seconds)

    def note_key(self, token: str, is_valid: bool) -> None:
        """What came of asking SQL for the key: requests with a valid one do not count for their address."""
        with self._guard:
            if is_valid:
                self._valid[digest(token)] = True
            else:
                self._valid.pop(digest(token), None)

    def _limits(self, token: str, address: str, is_question: bool) -> list[Limit]:
        of_key = digest(token)
        limits = []
        if not token or of_key not in self._valid:
            network = hashlib.sha256(network_of(address).encode()).hexdigest()
            limits.append(Limit(UNKNOWN, UNKNOWN_A_MINUTE, f"address {network}"))
        if token and self._requests:
            limits.append(Limit("requests", self._requests, f"key {of_key}"))
        if token and self._answers and is_question:
            limits.append(Limit("answers", self._answers, f"answers {of_key}"))
        return limits

    def _refusal(self, limit: Limit) -> Standing | None:
        with self._guard:
            until = self._used_up.get(limit.key)
        if until is None or until - self._clock() > 2 * WINDOW_SECONDS:  # the clock was set back
            return None
        return Standing(limit.name, limit.most, 0, self._seconds(until), is_exceeded=True)

    def _hit(self, limit: Limit) -> Standing:
        from limits import RateLimitItemPerSecond
        from limits.strategies import FixedWindowRateLimiter

        item = RateLimitItemPerSecond(limit.most, WINDOW_SECONDS)

        def hit(limiter: FixedWindowRateLimiter) -> tuple[bool, Any]:
            return limiter.hit(item, limit.key), limiter.get_window_stats(item, limit.key)

        is_within, stats = self._counters.ask(hit)
        if not is_within:
            with self._guard:
                self._used_up[limit.key] = float(stats.reset_time)
        left = int(stats.remaining) if is_within else 0
        return Standing(limit.name, limit.most, left, self._seconds(stats.reset_time), is_exceeded=not is_within)

    def _seconds(self, until: float) -> int:
        return max(1, math.ceil(until - self._clock()))


def _until(_key: str, until: float, _now: float) -> float:
    return until
