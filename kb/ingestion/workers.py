"""The names of worker processes, and whether one that runs on this host is dead."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from uuid import uuid4


def new_worker_id() -> str:
    """`host:pid:namespace-random`: unlike any other process's, now or before, here or elsewhere."""
    return f"{_host()}:{os.getpid()}:{_namespace()}-{uuid4().hex[:8]}"


def is_dead(worker_id: str, own_id: str) -> bool:
    """True if the worker (or the one whose lease this is) ran here and its process is gone.

    False wherever that cannot be told.

    A dead worker's leases then need not run out first. "Here" is this host, since it was started, and this process-id
    namespace: containers may share the one without the other.
    """
    host, _, rest = worker_id.partition(":")
    pid, _, rest = rest.partition(":")
    if host != _host() or rest.partition("-")[0] != _namespace() or not _namespace():
        return False
    if int(pid) == os.getpid():
        return not worker_id.startswith(own_id)  # its process id is ours now
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _host() -> str:
    return socket.gethostname()[:40]


@cache
def _namespace() -> str:
    """What tells this run of the machine, and the process-id namespace, from all others; empty where Linux is not.

    Names of hosts and numbers of namespaces repeat: those of cloned machines are the same.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""
