"""One person at the pages, without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Element

from tests.real_services import ROOT, wait_until

READ = ("label", "value", "text", "placeholder")
ESCAPE = re.compile(r"\\([^\sA-Za-z0-9])")
TIMEOUT_SECONDS = 30


class Visitor:
    """A session; every run must end without an exception of ours."""

    def __init__(self, locale: str = "en-US", **query: str) -> None:
        self.app = AppTest.from_file(ROOT / "pages" / "app.py", default_timeout=TIMEOUT_SECONDS)
        self.app.context = {"locale": locale, "timezone": "Asia/Shanghai"}
        self.app.query_params.update(query)
        self.run()

    def run(self) -> None:
        self.app.run()
        assert [error.value for error in self.app.exception] == []

    def go_to(self, page: str) -> None:
        """`page` is a file beside app.py, without its extension."""
        self.app.query_params.clear()
        self.app.switch_page(f"{page}.py")
        self.run()

    # --- seeing ---

    def text(self, key: str = "") -> str:
        """All that can be read on the page, or inside the container `key`."""
        return "\n".join(read(self.app.get_by_key(key) if key else self.app))

    def has(self, key: str) -> bool:
        try:
            self.app.get_by_key(key)
        except KeyError:
            return False
        return True

    @property
    def errors(self) -> str:
        return "\n".join(read(self.app.error))

    @property
    def links(self) -> list[str]:
        return [link.value for link in self.app.get("page_link") if isinstance(link, Element)]

    @property
    def uploader(self) -> Any:
        """The one that is not hidden: that of the knowledge base in the address."""
        return self.app.file_uploader(key=f"upload-{self.app.query_params['knowledge_base']}")

    # --- doing ---

    def click(self, key: str) -> None:
        self.app.button(key=key).click()
        self.run()

    def type(self, key: str, text: str) -> None:
        self.app.text_input(key=key).set_value(text)

    def choose(self, key: str, value: Any) -> None:
        widget: Any = self.app.get_by_key(key)
        widget.set_value(value)
        self.run()

    def upload(self, *files: tuple[str, bytes]) -> None:
        self.uploader.set_value([(name, content, "application/octet-stream") for name, content in files])
        self.run()

    def start_asking(self, question: str) -> None:
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


def read(nodes: Iterable[Any]) -> Iterator[str]:
    """Texts as a person reads them: without the backslashes that keep Markdown from taking them for its own."""
    for node in nodes:
        for name in READ:
            value = getattr(node, name, None)
            if isinstance(value, str) and value:
                yield ESCAPE.sub(r"\1", value)
