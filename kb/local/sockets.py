"""Where the embedded services listen: Unix sockets in a folder that only their owner can open.

A port of the machine could be asked by each of its users, and taken by any of them while a service restarts.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from urllib.parse import quote

MILVUS, REDIS = "milvus.sock", "redis.sock"
PROBE = ".probe.sock"  # as long as the longest of them


def choose_folder(run: Path) -> Path:
    """`run`, or a private folder of temporary files where `run` can have no sockets.

    The path may be too long for them (about 90 bytes), or the file system of a shared folder may have none.
    """
    return run if _has_sockets(run) else Path(tempfile.mkdtemp(prefix="zhiwen-", dir=_short_folder()))


def clear_folder(folder: Path, run: Path) -> None:
    """Remove a temporary folder once nothing listens in it."""
    if folder != run:
        shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> str | None:
    """TMPDIR may be long, too: then /tmp."""
    return None if len(os.fsencode(tempfile.gettempdir())) < 60 else "/tmp"


def _has_sockets(folder: Path) -> bool:
    path = folder / PROBE
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            return is_listening(path)
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)


def is_listening(path: Path) -> bool:
    """Whether a server accepts connections on the socket `path`."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def milvus_uri(folder: Path) -> str:
    """As gRPC reads it."""
    return f"unix:{quote(str(folder / MILVUS))}"


def redis_url(folder: Path, password: str) -> str:
    """As redis-py reads it."""
    return f"unix://:{password}@{quote(str(folder / REDIS))}?db=0"
