"""How often programs may ask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
import redis

from kb.access import Principal
from kb.access.request_limits import UNKNOWN, UNKNOWN_A_MINUTE, WINDOW_SECONDS, RequestLimits
from kb.errors import TooManyAnswers
from kb.redis import QuickRedis

HERE, THERE = "192.0.2.7", "198.51.100.9"


@dataclass
class Later:
    """The clock of the process, moved on."""

    seconds: float = 0

    def __call__(self) -> float:
        return time.time() + self.seconds


@dataclass
class Program:
    limits: RequestLimits
    clock: Later = field(default_factory=Later)

    def asks(self, token: str, address: str = HERE, is_question: bool = False) -> list[str]:
        """What is refused."""
        found = self.limits.refusal(token, address, is_question)
        standings = [found] if found else self.limits.count(token, address, is_question)
        assert all(0 < each.seconds <= WINDOW_SECONDS for each in standings)
        return [each.name for each in standings if each.is_exceeded]


@pytest.fixture(params=["redis", "memory"])
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    """Counts in Redis, and in memory while that does not respond. Each key has 3 requests, 2 of them questions."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else "redis://127.0.0.1:1"
    with closing(redis.Redis.from_url(url, decode_responses=True, socket_timeout=2)) as client:
        if request.param == "redis":
            client.flushall()
        clock = Later()
        yield Program(RequestLimits(QuickRedis(client), requests=3, answers=2, clock=clock, user_answers=2), clock)


def test_each_key_has_a_limit_of_its_own(program: Program) -> None:
    assert [program.asks("one") for _ in range(4)] == [[], [], [], ["requests"]]
    assert program.asks("one") == ["requests"]
    assert program.asks("two") == []


def test_each_user_has_a_limit_of_answers(program: Program) -> None:
    one, two = Principal(uuid4()), Principal(uuid4())
    for _ in range(2):
        program.limits.count_answer(one)
    for _ in range(2):
        with pytest.raises(TooManyAnswers) as refused:
            program.limits.count_answer(one)
        assert refused.value.values["most"] == "2"
        assert 0 < int(refused.value.values["seconds"]) <= WINDOW_SECONDS
    program.limits.count_answer(two)
    RequestLimits(program.limits._counters._redis, requests=0, answers=0).count_answer(one)  # unlimited


def test_answers_have_a_limit_apart(program: Program) -> None:
    assert [program.asks("one", is_question=True) for _ in range(3)] == [[], [], ["answers"]]
    standing = program.limits.refusal("one", HERE, is_question=True)
    assert standing
    assert (standing.most, standing.left) == (2, 0)
    assert program.limits.refusal("one", HERE, is_question=False) is None


def test_what_is_used_up_comes_back(program: Program) -> None:
    assert program.asks("one") == program.asks("one") == program.asks("one") == []
    assert program.asks("one") == ["requests"]
    program.clock.seconds = WINDOW_SECONDS + 1
    assert program.limits.refusal("one", HERE, is_question=False) is None


def test_what_is_used_up_comes_back_when_the_clock_is_set_back(program: Program) -> None:
    assert [program.asks("one") for _ in range(4)] == [[], [], [], ["requests"]]
    program.clock.seconds = -86_400
    assert program.limits.refusal("one", HERE, is_question=False) is None


def test_address_that_tries_keys_is_refused_and_valid_keys_from_there_are_not(program: Program) -> None:
    assert program.asks("valid") == []
    program.limits.note_key("valid", is_valid=True)
    for attempt in range(UNKNOWN_A_MINUTE - 1):
        assert program.asks(f"key {attempt}") == []
    assert program.asks("another") == [UNKNOWN]
    assert program.asks("") == [UNKNOWN]
    assert program.asks("another", THERE) == []
    assert program.asks("valid") == []
    program.limits.note_key("valid", is_valid=False)  # it was revoked
    assert program.asks("valid") == [UNKNOWN]


def test_refusal_asks_nobody(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        program.asks("one")
    monkeypatch.setattr(program.limits, "_counters", None)
    assert program.asks("one") == ["requests"]


def test_without_limits_only_unknown_keys_are_counted(redis_url: str) -> None:
    with closing(redis.Redis.from_url(redis_url, decode_responses=True)) as client:
        limits = RequestLimits(QuickRedis(client), requests=0, answers=0)
        limits.note_key("one", is_valid=True)
        assert limits.count("one", HERE, is_question=True) == []
        assert [each.name for each in limits.count("two", HERE, is_question=True)] == [UNKNOWN]
