"""A tab of the chat without a browser: it speaks Streamlit's websocket and paints nothing.

It sends what a browser sends (the address, hashes of messages that it holds, the fragments that are to run every so
often), so that the web process works as it does for a browser; only the browser's own work is spared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlencode, urlsplit

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets import Origin, Subprotocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

STREAM = "/_stcore/stream"
MOST_BYTES = 100 << 20
CURSOR = "▌"
OPEN_SECONDS = 60.0


@dataclass(slots=True)
class Shown:
    """What a page has shown: its input field, its errors, and the answer that begins with `token`."""

    token: str = ""
    question_id: str = ""  # of the input field
    query: str = ""
    errors: list[str] = field(default_factory=list)
    answer: str = ""
    passages: bytes = b""  # the words by which the page offers them
    passages_at: float | None = None  # when it first did after the question
    has_ended: bool = False  # the answer, and the page was drawn with it
    updates: list[float] = field(default_factory=list)  # when the answer grew
    runs: int = 0  # of the whole page, that have ended
    intervals: dict[str, float] = field(default_factory=dict)  # fragments that are to run every so many seconds
    held: dict[str, ForwardMsg] = field(default_factory=dict)  # messages that the server may name by their hashes

    def take(self, message: ForwardMsg, now: float) -> None:
        """Note what a message changes. `now`: in seconds, by any clock."""
        if message.WhichOneof("type") == "ref_hash":
            message = self.held[message.ref_hash]
        elif message.metadata.cacheable:
            self.held[message.hash] = message
        match message.WhichOneof("type"):
            case "new_session" if not message.metadata.run.fragment_ids:
                self.intervals.clear()
            case "script_finished" if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                self.runs += 1
            case "script_finished" if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                self.errors.append("the script does not compile")
            case "page_info_changed":
                self.query = message.page_info_changed.query_string
            case "auto_rerun":
                self.intervals[message.auto_rerun.fragment_id] = message.auto_rerun.interval
            case "stop_auto_rerun":
                for fragment_id in message.stop_auto_rerun.fragment_ids:
                    self.intervals.pop(fragment_id, None)
            case "delta" if message.delta.WhichOneof("type") == "new_element":
                self._take_element(message.delta.new_element, now)

    def _take_element(self, element: Element, now: float) -> None:
        match element.WhichOneof("type"):
            case "chat_input":
                self.question_id = element.chat_input.id
            case "exception":
                self.errors.append(f"{element.exception.type}: {element.exception.message}")
            case "alert" if element.alert.format in (Alert.ERROR, Alert.WARNING):
                self.errors.append(element.alert.body)
            case "markdown" if self.token and self.token in element.markdown.body:
                text = element.markdown.body.removesuffix(CURSOR).rstrip()
                self.has_ended = not element.markdown.body.endswith(CURSOR)
                if len(text) > len(self.answer):
                    self.updates.append(now)
                self.answer = text

    @property
    def gaps(self) -> list[float]:
        """Seconds between two updates of the answer."""
        return [later - earlier for earlier, later in pairwise(self.updates)]


class Tab:
    """An open page. See `open_tab`."""

    def __init__(self, socket: ClientConnection, query: str) -> None:
        self.shown = Shown(query=query)
        self._socket = socket
        self._timers: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()

    async def ask(self, question: str, token: str, passages: str = "") -> float:
        """Send the question, whose answer begins with `token`. Returns when that was.

        `passages` are the words by which the page offers what was found.
        """
        self.shown.token, self.shown.passages = token, passages.encode()
        began = time.perf_counter()
        await self._run(question=question)
        return began

    async def wait_until(self, seen: Callable[[Shown], bool], seconds: float) -> bool:
        """Wait until the page shows it. False: it did not, or the server closed the connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not seen(self.shown):
                    if self._socket.close_code is not None:
                        self.shown.errors.append(f"the connection was closed: {self._socket.close_reason}")
                        return False
                    self._changed.clear()
                    await self._changed.wait()
                return True
        return False

    async def follow(self) -> None:
        """Take messages until the connection is closed."""
        await self._run()
        try:
            async for data in self._socket:
                assert isinstance(data, bytes)
                now = time.perf_counter()
                if self.shown.passages and self.shown.passages_at is None and self.shown.passages in data:
                    self.shown.passages_at = now
                self.shown.take(ForwardMsg.FromString(data), now)
                self._set_timers()
                self._changed.set()
        except ConnectionClosed:
            pass
        finally:
            self.shown.intervals.clear()
            self._set_timers()
            self._changed.set()

    def _set_timers(self) -> None:
        for fragment_id, (interval, timer) in list(self._timers.items()):
            if self.shown.intervals.get(fragment_id) != interval:
                timer.cancel()
                del self._timers[fragment_id]
        for fragment_id, interval in self.shown.intervals.items():
            if fragment_id not in self._timers:
                self._timers[fragment_id] = interval, asyncio.create_task(self._repeat(fragment_id, interval))

    async def _repeat(self, fragment_id: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._run(fragment_id)

    async def _run(self, fragment_id: str = "", question: str = "") -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.fragment_id, state.is_auto_rerun = self.shown.query, fragment_id, bool(fragment_id)
        state.cached_message_hashes.extend(self.shown.held)
        state.context_info.locale, state.context_info.timezone = "en-US", "UTC"
        if question:
            state.widget_states.widgets.add(id=self.shown.question_id).chat_input_value.data = question
        with suppress(ConnectionClosed):
            await self._socket.send(message.SerializeToString())


@asynccontextmanager
async def open_tab(url: str, cookie: str = "", **query: str) -> AsyncIterator[Tab]:
    """Open the chat at `url`, and wait until it is drawn. `cookie` as `name=value`."""
    address = urlsplit(url)
    origin = f"{address.scheme}://{address.netloc}"
    async with connect(
        f"ws://{address.netloc}{STREAM}",
        origin=Origin(origin),
        subprotocols=[Subprotocol("streamlit")],
        additional_headers={"Cookie": cookie} if cookie else None,
        proxy=None,
        compression=None,  # Streamlit's default
        max_size=MOST_BYTES,
    ) as socket:
        tab = Tab(socket, urlencode(query))
        following = asyncio.create_task(tab.follow())
        try:
            await tab.wait_until(lambda shown: bool(shown.runs and shown.question_id), OPEN_SECONDS)
            yield tab
        finally:
            await socket.close()
            await following
