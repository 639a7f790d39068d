"""What `benchmarks.faults` does to an installation: kills, pauses, lost data, a full disk, a locked database.

A fault returns once it is over; what ends by itself (a restart by the supervisor, say) is left to the installation.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from benchmarks.web import WebProcess
from kb.local.plan import Folders

DISK_BYTES = 1 << 30
FILL_SECONDS = (0.5, 3.0)
PAUSE_SECONDS = (0.2, 4.0)
LOCK_SECONDS = (0.5, 8.0)
GONE_SECONDS = 5.0
SERVICES = ("worker", "redis", "milvus")
PARSER = "kb.parsing"  # in the command line of a child that reads files


@dataclass(frozen=True, slots=True)
class Target:
    """The installation that is attacked. `is_small_disk`: its home is a file system of its own, which can be filled."""

    web: WebProcess
    chance: random.Random
    is_small_disk: bool

    @property
    def folders(self) -> Folders:
        return Folders(self.web.home)


@dataclass(frozen=True, slots=True)
class Fault:
    """`weight`: how often it is drawn. `loses_chunks`: afterwards, ready documents may have to be indexed again.

    `strike` returns False if it found nothing to strike.
    """

    name: str
    weight: int
    strike: Callable[[Target], bool | None]
    loses_chunks: bool = False


def draw_fault(target: Target, only: frozenset[str]) -> Fault:
    """One of all faults, or of `only`."""
    known = [fault for fault in FAULTS if fault.name in only] if only else list(FAULTS)
    usable = [fault for fault in known if target.is_small_disk or fault.strike is not _fill_disk]
    return target.chance.choices(usable, [fault.weight for fault in usable])[0]


# --- processes ---


def _kill(target: Target) -> None:
    _signal(target.web.service_pid(target.chance.choice(SERVICES)), signal.SIGKILL)


def _kill_web(target: Target) -> None:
    target.web.kill()
    target.web.start()
    target.web.wait_for_services()


def _kill_parser(target: Target) -> bool:
    """A child that reads a file, or the process that starts them."""
    parsers = [process.pid for process in target.web.processes() if _is_parser(process)]
    if parsers:
        _signal(target.chance.choice(parsers), signal.SIGKILL)
    return bool(parsers)


def _is_parser(process: psutil.Process) -> bool:
    try:
        return any(PARSER in argument for argument in process.cmdline())
    except psutil.Error:
        return False


def _pause(target: Target) -> None:
    pid = target.web.service_pid(target.chance.choice(SERVICES))
    _signal(pid, signal.SIGSTOP)
    time.sleep(target.chance.uniform(*PAUSE_SECONDS))
    _signal(pid, signal.SIGCONT)


def _signal(pid: int | None, number: signal.Signals) -> None:
    """Nothing if it ended meanwhile, or is just being started again."""
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill_and_wait(target: Target, name: str) -> None:
    """Without the supervisor, which would start the service again before its data are changed."""
    pid = target.web.service_pid(name)
    if pid is None:
        return
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        process.kill()
        process.wait(GONE_SECONDS)


# --- Redis ---


def _flush_redis(target: Target) -> None:
    with suppress(redis.RedisError):
        redis.Redis.from_url(target.web.run_state.redis_url, socket_timeout=GONE_SECONDS).flushall()


def _lose_redis(target: Target) -> None:
    _kill_and_wait(target, "redis")
    for path in _files(target.folders.redis):
        path.unlink(missing_ok=True)


# --- Milvus ---


def _empty_milvus(target: Target) -> None:
    """Drop every collection, as another program could."""
    from pymilvus import MilvusClient
    from pymilvus.exceptions import MilvusException

    with suppress(MilvusException):  # it may be starting
        client = MilvusClient(target.web.run_state.milvus_uri, timeout=GONE_SECONDS)
        for collection in client.list_collections():
            client.drop_collection(collection)
        client.close()


def _lose_milvus(target: Target) -> None:
    with _frozen_supervisor(target):
        _kill_and_wait(target, "milvus")
        _clear(target.folders.milvus)


def _truncate_milvus(target: Target) -> None:
    """Cut a file of Milvus to half its length: of data, or a manifest."""
    with _frozen_supervisor(target):
        _kill_and_wait(target, "milvus")
        if files := [path for path in _files(target.folders.milvus) if path.stat().st_size]:
            path = target.chance.choice(files)
            os.truncate(path, path.stat().st_size // 2)


def keep_milvus(target: Target) -> None:
    """Copy its data as a kill would leave them now, for `_replace_milvus`."""
    pid = target.web.service_pid("milvus")
    shutil.rmtree(_kept_milvus(target), ignore_errors=True)
    _signal(pid, signal.SIGSTOP)
    try:
        shutil.copytree(target.folders.milvus, _kept_milvus(target))
    finally:
        _signal(pid, signal.SIGCONT)


def _replace_milvus(target: Target) -> None:
    """Milvus comes back as it was a while before, as a restored backup would."""
    with _frozen_supervisor(target):
        _kill_and_wait(target, "milvus")
        _clear(target.folders.milvus)
        shutil.copytree(_kept_milvus(target), target.folders.milvus, dirs_exist_ok=True)


def _kept_milvus(target: Target) -> Path:
    return target.web.home / "milvus-before"


@contextmanager
def _frozen_supervisor(target: Target) -> Iterator[None]:
    """It starts nothing again while files are changed."""
    holder = target.web.run_state.holder
    pid = holder.pid if holder else None
    _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pid, signal.SIGCONT)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "LOCK")


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# --- the disk and SQL ---


def _fill_disk(target: Target) -> None:
    ballast = target.web.home / "ballast"
    try:
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        time.sleep(target.chance.uniform(*FILL_SECONDS))
    finally:
        ballast.unlink(missing_ok=True)


def _lock_sqlite(target: Target) -> None:
    connection = sqlite3.connect(target.web.home / "zhiwen.db", isolation_level=None, timeout=GONE_SECONDS)
    try:
        with suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(target.chance.uniform(*LOCK_SECONDS))
            connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextmanager
def small_disk(home: Path) -> Iterator[bool]:
    """Mount a small file system in memory at `home` where the machine allows it; yields whether it did."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "zhiwen-benchmark", str(home)]
    can_mount = sys.platform == "linux" and os.geteuid() == 0
    is_mounted = can_mount and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(home)], check=True)


FAULTS = (
    Fault("kill", 10, _kill),
    Fault("kill_web", 3, _kill_web),
    Fault("kill_parser", 5, _kill_parser),
    Fault("pause", 5, _pause),
    Fault("flush_redis", 3, _flush_redis),
    Fault("lose_redis", 2, _lose_redis),
    Fault("empty_milvus", 1, _empty_milvus, loses_chunks=True),
    Fault("lose_milvus", 1, _lose_milvus, loses_chunks=True),
    Fault("truncate_milvus", 1, _truncate_milvus, loses_chunks=True),
    Fault("replace_milvus", 1, _replace_milvus, loses_chunks=True),
    Fault("full_disk", 2, _fill_disk),
    Fault("lock_sqlite", 3, _lock_sqlite),
)
