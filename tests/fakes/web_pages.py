"""A web server on loopback with well-behaved, broken and hostile pages, and what it was asked for."""

from __future__ import annotations

import gzip
import ssl
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

PAGE = b"<title>Refunds</title><article><p>Refunds take thirty days.</p></article>"
HTML = "text/html; charset=utf-8"


class WebPages:
    """Serves `pages` on 127.0.0.1 inside a `with`, over TLS if it is given a context.

    `requests` holds the path and the headers of each request.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.pages: dict[str, Page] = dict(_PAGES)
        self.stopping = Event()
        self._server = _Server((host, port), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/page") -> str:
        return f"http://{self.authority}{path}"

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        """Let `path` redirect to `target`; return its URL."""
        self.pages[path] = lambda answer: answer.start(status, {"Location": target, "Set-Cookie": "id=1"})
        return self.url(path)

    def serve(self, path: str, body: bytes, **headers: str) -> str:
        """Let `path` deliver `body`; return its URL. `content_type` and so on are the headers."""
        named = {"Content-Type": HTML} | {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = lambda answer: answer.send(body, named)
        return self.url(path)

    def __enter__(self) -> WebPages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that give up are what is tested."""


class Answer:
    """One answer that is being given."""

    def __init__(self, handler: BaseHTTPRequestHandler, stopping: Event) -> None:
        self._handler = handler
        self.stopping = stopping

    def start(self, status: int, headers: dict[str, str]) -> None:
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def send(self, body: bytes, headers: dict[str, str]) -> None:
        self.start(200, headers | {"Content-Length": str(len(body))})
        self.write(body)

    def write(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()


Page = Callable[[Answer], None]


def _endless(answer: Answer) -> None:
    answer.start(200, {"Content-Type": HTML})
    while not answer.stopping.is_set():
        answer.write(b"<p>more and more</p>" * 5000)


def _drip(answer: Answer) -> None:
    answer.start(200, {"Content-Type": HTML})
    while not answer.stopping.wait(0.05):
        answer.write(b"x")


def _dripping_headers(answer: Answer) -> None:
    answer.write(b"HTTP/1.1 200 OK\r\n")
    while not answer.stopping.wait(0.05):
        answer.write(b"X: y\r\n")


def _silent(answer: Answer) -> None:
    answer.stopping.wait(60)


def _bomb(answer: Answer) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    answer.start(200, {"Content-Type": HTML, "Content-Encoding": "gzip"})
    for _ in range(200):  # 200 MB in 200 kB
        answer.write(packer.compress(bytes(1_000_000)))
    answer.write(packer.flush())


def _empty_blocks(answer: Answer) -> None:
    """Compressed data that never unpacks to anything."""
    answer.start(200, {"Content-Type": HTML, "Content-Encoding": "deflate"})
    answer.write(zlib.compress(b"", 0)[:2])
    while not answer.stopping.is_set():
        answer.write(b"\x00\x00\x00\xff\xff" * 10_000)


def _cut_off(answer: Answer) -> None:
    answer.start(200, {"Content-Type": HTML, "Content-Length": "1000"})
    answer.write(PAGE)


_PAGES: dict[str, Page] = {
    "/page": lambda answer: answer.send(PAGE, {"Content-Type": HTML, "Set-Cookie": "id=1"}),
    "/gzip": lambda answer: answer.send(gzip.compress(PAGE), {"Content-Type": HTML, "Content-Encoding": "gzip"}),
    "/deflate": lambda answer: answer.send(zlib.compress(PAGE), {"Content-Type": HTML, "Content-Encoding": "deflate"}),
    "/raw-deflate": lambda answer: answer.send(
        zlib.compress(PAGE, wbits=-15), {"Content-Type": HTML, "Content-Encoding": "deflate"}
    ),
    "/brotli": lambda answer: answer.send(PAGE, {"Content-Type": HTML, "Content-Encoding": "br"}),
    "/corrupt": lambda answer: answer.send(b"no gzip", {"Content-Type": HTML, "Content-Encoding": "gzip"}),
    "/half-gzip": lambda answer: answer.send(
        gzip.compress(PAGE)[:-12], {"Content-Type": HTML, "Content-Encoding": "gzip"}
    ),
    "/image": lambda answer: answer.send(b"GIF89a", {"Content-Type": "image/gif"}),
    "/untyped": lambda answer: answer.send(PAGE, {}),
    "/announced": lambda answer: answer.start(200, {"Content-Type": HTML, "Content-Length": "50000000"}),
    "/50mb": lambda answer: answer.send(b"<p>x</p>\n" * 5_600_000, {"Content-Type": HTML}),
    "/endless": _endless,
    "/drip": _drip,
    "/dripping-headers": _dripping_headers,
    "/silent": _silent,
    "/bomb": _bomb,
    "/empty-blocks": _empty_blocks,
    "/cut-off": _cut_off,
    "/empty": lambda answer: answer.send(b"<title>App</title><script>show()</script>", {"Content-Type": HTML}),
    "/loop": lambda answer: answer.start(302, {"Location": "/loop"}),
    "/longer": lambda answer: answer.start(302, {"Location": f"/longer?{time.monotonic_ns()}"}),
}


def _handler(server: WebPages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            self.close_connection = True
            server.requests.append((self.path, dict(self.headers)))
            page = server.pages.get(self.path.partition("?")[0])
            if page is None:
                self.send_error(404)
            else:
                page(Answer(self, server.stopping))

        def log_message(self, *_: Any) -> None:
            """Standard error is for failures."""

    return Handler
