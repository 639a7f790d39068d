"""The supervisor's one place to wait: for its web process to go, for a child to die, for a signal, for time."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType


class Lifeline:
    """Tells when the supervisor must end: its standard input closed, its parent changed, or it was told to.

    The pipe alone is not enough: a process that the web forked may hold its other end open.
    """

    def __init__(self, stdin: int, parent_pid: int) -> None:
        self._stdin = stdin
        self._parent_pid = parent_pid
        self._told = False
        self._wake, signal_end = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(signal_end, False)
        signal.set_wakeup_fd(signal_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes `wait`: a dead service is missed at once
        signal.signal(signal.SIGTERM, self._tell)
        signal.signal(signal.SIGINT, self._tell)

    def wait(self, seconds: float) -> bool:
        """Wait until something happens, `seconds` at most. True: go on; False: end."""
        readable, _, _ = select.select([self._stdin, self._wake], [], [], seconds)
        if self._wake in readable:
            os.read(self._wake, 4096)
        closed = self._stdin in readable and not os.read(self._stdin, 4096)
        return not (closed or self._told or os.getppid() != self._parent_pid)

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self._told = True
