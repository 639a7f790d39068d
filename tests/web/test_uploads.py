"""The upload and download routes, called as an ASGI server calls them."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import Message

from kb.access import Principal
from kb.access.tickets import DAY_SECONDS, VALID_DAYS, Action, Tickets
from kb.config import Settings
from kb.database.tables import audit_events
from kb.errors import DatabaseUnavailable, SetupError
from kb.library.quotas import Quotas
from kb.models import Account, KnowledgeBase, UserRole
from kb.page_images import PageImages
from kb.providers.keys import KEY_FILE, KeySafe
from kb.services import Services
from kb.spots import Spots
from pages.ui.session_cookie import cookie_name
from tests.conftest import Clock, Library, MakeSettings
from tests.kb.parsing import parsing_samples as samples
from web import receiving, uploads
from web.app import build_middleware
from web.gone import GoneClients
from web.signed_in import SignedInOnly

ORIGIN = "http://127.0.0.1:8501"
MEGABYTE = 1 << 20


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self.body))


class Server:
    """The routes, and what a page hands its browser."""

    def __init__(self, library: Library, settings: Settings) -> None:
        self.library = library
        self.page_images = PageImages(1024)
        spots = Spots(library.database, library.documents, library.files, self.page_images)
        self.tickets = Tickets(KeySafe(settings))
        self.services = SimpleNamespace(
            settings=settings,
            arrivals=library.arrivals,
            documents=library.documents,
            spots=spots,
            tickets=self.tickets,
        )
        routes = uploads.file_routes(lambda: cast("Services", self.services))
        self.app = Starlette(routes=routes, middleware=[Middleware(GoneClients)])

    def ticket(self, base: KnowledgeBase, user: Principal | None = None, action: Action = Action.UPLOAD) -> str:
        origin = ORIGIN if action is Action.UPLOAD else ""
        return self.tickets.issue(action, user or self.library.user, base.id, origin)

    def call(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        messages: Iterable[Message] = (),
    ) -> Reply:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": urlencode(query or {}, errors="surrogatepass").encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        reply, incoming = Reply(), iter(messages)

        async def receive() -> Message:
            message = next(incoming, None)
            if message is None:
                await asyncio.Event().wait()  # nothing more arrives
            return cast("Message", message)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                reply.body += message.get("body", b"")

        asyncio.run(self.app(scope, receive, send))
        return reply

    def upload(
        self,
        base: KnowledgeBase,
        name: str = "tea.md",
        content: bytes = b"Green tea.",
        replaces: str = "",
        **headers: str | None,
    ) -> Reply:
        sent = {"origin": ORIGIN, "x-ticket": self.ticket(base)} | {
            key.replace("_", "-"): value for key, value in headers.items()
        }
        return self.call(
            "PUT",
            f"/api/uploads/{base.id}",
            {"name": name, "language": "en"} | ({"replaces": replaces} if replaces else {}),
            {key: value for key, value in sent.items() if value is not None},
            body(content),
        )

    @property
    def files(self) -> list[Path]:
        return [path for path in self.library.uploads.rglob("*") if path.is_file()]


def body(content: bytes, chunk: int = 64 * 1024) -> Iterator[Message]:
    """As a server hands it on: in chunks, the last of which says so."""
    for start in range(0, max(len(content), 1), chunk):
        more = start + chunk < len(content)
        yield {"type": "http.request", "body": content[start : start + chunk], "more_body": more}


@pytest.fixture
def server(library: Library, make_settings: MakeSettings) -> Iterator[Server]:
    server = Server(library, make_settings(max_upload_mb=1))
    yield server
    server.page_images.close()


@pytest.fixture
def base(library: Library) -> KnowledgeBase:
    return library.knowledge_base()


# --- uploads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MEGABYTE - 1, MEGABYTE])
def test_upload_is_saved_and_registered(server: Server, base: KnowledgeBase, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    reply = server.upload(base, "报告.md", content)
    assert reply.status == 201
    document = server.library.documents.get(server.library.user, UUID(reply.json["id"]))
    assert (document.name, document.knowledge_base_id, document.latest.size_bytes) == ("报告.md", base.id, size)
    assert server.library.files.path(document.latest.file_key, "").read_bytes() == content


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:8502",
        "https://127.0.0.1:8501",
        "http://localhost:8501",
        "http://127.0.0.1:8501.evil.example",
        "http://127.0.0.1:8501/",
    ],
)
def test_other_origins_are_refused(server: Server, base: KnowledgeBase, origin: str | None) -> None:
    reply = server.upload(base, origin=origin)
    assert (reply.status, reply.json["code"], reply.json["can_retry"]) == (403, "page_closed", False)
    assert server.files == []


def test_forged_tickets_are_refused(server: Server, base: KnowledgeBase) -> None:
    other = server.library.knowledge_base("Other")
    good = server.ticket(base)
    user, last_day, signature = good.split(".")
    forged = [
        None,
        "",
        "..",
        "é",
        good[:-1],
        good + "0",
        f"{server.library.stranger.user_id.hex}.{last_day}.{signature}",
        f"{user}.{int(last_day) + 1}.{signature}",
        f"{user}.{last_day}.{'0' * 64}",
        server.ticket(other),
        server.ticket(base, action=Action.DOWNLOAD),
    ]
    assert [server.upload(base, x_ticket=ticket).status for ticket in forged] == [403] * len(forged)
    assert server.files == []
    assert server.upload(base, x_ticket=good).status == 201


def test_old_ticket_is_refused(server: Server, base: KnowledgeBase, clock: Clock) -> None:
    server.services.tickets = server.tickets = Tickets(KeySafe(server.services.settings), lambda: clock().timestamp())
    ticket = server.ticket(base)
    clock.advance(VALID_DAYS * DAY_SECONDS)
    assert server.upload(base, x_ticket=ticket).status == 201
    clock.advance(DAY_SECONDS)
    reply = server.upload(base, x_ticket=ticket)
    assert (reply.status, reply.json["code"]) == (403, "page_closed")
    assert len(server.files) == 1


def test_ticket_is_good_for_every_process_of_the_installation(server: Server, base: KnowledgeBase) -> None:
    ticket, settings = server.ticket(base), server.services.settings
    server.services.tickets = Tickets(KeySafe(settings))
    assert server.upload(base, x_ticket=ticket).status == 201
    server.services.tickets = Tickets(KeySafe(settings.model_copy(update={"secret_key": SecretStr("another one")})))
    assert server.upload(base, x_ticket=ticket).status == 403


def test_unusable_key_file_stops_no_upload(server: Server, base: KnowledgeBase) -> None:
    file: Path = server.services.settings.home / KEY_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("no key")
    server.services.tickets = server.tickets = Tickets(KeySafe(server.services.settings))
    assert server.upload(base).status == 201


def test_session_that_ends_during_a_long_upload_keeps_nothing(
    server: Server, base: KnowledgeBase, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "LONG_SECONDS", -1)
    account = Account(server.library.user.user_id, "user", UserRole.MEMBER, clock())
    found = [account, account, account, None]

    def find(_token: str) -> Account | None:
        return found.pop(0)

    server.services.accounts = SimpleNamespace(sessions=SimpleNamespace(find=find))
    server.app.add_middleware(SignedInOnly, has_login=lambda: True, find=find)
    cookie = f"{cookie_name()}=x"
    assert server.upload(base, "a.md", cookie=cookie).status == 201
    refused = server.upload(base, "b.md", cookie=cookie)
    assert (refused.status, refused.json["code"]) == (401, "signed_out")
    assert len(server.files) == 1


def test_upload_into_a_strangers_knowledge_base_is_refused(server: Server) -> None:
    theirs = server.library.knowledge_base("Theirs", owner=server.library.stranger)
    reply = server.upload(theirs)
    assert (reply.status, reply.json["code"]) == (404, "not_found")
    assert server.files == []


def test_upload_into_a_deleted_knowledge_base_is_refused(server: Server, base: KnowledgeBase) -> None:
    server.library.knowledge_bases.delete(server.library.user, base.id)
    assert server.upload(base).status == 404
    assert server.files == []


@pytest.mark.parametrize("announced", [str(MEGABYTE + 1), None])
def test_larger_files_are_refused(server: Server, base: KnowledgeBase, announced: str | None) -> None:
    reply = server.upload(base, "big.bin", bytes(MEGABYTE + 1), content_length=announced)
    assert (reply.status, reply.json["can_retry"]) == (413, False)
    assert reply.json["message"] == "“big.bin” is larger than 1 MB."
    assert server.files == []
    assert server.library.documents.list(server.library.user, base.id) == []


def test_quotas_are_told_before_the_body_is_read(server: Server, base: KnowledgeBase) -> None:
    server.library.limit(Quotas(most_queued=1, most_bytes=100))
    headers = {"origin": ORIGIN, "x-ticket": server.ticket(base), "content-length": "101"}

    def upload() -> Reply:  # nothing of the body ever arrives
        return server.call("PUT", f"/api/uploads/{base.id}", {"name": "a.md", "language": "zh_CN"}, headers)

    reply = upload()
    assert (reply.status, reply.json["code"], reply.json["can_retry"]) == (413, "storage_full", True)
    assert reply.json["message"].startswith("“a.md”放不下了")
    assert server.upload(base).status == 201
    headers["content-length"] = "1"
    reply = upload()
    assert (reply.status, reply.json["code"], reply.json["can_retry"]) == (429, "queue_full", True)
    assert len(server.files) == 1


def test_endless_body_is_cut_off(server: Server, base: KnowledgeBase) -> None:
    taken = 0

    def endless() -> Iterator[Message]:
        nonlocal taken
        while True:
            taken += 1
            yield {"type": "http.request", "body": bytes(64 * 1024), "more_body": True}

    headers = {"origin": ORIGIN, "x-ticket": server.ticket(base)}
    assert server.call("PUT", f"/api/uploads/{base.id}", {"name": "a"}, headers, endless()).status == 413
    assert taken <= 17
    assert server.files == []


def test_cancelled_upload_leaves_nothing(server: Server, base: KnowledgeBase) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": bytes(64 * 1024), "more_body": True},
        {"type": "http.disconnect"},
    ]
    headers = {"origin": ORIGIN, "x-ticket": server.ticket(base)}
    server.call("PUT", f"/api/uploads/{base.id}", {"name": "a.md"}, headers, messages)
    assert server.files == []
    assert server.library.documents.list(server.library.user, base.id) == []


def test_stalled_upload_ends(server: Server, base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "STALL_SECONDS", 0.05)
    first = next(body(bytes(128 * 1024)))
    headers = {"origin": ORIGIN, "x-ticket": server.ticket(base)}
    reply = server.call("PUT", f"/api/uploads/{base.id}", {"name": "a.md"}, headers, [first])
    assert (reply.status, reply.json["can_retry"]) == (408, True)
    assert server.files == []


@pytest.mark.parametrize("name", ['../../x" or 1==1 or ".pdf', "/etc/passwd", "C:\\x\\y.md", "a\x00b.md", "..", ""])
def test_file_name_is_only_a_label(server: Server, base: KnowledgeBase, name: str) -> None:
    assert server.upload(base, name).status == 201
    (document,) = server.library.documents.list(server.library.user, base.id)
    stored = [path.relative_to(server.library.uploads).as_posix() for path in server.files]
    assert stored == [document.latest.file_key]


def test_unavailable_database_is_reported_and_leaves_nothing(
    server: Server, base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object) -> None:
        raise DatabaseUnavailable(detail="restarting")

    monkeypatch.setattr(server.library.database, "write", away)
    reply = server.upload(base)
    assert (reply.status, reply.json["can_retry"]) == (503, True)
    assert "(restarting)" in reply.json["message"]
    assert server.files == []
    monkeypatch.setattr(server.library.database, "read", away)
    assert server.upload(base).status == 503


def test_failed_start_is_reported(server: Server, base: KnowledgeBase) -> None:
    def not_ready() -> Services:
        raise SetupError("Redis did not start.", "See its log.")

    ticket = server.ticket(base)
    server.app = Starlette(routes=uploads.file_routes(not_ready))
    reply = server.upload(base, x_ticket=ticket)
    assert reply.status == 503
    assert "Redis did not start." in reply.json["message"]


def test_full_disk_is_reported_and_leaves_nothing(
    server: Server, base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kb.library.files.os.fsync", full)
    reply = server.upload(base)
    assert (reply.status, reply.json["can_retry"]) == (507, True)
    assert "the disk is full" in reply.json["message"]
    assert server.files == []


def test_refusal_is_in_the_pages_language(server: Server, base: KnowledgeBase) -> None:
    query = {"name": "大.bin", "language": "zh_CN"}
    headers = {"origin": ORIGIN, "x-ticket": server.ticket(base), "content-length": str(2 * MEGABYTE)}
    reply = server.call("PUT", f"/api/uploads/{base.id}", query, headers)
    assert reply.json["message"] == "“大.bin”超过了 1 MB。"


def test_only_a_block_of_the_body_is_held(server: Server, base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    server.services.settings = server.services.settings.model_copy(update={"max_upload_mb": 40})
    held: list[int] = []
    read = receiving.Body.read

    def watch(self: receiving.Body, size: int, /) -> bytes:
        block = read(self, size)
        held.append(len(block) + len(self._buffer))
        return block

    monkeypatch.setattr(receiving.Body, "read", watch)
    assert server.upload(base, "big.bin", bytes(20 * MEGABYTE)).status == 201
    assert max(held) <= MEGABYTE + 64 * 1024


# --- files that are there already, and new versions ------------------------------------------------------------


def test_file_that_is_there_is_told_as_such(server: Server, base: KnowledgeBase) -> None:
    first, again, other = server.upload(base), server.upload(base), server.upload(base, content=b"Black tea.")
    assert [reply.status for reply in (first, again, other)] == [201, 200, 201]
    assert (again.json["id"], again.json["was_there"]) == (first.json["id"], True)
    assert [reply.json["shares_name"] for reply in (first, again, other)] == [False, False, True]
    assert len(server.files) == 2


def test_new_version_replaces_its_document(server: Server, base: KnowledgeBase) -> None:
    old = server.upload(base).json["id"]
    reply = server.upload(base, "tea (1).md", b"Black tea.", replaces=old)
    assert (reply.status, reply.json["id"], reply.json["name"]) == (201, old, "tea.md")
    (document,) = server.library.documents.list(server.library.user, base.id)
    assert document.latest.size_bytes == len(b"Black tea.")
    again = server.upload(base, "tea.md", b"Black tea.", replaces=old)
    assert (again.status, again.json["was_there"]) == (200, True)


def test_new_version_is_checked_as_any_upload(server: Server, base: KnowledgeBase) -> None:
    other = server.library.knowledge_base("Other")
    old = server.upload(base).json["id"]
    too_large = server.upload(base, "tea.md", bytes(MEGABYTE + 1), replaces=old)
    other_kind = server.upload(base, "tea.pdf", b"%PDF-", replaces=old)
    refused = [too_large, other_kind, *(server.upload(at, replaces=id_) for at, id_ in ((other, old), (base, "x")))]
    assert [reply.status for reply in refused] == [413, 400, 404, 404]
    assert other_kind.json["message"] == "“tea.pdf” cannot replace this document: it is another type of file."
    assert len(server.files) == 1


# --- originals -------------------------------------------------------------------------------------------------


def upload(server: Server, base: KnowledgeBase, name: str = "tea.md", content: bytes = b"Green tea.") -> UUID:
    """Upload a file; the id of its version."""
    document_id = UUID(server.upload(base, name, content).json["id"])
    return server.library.documents.get(server.library.user, document_id).latest.id


def download(server: Server, base: KnowledgeBase, version_id: UUID, ticket: str) -> Reply:
    return server.call("GET", f"/api/originals/{base.id}/{version_id}", {"ticket": ticket, "language": "en"})


def show_page(server: Server, base: KnowledgeBase, version_id: UUID, ticket: str, page: int = 1) -> Reply:
    return server.call("GET", f"/api/pages/{base.id}/{version_id}/{page}", {"ticket": ticket, "language": "en"})


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("report 2024.pdf", "report 2024.pdf", "report%202024.pdf"),
        ('a "b"\r\n报告.html', "a _b_  __.html", "a%20%22b%22%20%20%E6%8A%A5%E5%91%8A.html"),
        ("100%;x=\\.md", "100_;x=_.md", "100%25%3Bx%3D%5C.md"),
    ],
)
def test_original_is_downloaded_under_its_name(
    server: Server, base: KnowledgeBase, name: str, plain: str, encoded: str
) -> None:
    version_id = upload(server, base, name, b"<script>")
    server.app = Starlette(routes=server.app.routes, middleware=build_middleware(server.app.routes))
    headers = {"accept": "text/html", "host": "localhost:8501"}  # of a browser that follows a link
    query = {"ticket": server.ticket(base, action=Action.DOWNLOAD)}
    reply = server.call("GET", f"/api/originals/{base.id}/{version_id}", query, headers)
    assert (reply.status, reply.body) == (200, b"<script>")
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-disposition"] == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_download_is_recorded_once_and_a_look_is_not(server: Server, base: KnowledgeBase) -> None:
    version_id = upload(server, base, "tea.pdf", samples.make_pdf(["Green tea"]))
    path, query = f"/api/originals/{base.id}/{version_id}", {"ticket": server.ticket(base, action=Action.DOWNLOAD)}

    def recorded() -> int:
        with server.library.database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(audit_events)) or 0

    assert show_page(server, base, version_id, query["ticket"]).status == 200
    assert server.call("HEAD", path, query).status == 200
    assert recorded() == 0
    for part in ("bytes=0-9", "bytes=10-19", "bytes=-5"):
        assert server.call("GET", path, query, {"range": part}).status == 206
    assert recorded() == 1
    assert server.call("GET", path, query).status == 200
    assert recorded() == 2


@pytest.mark.parametrize("get", [download, show_page])
def test_files_need_the_right_ticket(server: Server, base: KnowledgeBase, get: Callable[..., Reply]) -> None:
    library = server.library
    version_id = upload(server, base)
    other = library.knowledge_base("Other")
    for ticket in ("", server.ticket(base), server.ticket(other, action=Action.DOWNLOAD)):
        assert get(server, base, version_id, ticket).status == 403
    stranger = server.ticket(base, library.stranger, Action.DOWNLOAD)
    assert get(server, base, version_id, stranger).status == 404
    # The ticket of one knowledge base does not open another one's documents.
    assert get(server, other, version_id, server.ticket(other, action=Action.DOWNLOAD)).status == 404
    assert get(server, base, uuid4(), server.ticket(base, action=Action.DOWNLOAD)).status == 404


@pytest.mark.parametrize("get", [download, show_page])
def test_missing_original_is_reported(server: Server, base: KnowledgeBase, get: Callable[..., Reply]) -> None:
    version_id = upload(server, base, "tea.pdf", samples.make_pdf(["Green tea"]))
    for path in server.files:
        path.unlink()
    reply = get(server, base, version_id, server.ticket(base, action=Action.DOWNLOAD))
    assert reply.status == 503
    assert "tea.pdf" in reply.body.decode()


def test_page_is_shown_as_an_image(server: Server, base: KnowledgeBase) -> None:
    ticket = server.ticket(base, action=Action.DOWNLOAD)
    version_id = upload(server, base, "tea.pdf", samples.make_pdf(["Green tea"]))
    reply = show_page(server, base, version_id, ticket)
    assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
    assert reply.body.startswith(b"\xff\xd8")
    missing = show_page(server, base, version_id, ticket, page=2)
    assert missing.status == 422
    assert "Page 2 of “tea.pdf” cannot be shown" in missing.body.decode()
    assert show_page(server, base, upload(server, base), ticket).status == 422
