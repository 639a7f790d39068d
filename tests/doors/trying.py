"""Tries a door as somebody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from unittest.mock import patch

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from kb.access.tickets import Action
from kb.errors import AdministratorsOnly, KbError
from kb.tools.server import CODE
from pages.ui.frame import PAGES
from pages.ui.session_cookie import cookie_name
from tests.doors.people import BASE, DOCUMENT, QUESTION, People, Role, Things
from tests.doors.table import DOORS, STREAMLITS, Door, Given, Kind, Needs, Outcome
from tests.pages.visitor import Visitor
from web.app import build_middleware, build_routes
from web.statuses import status_of
from web.tools import PATH as TOOLS_PATH

ADDRESS = "http://127.0.0.1:8501"
ADMINISTRATORS_ONLY = AdministratorsOnly.message
VALUE = re.compile(r"{(\w+)(?::\w+)?}")


@dataclass(frozen=True, slots=True)
class Wrong:
    """A door that treats a role otherwise than it should."""

    door: str
    role: str
    found: str
    expected: str


class Trial:
    """All doors of one installation, by all roles."""

    def __init__(self, people: People) -> None:
        self._people = people
        routes = build_routes()
        self._app = Starlette(routes=[*routes, *_streamlits()], middleware=build_middleware(routes))
        self.calls = 0

    def run(self, doors: list[Door] = DOORS) -> list[Wrong]:
        """Those that let somebody in who may not, or do not let in who may."""
        wrong = []
        for door in doors:
            for role in Role:
                if door.kind is Kind.PAGE and not role.has_page:
                    continue  # a script runs only behind the websocket, which is a door of its own
                found, expected = self.try_door(door, role), door.expected(role)
                self.calls += 1
                if found is not expected:
                    wrong.append(Wrong(door.name, role, found, expected))
        return wrong

    def replay_ticket(self, door: Door) -> Outcome:
        """An editor, signed in, with a ticket of the owner's page."""
        client = self._client(door, Role.EDITOR)
        return self._ask(client, door, Role.EDITOR, self._people.ready, ticket_of=Role.OWNER)

    def try_door(self, door: Door, role: Role) -> Outcome:
        things = self._people.things() if door.changes else self._people.ready
        if door.kind is Kind.PAGE:
            return self._open_page(door, role, door.given(things))
        client = self._client(door, role)
        if door.kind is Kind.SOCKET:
            return _connect(client, door)
        return self._ask(client, door, role, things, ticket_of=role)

    def _client(self, door: Door, role: Role) -> TestClient:
        # Each from another address: who tries many keys from one is refused.
        came_from = (str(ip_address("10.0.0.1") + self.calls), 50_000)
        client = TestClient(
            self._app, base_url=ADDRESS, follow_redirects=False, raise_server_exceptions=False, client=came_from
        )
        client.headers |= {"Origin": ADDRESS, "Accept-Language": "en"}
        if door.kind.is_by_key or not role.has_page:
            key = self._people.key(role, door.scope)
            client.headers["Authorization"] = f"Bearer {key}"
        elif cookie := self._people.cookie(role):
            client.cookies.set(cookie_name(), cookie)
        return client

    def _ask(self, client: TestClient, door: Door, role: Role, things: Things, ticket_of: Role) -> Outcome:
        given = door.given(things)
        path = VALUE.sub(lambda found: str(given.values[found[1]]), f"/{door.path.lstrip('/')}")
        params = dict(given.params)
        if given.ticket and (principal := self._people.principals.get(ticket_of)):
            action, target_id = given.ticket
            origin = ADDRESS if action is Action.UPLOAD else ""
            ticket = self._people.services.tickets.issue(action, principal, target_id, origin)
            params["ticket"] = client.headers["X-Ticket"] = ticket
        sent: dict[str, Any] = {"json": given.json, "content": given.content}
        if door.form:
            shown = client.get(f"/{door.form}").text
            token = re.search(r'name="form" value="(\w+)"', shown)
            sent = {"data": {"form": token[1] if token else "", "name": "x", "password": "x"}}
        if door.kind is Kind.TOOL:
            reply = _call_tool(client, door.path, given.json)
        else:
            reply = client.request(door.method, path, params=params, **sent)
        outcome = _outcome(door, reply)
        is_known = door.expected(role) is Outcome.IN
        if not is_known and any(secret in reply.text for secret in _secrets(things)):
            return Outcome.LEAK
        return outcome

    def _open_page(self, door: Door, role: Role, given: Given) -> Outcome:
        cookie = self._people.cookie(role)
        with (
            patch("pages.ui.resources.session_token", lambda: cookie),
            patch("pages.ui.account.session_token", lambda: cookie),
        ):
            visitor = Visitor() if door.path else Visitor(**given.params)
            if door.path:
                visitor.go_to(PAGES[door.path][0].removesuffix(".py"), **given.params)
        shown = visitor.text() + str(visitor.app._tree)
        reads_log = door.path == "audit" and role is Role.ADMINISTRATOR  # it names what was deleted and downloaded
        if BASE in shown and role.permission is None and not reads_log:
            return Outcome.LEAK
        if QUESTION in shown and role is not Role.OWNER and (door.path != "shared" or not _may_read_links(role)):
            return Outcome.LEAK
        if "You are signed out" in visitor.errors:
            return Outcome.SIGN_IN
        if ADMINISTRATORS_ONLY in visitor.errors:
            return Outcome.FORBIDDEN
        if given.params and QUESTION not in shown:
            return Outcome.NOT_FOUND
        return Outcome.IN


def _may_read_links(role: Role) -> bool:
    return role not in (Role.STRANGER, Role.SUSPENDED)


def _secrets(things: Things) -> tuple[str, ...]:
    return things.base.name, DOCUMENT, QUESTION


def _call_tool(client: TestClient, name: str, arguments: dict[str, Any] | None) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    return client.post(TOOLS_PATH, json=request, headers={"Accept": "application/json, text/event-stream"})


def _outcome(door: Door, reply: Any) -> Outcome:
    status = reply.status_code
    if door.kind is Kind.TOOL and status == 200:
        result = reply.json()["result"]
        failure = KbError.registry.get(result.get("_meta", {}).get(CODE, ""))
        status = status_of(failure()) if failure else 500 if result["isError"] else 200
    if door.needs is Needs.NOTHING and "<form" in reply.text:  # which says what is wrong with what was filled in
        return Outcome.IN
    if status == 401 or (status == 303 and door.path != "logout" and "/login" in reply.headers.get("location", "")):
        return Outcome.SIGN_IN
    if status == 403:
        return Outcome.FORBIDDEN
    if status == 404:
        return Outcome.NOT_FOUND
    return Outcome.BROKEN if status >= 500 and door.path not in ("healthz", "readyz") else Outcome.IN


def _connect(client: TestClient, door: Door) -> Outcome:
    try:
        with client.websocket_connect(f"/{door.path}", headers={"Origin": ADDRESS, "Host": "127.0.0.1:8501"}):
            return Outcome.IN
    except WebSocketDisconnect:
        return Outcome.SIGN_IN


async def _page(_request: Request) -> Response:
    return PlainTextResponse("in")


async def _stream(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def _streamlits() -> list[Route | WebSocketRoute]:
    """In their place: what they would serve does not matter, only whether one gets to them."""
    made: list[Route | WebSocketRoute] = []
    for door in STREAMLITS:
        if door.kind is Kind.SOCKET:
            made.append(WebSocketRoute(f"/{door.path}", _stream))
        else:
            made.append(Route(f"/{door.path}", _page, methods=[door.method]))
    return made
