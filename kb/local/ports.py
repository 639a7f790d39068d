"""Ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

HOST = "127.0.0.1"

# Below the range of outgoing connections (Linux 32768+, macOS 49152+): inside it, a client that keeps connecting while
# a service restarts can get the service's own port, connect to itself and hold the port.
RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections that linger after a kill
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether a server accepts connections on `port`."""
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
