"""Counts messages, as Dramatiq's own middleware does, which would open a port and write files to share."""

from __future__ import annotations

import time

import dramatiq
from dramatiq.middleware import Middleware

from kb.metrics import note_message


class MessageCounts(Middleware):
    def __init__(self) -> None:
        self._began: dict[str, float] = {}  # by the messages' ids

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._began[message.message_id] = time.perf_counter()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        ended = time.perf_counter()
        milliseconds = (ended - self._began.pop(message.message_id, ended)) * 1000
        note_message(message.queue_name, message.actor_name, milliseconds, has_failed=exception is not None)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self.after_process_message(broker, message)
