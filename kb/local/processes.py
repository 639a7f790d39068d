"""Processes by id: which one it is, whether it still runs, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.02


def identity(pid: int) -> str:
    """What tells process `pid` from a later one with the same id: when it began. Empty if it does not run."""
    return _linux_identity(pid) if sys.platform == "linux" else _portable_identity(pid)


def _linux_identity(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the command's name, in parentheses, may hold anything
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else f"{boot} {started}"


def _portable_identity(pid: int) -> str:
    result = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = result.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def is_same_process(pid: int, known_identity: str) -> bool:
    """Whether `pid` still is the process whose identity was taken."""
    return bool(known_identity) and identity(pid) == known_identity


def end_process(pid: int, known_identity: str, grace_seconds: float) -> None:
    """End a process that is not our child, with its group: SIGTERM, and SIGKILL once the grace is over."""
    ends: tuple[Callable[[], None], ...] = (lambda: send_signal(pid, signal.SIGTERM), lambda: kill_group(pid))
    for end in ends:
        if not is_same_process(pid, known_identity):
            return
        end()
        _wait_for_end(pid, known_identity, grace_seconds)


def _wait_for_end(pid: int, known_identity: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while is_same_process(pid, known_identity) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to one process; a process that is gone already is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_group(leader: int) -> None:
    """SIGKILL whatever is left of the group of `leader`; every service leads its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(leader, signal.SIGKILL)


def end_with_parent() -> Callable[[], None] | None:
    """What a new child runs before its program so that it gets SIGTERM when this process dies, even by kill -9.

    The kernel sends it when the *thread* that started the child ends, so start children from the main thread. None
    where the system has no such signal: there the next start ends what was left over.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec nothing may be loaded
    parent = os.getpid()

    def ask_for_signal() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask_for_signal
