"""One person at the pages, without a browser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch
from uuid import UUID

import httpx
from starlette.applications import Starlette
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Element, ElementTree

from pages.ui import resources
from tests.real_services import ROOT, wait_until
from web.uploads import file_routes

ADDRESS = "http://127.0.0.1:8501"
# The components.
UPLOADER, DOCUMENTS, ACTIONS, TALKS = "zhiwen.uploader", "zhiwen.documents", "zhiwen.actions", "zhiwen.talks"
READ = ("label", "value", "text", "placeholder")
ESCAPE = re.compile(r"\\([^\sA-Za-z0-9])")
TIMEOUT_SECONDS = 30


class Visitor:
    """A session; every run must end without an exception of ours."""

    def __init__(self, locale: str = "en-US", **query: str) -> None:
        self.app = AppTest.from_file(ROOT / "pages" / "app.py", default_timeout=TIMEOUT_SECONDS)
        self.app.context = {"locale": locale, "timezone": "Asia/Shanghai", "url": ADDRESS}
        self.app.query_params.update(query)
        self.run()

    def run(self) -> None:
        self.app.run()
        assert [error.value for error in self.app.exception] == []

    def go_to(self, page: str, **query: str) -> None:
        """`page` is a file beside app.py, without its extension."""
        self.app.query_params.clear()
        self.app.switch_page(f"{page}.py")
        self.app.query_params.update(query)
        self.run()

    # --- seeing ---

    def find(self, key: str) -> Any:
        """The widget or container with this key. A choice has a number after it (`pages.ui.choices`)."""
        keys = re.compile(re.escape(key) + r"(--\d+)?")
        found = [node for node in self.app._tree if keys.fullmatch(getattr(node, "key", None) or "")]
        if len(found) != 1:
            raise KeyError(key)
        return found[0]

    def text(self, key: str = "") -> str:
        """All that can be read on the page, or inside the container `key`."""
        if key.startswith("document-"):
            return read_row(self.rows[key.removeprefix("document-")])
        return "\n".join(read(self.find(key) if key else self.app))

    def has(self, key: str) -> bool:
        if found := document_action(key):
            action, document_id = found
            return action in self.rows.get(document_id, {}).get("actions", [])
        if key.startswith("document-"):
            return key.removeprefix("document-") in self.rows
        if key == "regenerate":
            return self._incomplete() is not None
        try:
            self.find(key)
        except KeyError:
            return False
        return True

    def component(self, name: str, in_sidebar: bool = False) -> dict[str, Any]:
        """The data that the page gives to one of our components."""
        return component_data(self._component(name, in_sidebar))

    def _component(self, name: str, in_sidebar: bool = False) -> Any:
        return self._components(name, in_sidebar)[0]

    def _components(self, name: str, in_sidebar: bool = False) -> list[Any]:
        """The page's own come first, then the sidebar's."""
        block: Any = self.app.sidebar if in_sidebar else self.app
        return [node for node in block.get("bidi_component") if node.proto.component_name == name]

    def talks(self, in_sidebar: bool = False) -> dict[str, list[str]]:
        """The conversations in the page's list, or in the sidebar's, under the labels of their groups."""
        groups = self.component(TALKS, in_sidebar)["groups"]
        return {group["label"]: [talk["title"] for talk in group["talks"]] for group in groups}

    def on_talk(self, action: str, conversation_id: object = "", in_sidebar: bool = False, **values: str) -> None:
        """Choose an action of a conversation's line, or of the list."""
        self.press(TALKS, "pressed", {"action": action, "id": str(conversation_id), **values}, in_sidebar)

    @property
    def actions(self) -> list[dict[str, Any]]:
        """What each message offers, the last one at the end."""
        return [component_data(node) for node in self._components(ACTIONS)]

    def act(self, place: int, **pressed: object) -> None:
        """Press a button in the row of the message at `place` among those that offer anything."""
        self._report(self._components(ACTIONS)[place], pressed)

    @property
    def cited(self) -> dict[int, str]:
        """The citations of the latest answer: rank → label."""
        return dict(self.actions[-1]["cited"])

    def open_citation(self, rank: int) -> None:
        """Of the latest answer."""
        self.act(-1, action="cite", rank=rank)

    def _incomplete(self) -> int | None:
        """The place of the answer that offers by name to be tried again."""
        return next((place for place, offered in enumerate(self.actions) if offered["isIncomplete"]), None)

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The documents that are shown, by their ids."""
        return {row["id"]: row for row in self.component(DOCUMENTS)["rows"]}

    @property
    def documents(self) -> list[str]:
        """The names of the documents that are shown."""
        return [row["name"] for row in self.rows.values()]

    @property
    def errors(self) -> str:
        return "\n".join(read(self.app.error))

    @property
    def links(self) -> list[str]:
        return [link.value for link in self.app.get("page_link") if isinstance(link, Element)]

    # --- doing ---

    def click(self, key: str) -> None:
        if found := document_action(key):
            action, document_id = found
            self.press(DOCUMENTS, "pressed", {"action": action, "id": document_id})
            return
        if key == "regenerate" and (place := self._incomplete()) is not None:
            self.act(place, action="regenerate")
            return
        self.app.button(key=key).click()
        self.run()

    def press(self, component: str, event: str, value: object, in_sidebar: bool = False) -> None:
        """Have one of our components report an event, as its script does in a browser."""
        self._report(self._component(component, in_sidebar), value, event)

    def _report(self, component: Any, value: object, event: str = "pressed") -> None:
        states = self.app._tree.get_widget_states()
        trigger = states.widgets.add()
        trigger.id = f"$$STREAMLIT_INTERNAL_KEY_{component.proto.id}__events"
        trigger.json_trigger_value = json.dumps([{"event": event, "value": value}])
        self.app._run(states)
        assert [error.value for error in self.app.exception] == []

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Inside, the browser hears nothing of what the page sets: each click sends the values that it has now."""
        sends, former = ElementTree.get_widget_states, self.app._tree.get_widget_states()

        def send(tree: ElementTree) -> WidgetStates:
            clicked = [state for state in sends(tree).widgets if state.trigger_value]
            kept = [state for state in former.widgets if state.id not in {each.id for each in clicked}]
            return WidgetStates(widgets=[*kept, *clicked])

        with patch.object(ElementTree, "get_widget_states", send):
            yield

    def type(self, key: str, text: str) -> None:
        self.find(key).set_value(text)

    def choose(self, key: str, value: Any) -> None:
        self.find(key).set_value(value)
        self.run()

    def send_label(self, key: str, label: str) -> None:
        """Have the browser send the label of a choice, also one that the page no longer offers."""
        states = self.app._tree.get_widget_states()
        (sent,) = [state for state in states.widgets if re.search(rf"-{key}(--\d+)?$", state.id)]
        sent.string_value = label
        self.app._run(states)
        assert [error.value for error in self.app.exception] == []

    def upload(
        self, *files: tuple[str, bytes], uploader: dict[str, Any] | None = None, replaces: UUID | None = None
    ) -> list[httpx.Response]:
        """Send files as the uploader does, or as one did that was shown before; then it reports them to the page."""
        target = uploader or self.component(UPLOADER)
        replies = asyncio.run(send_files(target, files, replaces))
        saved = [reply for reply in replies if reply.status_code == 201]
        present = sum(reply.status_code == 200 for reply in replies)
        told = all(reply.json()["workers_told"] for reply in saved)
        added_to = [] if replaces else [target["id"]]
        report = {"saved": len(saved), "present": present, "knowledge_bases": added_to, "workers_told": told}
        self.press(UPLOADER, "saved", report | {"is_first": True, "is_done": False})
        self.press(UPLOADER, "saved", report | {"is_done": True})
        return replies

    def start_asking(self, question: str) -> None:
        if not self.has("question"):
            self.run()  # the last run drew a part of the page, and AppTest shows no more than that
        self.app.chat_input(key="question").set_value(question)
        self.run()

    def ask(self, question: str) -> None:
        """And wait for the whole answer."""
        self.start_asking(question)
        self.wait_for_answer()

    def wait_for_answer(self) -> None:
        self.wait_until(lambda: not self.has("stop"), "the answer")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Look again and again, as the page does by itself in a browser."""

        def look() -> bool:
            self.run()
            return condition()

        wait_until(look, 40, what)


def address(visitor: Visitor) -> dict[str, str]:
    """The query of the tab's address, as F5 sends it again."""
    return {name: str(value) for name, value in visitor.app.query_params.items()}


