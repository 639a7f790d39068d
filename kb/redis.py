"""The Redis connection pool, key names, and locks between processes."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.lock import Lock

from kb.config import Settings
from kb.errors import ITS_DISK_IS_FULL, RedisTooOld, RedisUnavailable, is_disk_full
from kb.local.redis_server import OLDEST

PREFIX = "zhiwen"
QUICK_SECONDS = 0.5  # for a reply; a Redis that is busy takes a few hundredths
PROBE_SECONDS = 0.5  # between two looks whether Redis is back
FORGET_SECONDS = 5.0  # after the last look that failed; more than those of `QUICK_SECONDS` and `PROBE_SECONDS`
LOCK_SECONDS = 15.0
LOCK_WAIT_SECONDS = 120.0


def connect(settings: Settings, reply_seconds: float = 5, connect_seconds: float = 3) -> redis.Redis:
    """A client with a connection pool. It connects at first use. Replies are text."""
    return redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=reply_seconds,
        socket_connect_timeout=connect_seconds,
    )


def progress_key(version_id: UUID) -> str:
    return f"{PREFIX}:progress:{version_id.hex}"


def trace_key(version_id: UUID) -> str:
    return f"{PREFIX}:trace:{version_id.hex}"


WORKERS = f"{PREFIX}:workers"  # the ids of workers; those whose `worker_key` has expired are gone


def worker_key(worker_id: str) -> str:
    return f"{PREFIX}:worker:{worker_id}"


def answer_key(run_id: UUID, part: str) -> str:
    """`part` is `stream`, `stop` or `alive`."""
    return f"{PREFIX}:answer:{run_id.hex}:{part}"


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's errors into `RedisUnavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RedisUnavailable(detail=ITS_DISK_IS_FULL if is_disk_full(error) else detail) from error


class QuickRedis:
    """Redis for those whom people wait for.

    One that does not respond is waited for once (`QUICK_SECONDS`, which `client` is to have). Then everybody is told at
    once, and a thread beside asks whether it is back.
    """

    def __init__(self, client: redis.Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._guard = threading.Lock()
        self._failure: RedisUnavailable | None = None
        self._failed_at = self._probed_at = 0.0

    @contextmanager
    def asked(self) -> Iterator[redis.Redis]:
        """The client, for one question inside the block. Errors: `RedisUnavailable`."""
        self._require()
        try:
            with translated():
                yield self._client
        except RedisUnavailable as error:
            with self._guard:
                self._failure, self._failed_at = error, self._clock()
            raise

    def _require(self) -> None:
        with self._guard:
            now = self._clock()
            if self._failure is None or now - self._failed_at > FORGET_SECONDS:
                return
            if now - max(self._probed_at, self._failed_at) >= PROBE_SECONDS:
                self._probed_at = now
                threading.Thread(target=self._probe, name="redis-probe", daemon=True).start()
            raise RedisUnavailable(**self._failure.values)

    def _probe(self) -> None:
        failure = None
        try:
            with translated():
                self._client.ping()
        except RedisUnavailable as error:
            failure = error
        with self._guard:
            self._failure, self._failed_at = failure, self._clock()

    def close(self) -> None:
        self._client.close()


def quick(settings: Settings) -> QuickRedis:
    return QuickRedis(connect(settings, QUICK_SECONDS, QUICK_SECONDS))


def ping(client: redis.Redis) -> str:
    """The server's version. Errors: `RedisUnavailable`, `RedisTooOld`."""
    with translated():
        info: Any = client.info("server")
    version = str(info["redis_version"])
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise RedisTooOld(version=version, needed=".".join(map(str, OLDEST)))
    return f"Redis {version}"


class Turns:
    """One writer at a time for each name, across processes.

    The lock expires soon and is renewed while it is held, so that a killed holder does not block others for long.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        # Threads of one process queue here, where waiting is free. Other processes wait by polling Redis.
        self._local: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        # Most turns last milliseconds: one thread renews them all, and ends when none is left.
        self._taken: set[Lock] = set()
        self._guard = threading.Lock()
        self._is_renewing = False

    @contextmanager
    def take(self, name: str) -> Iterator[None]:
        """Wait for the turn, and hold it inside the block. Errors: `RedisUnavailable`."""
        with self._local[name], self._take(name):
            yield

    @contextmanager
    def _take(self, name: str) -> Iterator[None]:
        lock = self._client.lock(
            f"{PREFIX}:turn:{name}",
            timeout=LOCK_SECONDS,
            sleep=0.02,
            blocking_timeout=LOCK_WAIT_SECONDS,
            thread_local=False,
        )
        with translated():
            if not lock.acquire():
                raise RedisConnectionError(f"waited {LOCK_WAIT_SECONDS:.0f} s for the lock on {name}")
        try:
            self._keep(lock)
            yield
        finally:
            with self._guard:
                self._taken.discard(lock)
            _release(lock)

    def _keep(self, lock: Lock) -> None:
        with self._guard:
            self._taken.add(lock)
            if not self._is_renewing:
                threading.Thread(target=self._renew, name="turns", daemon=True).start()
                self._is_renewing = True

    def _renew(self) -> None:
        while True:
            time.sleep(LOCK_SECONDS / 3)
            with self._guard:
                taken = list(self._taken)
                if not taken:
                    self._is_renewing = False
                    return
            for lock in taken:
                # Released or lost meanwhile: nothing to do. A short outage of Redis ends before the lock expires.
                with suppress(RedisError, OSError):
                    lock.reacquire()


def _release(lock: Any) -> None:
    try:
        lock.release()
    except RedisError:
        return  # it will expire
