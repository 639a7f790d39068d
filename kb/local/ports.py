"""Ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

HOST = "127.0.0.1"

# Below the range of outgoing connections (Linux 32768+, macOS 49152+): while a service restarts, a client that keeps
# connecting to a port inside that range can be given this very port, connect to itself and hold it.
RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger after a kill do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether a server takes connections on `port`."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def choose_port(remembered: int | None, taken: Collection[int] = ()) -> int:
    """The `remembered` port if it is free, else a free one that is not among `taken`."""
    if remembered and remembered not in taken and is_free(remembered):
        return remembered
    for port in random.sample(RANGE, len(RANGE)):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port on {HOST} between {RANGE.start} and {RANGE.stop}")
