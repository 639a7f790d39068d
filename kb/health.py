"""Whether each service answers, for `/healthz` and the System page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import structlog

from kb.errors import KbError
from kb.models import ServiceHealth

log = structlog.get_logger()

Ping = Callable[[], str]  # returns a version, or raises a `KbError` within seconds

FRESH_SECONDS = 5.0
IDLE_SECONDS = 60.0
SILENT_SECONDS = 5.0
FIRST_SECONDS = 30.0  # to import a client, and for a service that starts with us
CLOSE_SECONDS = 1.0


def check_health(pings: Mapping[str, Ping]) -> list[ServiceHealth]:
    """Ping all services at once, and wait for their replies."""
    with ThreadPoolExecutor(len(pings)) as pool:
        return list(pool.map(lambda item: _check(*item), pings.items()))


class HealthMonitor:
    """Pings each service in a thread of its own, so that a silent one delays neither a page nor the other services.

    A page draws the last result with its age. While somebody looks, results are seconds old.
    """

    def __init__(self, pings: Mapping[str, Ping]) -> None:
        self._pings = pings
        self._last: dict[str, ServiceHealth] = {}
        self._asked_at: dict[str, float] = {}  # while no reply has come, by `time.monotonic`
        self._wake = {name: threading.Event() for name in pings}
        self._closing = False
        self._threads = [
            threading.Thread(target=self._watch, args=(name, ping), name=f"health-{name}", daemon=True)
            for name, ping in pings.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads before what they ping is closed. A silent service is not waited for."""
        self._closing = True
        for wake in self._wake.values():
            wake.set()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    def last(self) -> Sequence[ServiceHealth]:
        """The last result for each service that was checked. Asks for new results where these are old."""
        now = datetime.now(UTC)
        known = [self._last[name] for name in self._pings if name in self._last]
        for health in known:
            if (now - health.checked_at).total_seconds() > FRESH_SECONDS:
                self._wake[health.name].set()
        return known

    def responding(self) -> dict[str, bool]:
        """Whether each service that was checked responds; asks anew as `last` does.

        One that fell silent does not, though no check has ended since.
        """
        now, responds = time.monotonic(), {health.name: health.ok for health in self.last()}
        for name, asked_at in self._asked_at.copy().items():
            if now - asked_at > (SILENT_SECONDS if name in responds else FIRST_SECONDS):
                responds[name] = False
        return responds

    def _watch(self, name: str, ping: Ping) -> None:
        while not self._closing:
            self._wake[name].clear()
            self._asked_at[name] = time.monotonic()
            self._last[name] = _check(name, ping)
            del self._asked_at[name]
            if not self._closing:
                self._wake[name].wait(IDLE_SECONDS)


def _check(name: str, ping: Ping) -> ServiceHealth:
    began = time.perf_counter()
    error: KbError | None = None
    try:
        ok, detail = True, ping()
    except KbError as caught:
        ok, detail, error = False, str(caught), caught
    except Exception as defect:
        log.exception("health.defect", service=name)
        ok, detail = False, type(defect).__name__
    return ServiceHealth(name, ok, detail, (time.perf_counter() - began) * 1000, error, datetime.now(UTC))
