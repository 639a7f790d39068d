"""Locks, progress and worker heartbeats on a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import redis

from kb import redis as kb_redis
from kb.errors import RedisTooOld, RedisUnavailable
from kb.models import Progress, VersionState
from kb.progress import Meter, ProgressBoard, WorkerInfo
from tests.conftest import MakeSettings
from tests.real_services import Redis, free_port, wait_until


@pytest.fixture
def client(make_settings: MakeSettings, redis_url: str) -> Iterator[redis.Redis]:
    with kb_redis.connect(make_settings(redis_url=redis_url)) as client:
        client.flushall()
        yield client


@pytest.fixture
def away(make_settings: MakeSettings) -> Iterator[redis.Redis]:
    """A Redis that does not exist."""
    with kb_redis.connect(make_settings(redis_url=f"redis://127.0.0.1:{free_port()}")) as client:
        yield client


# --- locks -----------------------------------------------------------------------------------------------------


def test_only_one_thread_holds_a_lock(client: redis.Redis) -> None:
    turns = kb_redis.Turns(client)
    inside, most = 0, 0

    def work(_number: int) -> None:
        nonlocal inside, most
        with turns.take("a"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert most == 1


def test_locks_with_different_names_are_independent(client: redis.Redis) -> None:
    turns = kb_redis.Turns(client)
    with turns.take("a"), turns.take("b"):
        assert len(client.keys(f"{kb_redis.PREFIX}:turn:*")) == 2
    assert client.keys(f"{kb_redis.PREFIX}:turn:*") == []


def test_lock_is_released_after_an_error(client: redis.Redis) -> None:
    turns = kb_redis.Turns(client)
    with pytest.raises(ZeroDivisionError), turns.take("a"):
        _ = 1 / 0
    with turns.take("a"):
        pass


def test_long_lock_is_renewed(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kb_redis, "LOCK_SECONDS", 2.0)
    turns, others, entered = kb_redis.Turns(client), kb_redis.Turns(client), threading.Event()

    def second() -> None:
        with others.take("a"):  # like another process
            entered.set()

    for _ in range(2):  # again after the renewing thread has ended
        with turns.take("a"):
            waiting = threading.Thread(target=second)
            waiting.start()
            assert not entered.wait(3.0)
        waiting.join()
        assert entered.is_set()
        entered.clear()
        wait_until(lambda: "turns" not in [thread.name for thread in threading.enumerate()])


def test_lock_of_a_killed_process_expires(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    client.set(f"{kb_redis.PREFIX}:turn:a", "of a dead process", px=300)
    with kb_redis.Turns(client).take("a"):
        assert 0.1 < time.monotonic() - began < 20
    monkeypatch.setattr(kb_redis, "LOCK_WAIT_SECONDS", 0.2)
    client.set(f"{kb_redis.PREFIX}:turn:a", "of a living one")
    with pytest.raises(RedisUnavailable), kb_redis.Turns(client).take("a"):
        pass


def test_lock_fails_without_redis(away: redis.Redis) -> None:
    with pytest.raises(RedisUnavailable), kb_redis.Turns(away).take("a"):
        pytest.fail("it got the lock")


def test_frozen_redis_is_reported(own_redis: Redis, make_settings: MakeSettings) -> None:
    with kb_redis.connect(make_settings(redis_url=own_redis.url)) as client:
        assert kb_redis.ping(client).startswith("Redis ")
        own_redis.freeze()
        began = time.monotonic()
        with pytest.raises(RedisUnavailable):
            kb_redis.ping(client)
        assert time.monotonic() - began < 20
        own_redis.thaw()
        wait_until(lambda: kb_redis.ping(client))


class Hanging(redis.Redis):
    """A Redis whose connections stay open."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.pings = True, 0

    def ping(self, *_: object, **__: object) -> bool:
        self.pings += 1
        if self.hangs:
            raise redis.TimeoutError("Timeout reading from socket")
        return True


