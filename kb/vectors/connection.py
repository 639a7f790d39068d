"""The connection to Milvus, what the server can do, and the translation of its errors."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kb.environment import hidden, is_local
from kb.errors import ITS_DISK_IS_FULL, CollectionMissing, MilvusRefused, MilvusUnavailable, is_disk_full

if TYPE_CHECKING:
    from pymilvus import MilvusClient

PING_TIMEOUT_SECONDS = 3.0
NOT_THERE = 100  # Milvus' error code for a missing collection

GRPC_OPTIONS = {
    # By default the client pings every 10 s even without calls, which gRPC servers refuse ("too_many_pings").
    "grpc.keepalive_time_ms": 300_000,
    "grpc.keepalive_permit_without_calls": False,
    # Otherwise it takes up to two minutes to reconnect to a Milvus that was down for a while.
    "grpc.max_reconnect_backoff_ms": 1_000,
}


_importing = threading.Lock()


def import_pymilvus() -> None:
    """Import `pymilvus` for the first time without our settings in its sight; call it before other imports from there.

    It reads MILVUS_URI at its import and fails if that is a Unix socket, which its client connects to. It also adds to
    the environment whatever file `.env` it finds above its own folder.
    """
    with _importing:
        if "pymilvus" not in sys.modules:
            with hidden("MILVUS_URI"):
                import pymilvus  # noqa: F401


@dataclass(frozen=True, slots=True)
class Server:
    """The version and the abilities of the connected Milvus."""

    version: str
    is_lite: bool
    has_bm25: bool
    has_templates: bool


class Connection:
    """Connects at first use. Safe to share among threads. Errors: `MilvusUnavailable`, `MilvusRefused`."""

    def __init__(self, uri: str, token: str) -> None:
        self._uri = uri
        self._token = token
        self._lock = threading.Lock()
        self._connected: tuple[MilvusClient, Server] | None = None
        self._failed: tuple[float, MilvusUnavailable | MilvusRefused] | None = None  # when and why

    @property
    def client(self) -> MilvusClient:
        return self._get()[0]

    @property
    def server(self) -> Server:
        return self._get()[1]

    def ping(self) -> str:
        """The server's version; raises within seconds if there is no answer."""
        with translated():
            return str(self.client.get_server_version(timeout=PING_TIMEOUT_SECONDS))

    def close(self) -> None:
        with self._lock:
            if self._connected:
                self._connected[0].close()
                self._connected = None

    def _get(self) -> tuple[MilvusClient, Server]:
        asked_at = time.monotonic()
        with self._lock:
            if self._connected is None:
                if self._failed and self._failed[0] > asked_at:
                    # Threads that queued behind a failed connect fail, too, instead of retrying in turn.
                    raise type(self._failed[1])(**self._failed[1].values)
                self._connected = self._try_to_connect()
            return self._connected

    def _try_to_connect(self) -> tuple[MilvusClient, Server]:
        try:
            return self._connect()
        except (MilvusUnavailable, MilvusRefused) as error:
            self._failed = time.monotonic(), error
            raise

    def _connect(self) -> tuple[MilvusClient, Server]:
        import_pymilvus()
        from pymilvus import MilvusClient
        from pymilvus.client import entity_helper

        # Skip its check of each character of each string; `schema` ensures types and lengths.
        entity_helper.CHECK_STR_ARRAY = False
        # It logs a traceback for every error that it raises.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        host = urlsplit(self._uri).hostname or ""
        options = {**GRPC_OPTIONS, "grpc.enable_http_proxy": bool(host) and not is_local(host)}  # no host: a socket
        with translated():
            client = MilvusClient(uri=self._uri, token=self._token, timeout=PING_TIMEOUT_SECONDS, grpc_options=options)
            return client, _describe(str(client.get_server_version(timeout=PING_TIMEOUT_SECONDS)))


@contextmanager
def translated() -> Iterator[None]:
    """Translate the client's errors to `MilvusUnavailable`, `MilvusRefused` and, of the latter, `CollectionMissing`."""
    import_pymilvus()
    import grpc
    from pymilvus.exceptions import ConnectError, MilvusException, MilvusUnavailableException

    try:
        yield
    except (grpc.RpcError, grpc.FutureTimeoutError, ConnectError, MilvusUnavailableException) as error:
        raise MilvusUnavailable(detail=_reason(error)) from error
    except MilvusException as error:
        if error.code == NOT_THERE:
            raise CollectionMissing(detail=_reason(error)) from error
        # Code 2 is "cannot connect". A gRPC status instead of a code means that there was no answer.
        silent = isinstance(error.code, grpc.StatusCode) or error.code == 2
        kind = MilvusUnavailable if silent else MilvusRefused
        raise kind(detail=_reason(error)) from error


def _describe(version: str) -> Server:
    is_lite = version.startswith("milvus_lite")
    numbers = tuple(int(part) for part in version.lstrip("v").split("-")[0].split(".")[:2] if part.isdigit())
    modern = not is_lite and numbers >= (2, 5)
    return Server(version, is_lite=is_lite, has_bm25=is_lite or modern, has_templates=modern)


def _reason(error: BaseException) -> str:
    import grpc

    if is_disk_full(error):
        return ITS_DISK_IS_FULL
    text = error.details() if isinstance(error, grpc.Call) else getattr(error, "message", "")
    text = str(text or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
