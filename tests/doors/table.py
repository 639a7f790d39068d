"""The doors, and what each needs. A door that is missing here fails the tests: see `missing_doors`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route

from kb.access import KeyScope, Permission
from kb.access.tickets import CONVERSATIONS, Action
from kb.tools import TOOLS
from pages.ui.frame import FOR_ADMINISTRATORS, PAGES
from pages.ui.scripts import ADDRESS as SCRIPTS_ADDRESS
from pages.ui.scripts import SCRIPTS
from tests.doors.people import QUESTION, Role, Things
from web.api import PATH
from web.base_path import BASE_PATH
from web.openai_api import PATH as OPENAI_PATH
from web.tools import PATH as TOOLS_PATH

READ, ASK, WRITE, ADMIN = KeyScope.READ, KeyScope.ASK, KeyScope.WRITE, KeyScope.ADMIN
VIEW, EDIT, OWN = Permission.VIEW, Permission.EDIT, Permission.OWN
CALL_TOOL = "call"


class Kind(StrEnum):
    PAGE = "page"  # its script, as an open page runs it
    ROUTE = "route"  # a browser's request, with its cookie
    SOCKET = "socket"  # a browser's websocket
    CALL = "call"  # a program's request, with its key
    TOOL = "tool"  # a call of a tool by MCP, with a key; `json` are its arguments

    @property
    def is_by_key(self) -> bool:
        return self in (Kind.CALL, Kind.TOOL)


class Needs(Enum):
    NOTHING = "nothing"
    USER = "somebody who has signed in, or a key"
    EVERYWHERE = "the same, and no key that is limited to some knowledge bases"
    ADMINISTRATOR = "an administrator"
    OPERATOR = "the operator's own token, which none of the roles has"
    PROVIDER = "a provider to sign in with, which this installation lacks"
    INVITATION = "a link, which none of the roles has"
    HIS_OWN = "its owner"  # whatever is shared


class Outcome(StrEnum):
    IN = "in"
    SIGN_IN = "sign in"  # who are you?
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"  # whether it exists is not told
    BROKEN = "broken"
    LEAK = "leak"  # it shows what this role may not know of


@dataclass(frozen=True, slots=True)
class Given:
    """A request: what stands in the braces of the path, the query, and the body."""

    values: Mapping[str, object] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None
    content: bytes | None = None
    ticket: tuple[Action, Any] | None = None  # of the role's own page, for this thing


Make = Callable[[Things], Given]


@dataclass(frozen=True, slots=True)
class Door:
    """`changes`: it gets things of its own for each role. `form`: the page whose form is sent."""

    kind: Kind
    method: str
    path: str
    needs: Needs | Permission
    given: Make = lambda _things: Given()
    scope: KeyScope | None = None
    changes: bool = False
    form: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.method} {self.path}"

    def expected(self, role: Role) -> Outcome:
        """What this role must find."""
        if self.needs is Needs.NOTHING:
            return Outcome.IN
        if self.needs in (Needs.OPERATOR, Needs.PROVIDER):
            return Outcome.NOT_FOUND
        if self.needs is Needs.INVITATION:
            return Outcome.FORBIDDEN
        if not _is_known(role, self.kind):
            return Outcome.SIGN_IN
        if role is Role.OUT_OF_SCOPE_KEY:
            return Outcome.FORBIDDEN
        if self.needs is Needs.ADMINISTRATOR:
            return Outcome.IN if role is Role.ADMINISTRATOR else Outcome.FORBIDDEN
        if self.needs is Needs.USER:
            return Outcome.IN
        if self.needs is Needs.EVERYWHERE:
            return Outcome.FORBIDDEN if role is Role.OTHER_BASE_KEY else Outcome.IN
        if self.needs is Needs.HIS_OWN:
            return Outcome.IN if role is Role.OWNER else Outcome.NOT_FOUND
        if role.permission is None:
            return Outcome.NOT_FOUND
        return Outcome.IN if role.permission.includes(self.needs) else Outcome.FORBIDDEN


def _is_known(role: Role, kind: Kind) -> bool:
    if kind.is_by_key:
        return role not in (Role.STRANGER, Role.SUSPENDED, Role.EXPIRED_KEY, Role.REVOKED_KEY)
    return role.has_page and role not in (Role.STRANGER, Role.SUSPENDED)


# --- what is asked for ---


def _base(**more: Any) -> Make:
    return lambda things: Given({"knowledge_base_id": things.base.id}, **more)


def _document(**more: Any) -> Make:
    return lambda things: Given({"document_id": things.document.id}, **more)


def _question(things: Things) -> Given:
    return Given(json={"question": QUESTION, "knowledge_base_ids": [str(things.base.id)]})


def _chat(things: Things) -> Given:
    messages = [{"role": "user", "content": QUESTION}]
    return Given(json={"model": f"knowledge-base/{things.base.id}", "messages": messages})


def _file(things: Things) -> Given:
    ticket = (Action.DOWNLOAD, things.base.id)
    values = {"knowledge_base_id": things.base.id, "version_id": things.document.latest.id, "page": 1}
    return Given(values, ticket=ticket)


def _upload(things: Things) -> Given:
    values = {"knowledge_base_id": things.base.id}
    return Given(values, {"name": "new.md"}, content=b"# New", ticket=(Action.UPLOAD, things.base.id))


def _new_version(things: Things) -> Given:
    params = {"name": "new.md", "replaces": str(things.document.id)}
    ticket = (Action.UPLOAD, things.base.id)
    return Given({"knowledge_base_id": things.base.id}, params, content=b"# Newer", ticket=ticket)


def _export(things: Things) -> Given:
    return Given({"conversation_id": things.conversation_id}, ticket=(Action.EXPORT, CONVERSATIONS))


def _task(things: Things) -> Given:
    return Given({"task_id": things.answer_id})


def _conversation(**more: Any) -> Make:
    return lambda things: Given({"conversation_id": things.conversation_id}, **more)


def _webhook(**more: Any) -> Make:
    return lambda things: Given({"webhook_id": things.webhook_id}, **more)


def _delivery(things: Things) -> Given:
    return Given({"webhook_id": things.webhook_id, "delivery_id": things.delivery_id})


def _call(method: str, path: str, scope: KeyScope, needs: Needs | Permission, given: Make, **more: Any) -> Door:
    return Door(Kind.CALL, method, PATH + path, needs, given, scope, **more)


def _openai(method: str, path: str, needs: Needs | Permission, given: Make) -> Door:
    return Door(Kind.CALL, method, OPENAI_PATH + path, needs, given, KeyScope.ASK)


def _tool(name: str, needs: Needs | Permission, given: Callable[[Things], dict[str, Any]] = lambda _things: {}) -> Door:
    return Door(Kind.TOOL, CALL_TOOL, name, needs, lambda things: Given(json=given(things)), READ)


def _route(
    method: str, path: str, needs: Needs | Permission, given: Make = lambda _things: Given(), **more: Any
) -> Door:
    return Door(Kind.ROUTE, method, path, needs, given, **more)


NOTHING, USER, EVERYWHERE, ADMINISTRATOR, OPERATOR, PROVIDER, INVITATION, HIS_OWN = Needs
KNOWLEDGE_BASE, DOCUMENT, TASK = "/knowledge-bases/{knowledge_base_id}", "/documents/{document_id}", "/tasks/{task_id}"
CONVERSATION, WEBHOOK = "/conversations/{conversation_id}", "/webhooks/{webhook_id}"

CALLS = [
    Door(Kind.CALL, "GET", f"{PATH}/openapi.json", NOTHING),
    _call("GET", "/knowledge-bases", READ, USER, lambda _things: Given()),
    _call("POST", "/knowledge-bases", WRITE, EVERYWHERE, lambda _things: Given(json={"name": f"New {uuid4()}"})),
    _call("GET", KNOWLEDGE_BASE, READ, VIEW, _base()),
    _call("PATCH", KNOWLEDGE_BASE, WRITE, EDIT, _base(json={"prompt": "Answer from {passages}"})),
    _call("DELETE", KNOWLEDGE_BASE, ADMIN, OWN, _base(), changes=True),
    _call("GET", f"{KNOWLEDGE_BASE}/documents", READ, VIEW, _base()),
    _call("PUT", f"{KNOWLEDGE_BASE}/documents", WRITE, EDIT, _base(params={"name": "new.md"}, content=b"# New")),
    _call("GET", DOCUMENT, READ, VIEW, _document()),
    _call("GET", f"{DOCUMENT}/wait", READ, VIEW, _document(params={"seconds": "0"})),
    _call("GET", f"{DOCUMENT}/chunks", READ, VIEW, _document()),
    _call("GET", f"{DOCUMENT}/original", READ, VIEW, _document()),
    _call("PUT", f"{DOCUMENT}/original", WRITE, EDIT, _document(content=b"# Other"), changes=True),
    _call("POST", f"{DOCUMENT}/retry", WRITE, EDIT, _document(), changes=True),
    _call("POST", f"{DOCUMENT}/cancel", WRITE, EDIT, _document(), changes=True),
    _call("DELETE", DOCUMENT, WRITE, EDIT, _document(), changes=True),
    _call("POST", "/search", READ, VIEW, _question),
    _call("POST", "/generate", ASK, VIEW, _question),
    _call("GET", TASK, ASK, HIS_OWN, _task),
    _call("DELETE", TASK, ASK, HIS_OWN, _task),
    _call("GET", "/conversations", ASK, USER, lambda _things: Given()),
    _call("GET", CONVERSATION, ASK, HIS_OWN, _conversation()),
    _call("GET", f"{CONVERSATION}/messages", ASK, HIS_OWN, _conversation()),
    _call("PATCH", CONVERSATION, WRITE, HIS_OWN, _conversation(json={"title": "Renamed"}), changes=True),
    _call("DELETE", CONVERSATION, WRITE, HIS_OWN, _conversation(), changes=True),
    _call("POST", "/webhooks", WRITE, USER, lambda _things: Given(json={"address": "https://hooks.example/"})),
    _call("GET", "/webhooks", WRITE, USER, lambda _things: Given()),
    _call("GET", WEBHOOK, WRITE, HIS_OWN, _webhook()),
    _call("PUT", WEBHOOK, WRITE, HIS_OWN, _webhook(json={"address": "https://hooks.example/"})),
    _call("DELETE", WEBHOOK, WRITE, HIS_OWN, _webhook(), changes=True),
    _call("POST", f"{WEBHOOK}/enable", WRITE, HIS_OWN, _webhook()),
    _call("POST", f"{WEBHOOK}/disable", WRITE, HIS_OWN, _webhook(), changes=True),
    _call("POST", f"{WEBHOOK}/test", WRITE, HIS_OWN, _webhook()),
    _call("GET", f"{WEBHOOK}/deliveries", WRITE, HIS_OWN, _webhook()),
    _call("POST", f"{WEBHOOK}/deliveries/{{delivery_id}}/resend", WRITE, HIS_OWN, _delivery),
    _openai("GET", "/models", USER, lambda _things: Given()),
    _openai("GET", "/models/{name}", VIEW, lambda things: Given({"name": f"knowledge-base/{things.base.id}"})),
    _openai("POST", "/chat/completions", VIEW, _chat),
    _openai("POST", "/embeddings", USER, lambda of: Given(json={"model": of.base.embedding_model, "input": "Path"})),
]
TOOL_CALLS = [
    _tool("list_knowledge_bases", USER),
    _tool("list_documents", VIEW, lambda things: {"knowledge_base_id": str(things.base.id)}),
    _tool("search", VIEW, lambda things: {"question": QUESTION, "knowledge_base_ids": [str(things.base.id)]}),
    _tool("read_document", VIEW, lambda things: {"document_id": str(things.document.id)}),
    _tool("grep", VIEW, lambda things: {"pattern": "path", "knowledge_base_ids": [str(things.base.id)]}),
    _tool("grep", VIEW, lambda things: {"pattern": "path", "document_ids": [str(things.document.id)]}),
]
FILE = "/{knowledge_base_id:uuid}/{version_id:uuid}"
OURS = [
    _route("GET", "livez", NOTHING),
    _route("GET", "readyz", NOTHING),
    _route("GET", "healthz", NOTHING),
    _route("GET", "metrics", OPERATOR),
    _route("GET", f"{SCRIPTS_ADDRESS}/{{name}}", USER, lambda _things: Given({"name": next(iter(SCRIPTS))})),
    _route("PUT", "api/uploads/{knowledge_base_id:uuid}", EDIT, _upload),
    _route("PUT", "api/uploads/{knowledge_base_id:uuid}", EDIT, _new_version, changes=True),
    _route("GET", f"api/originals{FILE}", VIEW, _file),
    _route("GET", f"api/pages{FILE}/{{page:int}}", VIEW, _file),
    _route("GET", "api/conversations/{conversation_id:uuid}", HIS_OWN, _export),
    _route("GET", "api/conversations", USER, _export),
    _route("GET", "login", NOTHING),
    _route("POST", "login", NOTHING, form="login"),
    _route("GET", "signup", NOTHING),
    _route("POST", "signup", INVITATION, form="signup"),
    _route("POST", "logout", USER, form="account"),
    _route("GET", "session", USER),
    _route("GET", "account", USER),
    _route("POST", "account", USER, form="account"),
    _route("POST", "disconnect", USER, form="account"),
    _route("GET", "login/{provider}", PROVIDER, lambda _things: Given({"provider": "corp"})),
    _route("GET", "login/{provider}/callback", PROVIDER, lambda _things: Given({"provider": "corp"})),
]
# Streamlit's own, which the gate alone guards.
STREAMLITS = [
    *(_route("GET", path, USER) for path in PAGES),
    _route("GET", "_stcore/host-config", USER),
    _route("GET", "media/picture.png", USER),
    _route("PUT", "_stcore/upload_file/session/file", USER),
    _route("GET", "component/zhiwen/part.js", USER),
    Door(Kind.SOCKET, "GET", "_stcore/stream", USER),
]
SCREENS = [
    *(Door(Kind.PAGE, "open", path, ADMINISTRATOR if path in FOR_ADMINISTRATORS else USER) for path in PAGES),
    Door(Kind.PAGE, "open", "", HIS_OWN, lambda things: Given(params={"conversation": str(things.conversation_id)})),
    Door(Kind.PAGE, "open", "shared", USER, lambda things: Given(params={"link": things.link})),
]
DOORS = [*CALLS, *TOOL_CALLS, *OURS, *STREAMLITS, *SCREENS]


# --- whether all are there ---


def missing_doors(routes: list[BaseRoute]) -> set[str]:
    """The doors of the app that no line above tries, and the lines that try none."""
    ours = {f"{door.method} {door.path}" for door in [*CALLS, *TOOL_CALLS, *OURS]}
    return ours ^ set(_of_app(routes))


def _of_app(routes: list[BaseRoute]) -> Iterator[str]:
    for route in routes:
        if isinstance(route, Mount):
            assert isinstance(route.app, FastAPI), "teach this how to list what is mounted"
            mounted = f"/{route.path.removeprefix(BASE_PATH)}"
            if route.app.openapi_url:
                yield f"GET {mounted}{route.app.openapi_url}"
            for path, methods in route.app.openapi()["paths"].items():
                yield from (f"{method.upper()} {mounted}{path}" for method in methods)
        elif isinstance(route, Route) and route.path.removeprefix(BASE_PATH) == TOOLS_PATH.strip("/"):
            yield from (f"{CALL_TOOL} {name}" for name in TOOLS)
        elif isinstance(route, Route):
            for method in sorted((route.methods or {"GET"}) - {"HEAD"}):
                yield f"{method} {route.path.removeprefix(BASE_PATH)}"
        else:
            yield str(route)
