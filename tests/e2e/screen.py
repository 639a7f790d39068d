"""What a person sees and clicks, found by the widgets' keys, which are the same in every language."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import ConsoleMessage, FilePayload, Locator, Page, Request, expect

# Streamlit's front end probes for a server under longer paths. The browser logs each 404.
PROBES = re.compile(r"/_stcore/(health|host-config)$")
SECONDS = 1000
IS_AT_REST = "() => !!document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')"


class Screen:
    """One browser tab on one web process."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.foreign: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._note_request)
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note_request(self, request: Request) -> None:
        schemes = ("data:", "blob:", self.url, self.url.replace("http:", "ws:"))
        if not request.url.startswith(schemes):
            self.foreign.append(request.url)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not PROBES.search(message.location["url"]):
            self.complaints.append(f"{message.text} ({message.location['url']})")

    # --- finding ---

    def key(self, key: str) -> Locator:
        """A choice has a number after its key (`pages.ui.choices`); a former one stays, hidden, until the run ends."""
        return self.page.locator(f".st-key-{key}, [class*='st-key-{key}--']:visible")

    def keys(self, prefix: str) -> Locator:
        return self.page.locator(f"[class*='st-key-{prefix}']")

    @property
    def messages(self) -> Locator:
        """Questions and answers, without notices such as a change of mode."""
        return self.page.locator("[data-testid=stChatMessage]")

    @property
    def drawer(self) -> Locator:
        return self.page.get_by_role("dialog")

    # --- doing ---

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)
        self.settle()

    def settle(self) -> None:
        """Wait until the script run ends.

        The browser looks at each frame: a page that follows an answer runs several times a second, and on a busy
        machine it rests between two runs for too short a time to be seen by looks from here, up to a second apart.
        """
        self.page.wait_for_function(IS_AT_REST, timeout=20 * SECONDS)

    def click(self, key: str) -> None:
        self.key(key).get_by_role("button").first.click()

    def go_to(self, title: str) -> None:
        self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
        self.settle()

    def choose(self, key: str, label: str) -> None:
        """Choose an option of a select box. Its list closes if the page draws the box anew meanwhile: open it again."""
        option = self.page.get_by_role("option", name=label, exact=True)
        for _ in range(5):
            self.key(key).get_by_role("combobox").click()
            with suppress(AssertionError):
                expect(option).to_be_visible(timeout=3 * SECONDS)
                break
        option.click()
        self.settle()

    def switch_mode(self, label: str) -> None:
        self.key("mode").get_by_text(label, exact=True).click()
        self.settle()

    def ask(self, question: str) -> None:
        box = self.key("question").get_by_role("textbox")
        expect(box).to_be_enabled()
        box.fill(question)
        box.press("Enter")

    def upload(self, files: Sequence[FilePayload]) -> None:
        self.key("upload").locator("input[type=file]").set_input_files(files)

    def slow_down(self, uploads: int) -> None:
        """Limit the browser to `uploads` bytes per second from now on."""
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": uploads}
        self.page.context.new_cdp_session(self.page).send("Network.emulateNetworkConditions", conditions)

    def shoot(self, folder: Path, name: str) -> None:
        self.settle()
        self.page.screenshot(path=folder / f"{name}.png")


OpenScreen = Callable[..., Screen]
