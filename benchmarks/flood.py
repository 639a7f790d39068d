"""One address floods, another one works: `python -m benchmarks.flood [--rate 10000] [--seconds 20]`.

A whole installation with a login behind Debian's nginx with docs/nginx.conf (package `nginx-light`). From 127.0.0.1 so
many requests a second ask for the sign-in page, over connections that are kept open. From 127.0.0.2 a program lists its
knowledge bases, searches in one, and loads the sign-in page, one after another, with a pause of a tenth of a second.

requests_per_s    of the flood, those that were answered
refused           which share of them got 429; the others are those that docs/nginx.conf lets through
errors            answers to the other address that were no success
other_ms          of the other address, for each kind of request: without the flood, and with it

Everything shares the machine's processors, the flood's own work included. The exit code is 1 if there is an error.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from benchmarks.installation import Installation, temporary_home
from benchmarks.measures import percentile
from benchmarks.sessions import VALVE
from benchmarks.web import WebProcess, free_port, joined
from kb.access import KeyScope
from kb.models import KnowledgeBase
from tests.conftest import add_user
from tests.e2e.nginx import SITE, Nginx

CONNECTIONS = 20
TICK_SECONDS = 0.01
PAUSE_SECONDS = 0.1
READ_BYTES = 1 << 20
ANSWER = b"HTTP/1.1 "  # as each answer begins; no page of ours holds it
INGEST_SECONDS = 300.0


@dataclass(slots=True)
class Times:
    """Of the other address, by kind of request."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: int = 0

    def summary(self) -> dict[str, dict[str, float]]:
        return {
            kind: {"p50": round(statistics.median(found), 1), "p95": round(percentile(found, 0.95), 1)}
            for kind, found in self.milliseconds.items()
        }


def main() -> None:
    arguments = _arguments()
    with temporary_home() as home, tempfile.TemporaryDirectory() as folder:
        port = free_port()
        web = WebProcess(home, AUTH="local", PUBLIC_URLS=f"http://127.0.0.1:{port}")
        nginx = Nginx(Path(folder), SITE, [web.port, web.port], port)
        web.start()
        try:
            web.wait_for_services()
            nginx.start()
            with joined(web) as installation:
                figures = _measure(installation, f"http://127.0.0.1:{port}", port, arguments.rate, arguments.seconds)
        finally:
            nginx.stop()
            web.stop()
    print(json.dumps(figures))
    sys.exit(bool(figures["errors"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flood", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=10_000, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    return parser.parse_args()


def _measure(installation: Installation, url: str, port: int, rate: int, seconds: float) -> dict[str, Any]:
    base = installation.create_knowledge_base("Valves")
    installation.upload(base.id, [(f"valve-{n}.md", BytesIO(VALVE.format(n=n).encode())) for n in range(1, 21)])
    assert installation.wait_until_done(base.id, INGEST_SECONDS)
    add_user(installation.services.database, "Ada")  # else the sign-in page asks for the first account
    _key, secret = installation.services.api_keys.create(installation.principal, "Program", [KeyScope.READ])
    with _client(url, secret.get_secret_value()) as client:
        _work(client, base, 2.0)  # the first search loads the model
        quiet = _work(client, base, seconds)
        with _flood(port, rate, seconds) as finish:
            flooded = _work(client, base, seconds)
            answers = finish()
    refused = answers["429"]
    print(json.dumps({"answers": answers}))
    return {
        "requests_per_s": round(sum(answers.values()) / seconds),
        "refused": round(refused / max(1, sum(answers.values())), 3),
        "errors": quiet.errors + flooded.errors,
        "other_ms": {"quiet": quiet.summary(), "flooded": flooded.summary()},
    }


# --- the other address ---


def _client(url: str, key: str) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address="127.0.0.2", trust_env=False)
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, transport=transport, timeout=60.0, trust_env=False
    )


def _work(client: httpx.Client, base: KnowledgeBase, seconds: float) -> Times:
    times, until = Times(), time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        number += 1
        wanted = {"question": f"Which valve is number {number % 20 + 1}?", "knowledge_base_ids": [str(base.id)]}
        kinds: dict[str, Callable[[], httpx.Response]] = {
            "list": lambda: client.get("/api/v1/knowledge-bases"),
            "search": lambda wanted=wanted: client.post("/api/v1/search", json=wanted),  # type: ignore[misc]
            "page": lambda: client.get("/login"),
        }
        for kind, ask in kinds.items():
            began = time.perf_counter()
            reply = ask()
            times.milliseconds[kind].append((time.perf_counter() - began) * 1000)
            if not reply.is_success:
                print(kind, reply.status_code, reply.text[:200], file=sys.stderr, flush=True)
                times.errors += 1
        time.sleep(PAUSE_SECONDS)
    return times


# --- the flood, in a process of its own ---


@contextmanager
def _flood(port: int, rate: int, seconds: float) -> Iterator[Callable[[], dict[str, int]]]:
    """Yields what waits for its end, and tells how often each status came."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_pour, args=(port, rate, seconds, theirs), daemon=True
    )
    process.start()
    assert ours.recv() == "begun"
    try:
        yield ours.recv
    finally:
        process.kill()
        process.join()


def _pour(port: int, rate: int, seconds: float, told: Connection) -> None:
    """Send `rate` requests a second, whether or not the earlier ones were answered."""
    request = f"GET /login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    statuses: dict[str, int] = defaultdict(int)
    selector = selectors.DefaultSelector()
    tails: dict[socket.socket, bytes] = {}
    for _ in range(CONNECTIONS):
        _connect(port, selector, tails)
    told.send("begun")
    began = time.monotonic()
    sent = 0.0
    while (passed := time.monotonic() - began) < seconds:
        share = int((passed * rate - sent) / CONNECTIONS)
        for connection in list(tails):
            try:
                done = connection.send(request * share) if share else 0
                # A part of a request would spoil the next one.
                if rest := -done % len(request):
                    connection.setblocking(True)
                    connection.sendall(request[len(request) - rest :])
                    connection.setblocking(False)
                sent += (done + rest) / len(request)
            except BlockingIOError:
                continue
            except OSError:
                _replace(connection, port, selector, tails)
        for key, _events in selector.select(TICK_SECONDS):
            connection = key.fileobj  # type: ignore[assignment]
            try:
                received = connection.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                received = b""
            if not received:
                _replace(connection, port, selector, tails)
                continue
            text = tails[connection] + received
            *answers, tails[connection] = text.split(ANSWER)
            for answer in answers:
                if status := answer[:3].decode("ascii", "replace").strip():
                    statuses[status] += 1
            tails[connection] = ANSWER + tails[connection] if answers else text
    told.send(dict(statuses))


def _connect(port: int, selector: selectors.BaseSelector, tails: dict[socket.socket, bytes]) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ)
    tails[connection] = b""


def _replace(
    connection: socket.socket, port: int, selector: selectors.BaseSelector, tails: dict[socket.socket, bytes]
) -> None:
    """nginx closes a connection after a number of requests."""
    selector.unregister(connection)
    del tails[connection]
    connection.close()
    _connect(port, selector, tails)


if __name__ == "__main__":
    main()
