"""The parser processes of one worker, lent to the threads that read a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, LifoQueue

from kb.config import Settings
from kb.environment import available_cpus
from kb.parsing import ParserProcess
from kb.parsing.room import Room

CHECK_SECONDS = 0.5


class Parsers:
    """One for each thread, as a large document keeps its parser while its first ranges are embedded.

    The one that was used last comes first: reading is work for one core, and a parser that is never needed is never
    started.
    """

    def __init__(self, settings: Settings) -> None:
        self._warm = min(settings.worker_threads, available_cpus())
        self._free: LifoQueue[ParserProcess] = LifoQueue()
        room = Room()
        for _ in range(threads_of(settings)):
            self._free.put(ParserProcess(settings.parsing_memory_mb, reads_images=settings.ocr, room=room))

    def start(self) -> None:
        """Start as many as can read at once."""
        with ExitStack() as stack:
            for _ in range(self._warm):
                stack.enter_context(self.lend()).start()

    @contextmanager
    def lend(self, check: Callable[[], None] = lambda: None) -> Iterator[ParserProcess]:
        """A free parser. While all are in use, `check` is called repeatedly and may raise."""
        while True:
            with suppress(Empty):
                parser = self._free.get(timeout=CHECK_SECONDS)
                break
            check()
        try:
            yield parser
        finally:
            self._free.put(parser)

    def close(self) -> None:
        """End those that are idle."""
        while not self._free.empty():
            self._free.get_nowait().close()


def threads_of(settings: Settings) -> int:
    """How many threads a worker process needs: one, at least, is left for small files."""
    return max(2, settings.worker_threads)