async def send_files(
    uploader: dict[str, Any], files: Iterable[tuple[str, bytes]], replaces: UUID | None
) -> list[httpx.Response]:
    transport = httpx.ASGITransport(Starlette(routes=file_routes(resources.services)))
    headers = {"Origin": ADDRESS, "X-Ticket": uploader["ticket"]}
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers) as client:
        path = f"/api/uploads/{uploader['id']}"
        target = {"replaces": str(replaces)} if replaces else {}
        return [await client.put(path, params={"name": name, **target}, content=content) for name, content in files]


def document_action(key: str) -> tuple[str, str] | None:
    """The action and the document of a row's button, such as `retry-<id>`."""
    found = re.fullmatch(r"(cancel|retry|chunks|replace|download|delete)-([0-9a-f-]{36})", key)
    return (found[1], found[2]) if found else None


def component_data(node: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(node.proto.json)[0])


def read_row(row: dict[str, Any]) -> str:
    return "\n".join(row[name] for name in ("label", "name", "note", "chunks", "size", "date", "detail") if row[name])


def read(nodes: Iterable[Any]) -> Iterator[str]:
    """Texts as a person reads them: without the backslashes that keep Markdown from taking them for its own."""
    for node in nodes:
        if getattr(node, "type", "") == "bidi_component":
            yield from map(read_row, component_data(node).get("rows", []))
            continue
        for name in READ:
            value = getattr(node, name, None)
            if isinstance(value, str) and value:
                yield ESCAPE.sub(r"\1", value)