def test_redis_that_hangs_is_waited_for_once() -> None:
    now, client = [100.0], Hanging()
    quick = kb_redis.QuickRedis(client, clock=lambda: now[0])
    with pytest.raises(RedisUnavailable, match="Timeout reading"), quick.asked() as asked:
        asked.ping()
    for _ in range(3):
        with pytest.raises(RedisUnavailable, match="Timeout reading"), quick.asked():
            pytest.fail("it was asked again")
    now[0] += kb_redis.PROBE_SECONDS
    with pytest.raises(RedisUnavailable), quick.asked():
        pytest.fail("somebody waits for it")
    wait_until(lambda: client.pings == 2)
    client.hangs = False

    def is_back() -> bool:
        now[0] += kb_redis.PROBE_SECONDS
        with suppress(RedisUnavailable), quick.asked():
            return True
        return False

    wait_until(is_back)


def test_redis_that_hung_long_ago_is_asked() -> None:
    now, client = [100.0], Hanging()
    quick = kb_redis.QuickRedis(client, clock=lambda: now[0])
    with pytest.raises(RedisUnavailable), quick.asked() as asked:
        asked.ping()
    client.hangs = False
    now[0] += kb_redis.FORGET_SECONDS + 1
    with quick.asked() as asked:
        assert asked.ping()


class OldServer(redis.Redis):
    def __init__(self, version: str) -> None:
        super().__init__()
        self._version = version

    def info(self, *_: object, **__: object) -> dict[str, str]:
        return {"redis_version": self._version}


@pytest.mark.parametrize("version", ["6.0.16", "5.0.14"])
def test_server_below_the_floor_is_reported_with_its_version(version: str) -> None:
    with (
        OldServer(version) as client,
        pytest.raises(RedisTooOld, match=rf"Redis {version} is too old: .* 6\.2 or later"),
    ):
        kb_redis.ping(client)


@pytest.mark.parametrize("version", ["6.2.0", "7.2.4", "8.0.1", "255.255.255"])
def test_server_at_or_above_the_floor_is_accepted(version: str) -> None:
    with OldServer(version) as client:
        assert kb_redis.ping(client) == f"Redis {version}"


# --- progress --------------------------------------------------------------------------------------------------


def test_progress_survives_a_round_trip(client: redis.Redis) -> None:
    board, version = ProgressBoard(kb_redis.QuickRedis(client)), uuid4()
    progress = Progress(VersionState.EMBEDDING, 64, 128, 12.34, datetime(2026, 1, 1, tzinfo=UTC), "worker")
    board.write(version, progress)
    assert board.read([version, uuid4()]) == {version: progress}
    assert board.read([]) == {}
    assert client.ttl(kb_redis.progress_key(version)) > 0


def test_writing_progress_ignores_a_missing_redis(away: redis.Redis) -> None:
    board, version = ProgressBoard(kb_redis.QuickRedis(away)), uuid4()
    board.write(version, Progress(VersionState.PARSING, 0, 0, 0.0, datetime.now(UTC), "worker"))
    with pytest.raises(RedisUnavailable):  # but readers are told
        board.read([version])
    with pytest.raises(RedisUnavailable):
        board.workers()


def test_meter_writes_twice_a_second_with_the_rate_of_the_stage(client: redis.Redis) -> None:
    board, version, now = ProgressBoard(kb_redis.QuickRedis(client)), uuid4(), [100.0]
    meter = Meter(board, version, "worker", clock=lambda: now[0])
    meter.report(VersionState.PARSING, 1, 2)
    assert board.read([version]) == {}  # too short to be seen
    seen = []
    for done in range(101):
        now[0] += 0.125
        meter.report(VersionState.EMBEDDING, done, 100)
        if progress := board.read([version]).get(version):
            seen.append((progress.stage, progress.done))
    assert seen[0] == (VersionState.EMBEDDING, 3)
    assert sorted(set(seen)) == [(VersionState.EMBEDDING, done) for done in range(3, 101, 4)]
    assert board.read([version])[version].rate == pytest.approx(8.0)


def test_workers_are_listed_while_their_heartbeat_is_fresh(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = ProgressBoard(kb_redis.QuickRedis(client))
    workers = [
        WorkerInfo(f"host:{number}:x", "host", number, 2, 1, datetime(2026, 1, number, tzinfo=UTC)) for number in (2, 1)
    ]
    for worker in workers:
        board.announce_worker(worker)
    assert board.workers() == workers[::-1]
    board.withdraw_worker("host:1:x")
    assert board.workers() == workers[:1]
    monkeypatch.setattr("kb.progress.WORKER_SECONDS", 1)
    board.announce_worker(workers[0])
    wait_until(lambda: board.workers() == [], 5)
