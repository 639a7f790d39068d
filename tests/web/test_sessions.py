"""New pages are refused, with a message, before the file descriptors run out."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets import Origin, Subprotocol
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from kb.environment import MOST_DESCRIPTORS
from tests.e2e.web import Web
from tests.real_services import HOST, ROOT
from web import sessions
from web.sessions import CLOSED_SECONDS, FOR_CLOSED, FOR_EACH, FOR_OTHERS, SessionLimit, capacity

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
STREAM = "/_stcore/stream"


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@pytest.fixture
def client() -> TestClient:
    """An app for two open pages."""
    routes = [
        Route("/{path:path}", lambda _request: PlainTextResponse("served")),
        WebSocketRoute(STREAM, echo),
    ]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(SessionLimit, most=lambda: 2)]))


def test_one_too_many_is_refused_until_one_is_closed(client: TestClient) -> None:
    with client.websocket_connect(STREAM) as first:
        with client.websocket_connect(STREAM):
            with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(STREAM):
                pass
            assert caught.value.code == sessions.TRY_AGAIN
        with client.websocket_connect(STREAM) as next_one:
            for page in (first, next_one):
                page.send_text("still here")
                assert page.receive_text() == "still here"


def test_closed_pages_count_until_streamlit_forgets_them() -> None:
    """Their sessions hold descriptors: who reloaded a page again and again used up all of them."""
    now = [0.0]
    app = Starlette(
        routes=[WebSocketRoute(STREAM, echo)],
        middleware=[Middleware(SessionLimit, most=lambda: 10, clock=lambda: now[0])],
    )
    client = TestClient(app)

    def reload(*protocols: str) -> None:
        with client.websocket_connect(STREAM, subprotocols=list(protocols)):
            pass

    for _ in range(-(-10 * FOR_EACH // FOR_CLOSED)):
        reload()
    with pytest.raises(WebSocketDisconnect):
        reload()
    reload("streamlit", "xsrf", "session")  # a page whose connection broke off: its session is among those that count
    now[0] = CLOSED_SECONDS
    with pytest.raises(WebSocketDisconnect):
        reload()
    reload("streamlit", "xsrf", "session")  # closed after the two minutes, so that Streamlit forgets those before
    reload()


def test_new_page_says_why(client: TestClient) -> None:
    with client.websocket_connect(STREAM), client.websocket_connect(STREAM):
        reply = client.get("/", headers=BROWSER | {"Accept-Language": "en"})
        assert reply.status_code == 503
        assert reply.headers["Retry-After"] == "60"
        assert "All 2 pages that this server can hold are open." in reply.text
        chinese = client.get("/history", headers=BROWSER | {"Accept-Language": "zh-CN"})
        assert "打开的页面过多" in chinese.text
        # What open pages need, and what watches over the server.
        assert client.get("/healthz").text == client.get("/static/app.js", headers=BROWSER).text == "served"
    assert client.get("/", headers=BROWSER).text == "served"


def test_refusals_are_logged_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    app = Starlette(middleware=[Middleware(SessionLimit, most=lambda: 0, clock=lambda: now[0])])
    client = TestClient(app)
    for moment, lines in ((0.0, 1), (30.0, 0), (61.0, 1)):
        now[0] = moment
        for _ in range(3):
            assert client.get("/", headers=BROWSER).status_code == 503
        assert capsys.readouterr().out.count("web.full") == lines


def test_failed_connections_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("asyncio")
    before = list(logger.filters)
    sessions.log_accept_errors_seldom()
    try:
        for _ in range(5):
            logger.error("socket.accept() out of system resource")
        logger.error("something else")
    finally:
        logger.filters[:] = before
    assert [record.getMessage() for record in caplog.records] == [
        "socket.accept() out of system resource",
        "something else",
    ]


def test_limit_of_open_files_is_raised_to_what_is_allowed() -> None:
    code = (
        "import resource as r; hard = r.getrlimit(r.RLIMIT_NOFILE)[1]; r.setrlimit(r.RLIMIT_NOFILE, (256, hard))\n"
        "from kb.environment import descriptor_limit, raise_descriptor_limit; raise_descriptor_limit()\n"
        "print(descriptor_limit())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert int(found.stdout) == (min(hard, MOST_DESCRIPTORS) if hard != resource.RLIM_INFINITY else MOST_DESCRIPTORS)


# --- the product, with few descriptors ---------------------------------------------------------------------------

FEW = 300


@pytest.fixture
def small_web(tmp_path: Path) -> Iterator[Web]:
    web = Web(tmp_path, EMBEDDING_MODEL="openai:none")
    web.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW)))
    yield web
    web.stop()


@pytest.mark.xdist_group("webui")
@pytest.mark.skipif(sys.platform != "linux", reason="as Linux counts them")
def test_product_with_few_descriptors_refuses_and_goes_on(small_web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.sessions.descriptor_limit", lambda: FEW)
    most, refused = capacity(), 0
    assert most == (FEW - FOR_OTHERS) // FOR_EACH
    address, origin = f"ws://{HOST}:{small_web.port}{STREAM}", Origin(small_web.url)
    with ExitStack() as pages:
        for _ in range(most + 10):
            try:
                page = pages.enter_context(_connect(address, origin))
                _start(page)
            except InvalidStatus:
                refused += 1
        assert refused == 10
        assert small_web.health()[0] == 200
    said = (small_web.folder / "log").read_text()
    assert said.count("web.full") == 1
    assert "Too many open files" not in said


def _connect(address: str, origin: Origin) -> ClientConnection:
    """Without a wait for the server's goodbye, which follows when the script has ended."""
    return connect(address, origin=origin, subprotocols=[Subprotocol("streamlit")], proxy=None, close_timeout=0)


def _start(page: ClientConnection) -> None:
    """Run the script as a browser does when it opens a page."""
    message = BackMsg()
    message.rerun_script.query_string = ""
    page.send(message.SerializeToString())
    page.recv(timeout=30)
