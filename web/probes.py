"""Probes: `/livez` whether the process answers, `/readyz` whether it serves pages, `/healthz` how each service is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kb.errors import DatabaseUnavailable, KbError
from kb.health import HealthMonitor
from kb.reconciling import reconciled
from pages.ui import resources
from web.base_path import BASE_PATH

KEPT_SECONDS = 1.0  # what `/healthz` found
FIRST_REPLY_SECONDS = 1.0  # for SQL, by the first of all questions
_PAUSE_SECONDS = 0.02
_Found = tuple[dict[str, Any], int]  # the body and the status


async def livez(_request: Request) -> JSONResponse:
    """200 as long as the process answers at all. Nothing else is asked, so no service can have it restarted."""
    return JSONResponse({"live": True})


class Readiness:
    """Answers `/readyz`: 200 if this process can serve pages, for which it needs its parts and SQL.

    Other services that do not respond are named: without them, pages say what is missing. Who asks waits for no
    service: what the last checks found is told, and they are repeated in the background.
    """

    def __init__(self) -> None:
        self._attempt: asyncio.Task[None] | None = None
        self._reason = "starting"

    async def reply(self, _request: Request) -> JSONResponse:
        web = resources.started()
        if web is None:
            self._start()
            return _not_ready(self._reason)
        responds = await _responding(web.health_monitor)
        if not responds.get("sql"):
            return _not_ready("sql")
        return JSONResponse({"ready": True, "degraded": sorted(name for name, ok in responds.items() if not ok)})

    def _start(self) -> None:
        """Try again in the background: no page does while a balancer sends nobody here."""
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._try())

    async def _try(self) -> None:
        try:
            await asyncio.to_thread(resources.web)
        except KbError as error:
            self._reason = error.code


async def _responding(monitor: HealthMonitor) -> dict[str, bool]:
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_REPLY_SECONDS):
            while "sql" not in monitor.responding():
                await asyncio.sleep(_PAUSE_SECONDS)
    return monitor.responding()


def _not_ready(reason: str) -> JSONResponse:
    return JSONResponse({"ready": False, "reason": reason}, status_code=503)


class ServiceCheck:
    """Answers `/healthz`: each service by name; 503 when one is down.

    One check runs at a time, and all who ask meanwhile or within `KEPT_SECONDS` get what it found: a service that does
    not respond holds one thread, however many ask without a login.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._check: asyncio.Task[_Found] | None = None
        self._of: resources.Web | None = None
        self._until = 0.0

    async def reply(self, _request: Request) -> JSONResponse:
        check, web = self._check, resources.started()
        if check is None or (
            check.done() and (check.cancelled() or self._of is not web or self._clock() >= self._until)
        ):
            self._check = check = asyncio.create_task(self._run())
        body, status = await asyncio.shield(check)
        return JSONResponse(body, status)

    async def _run(self) -> _Found:
        found = await asyncio.to_thread(_check_services)
        self._of, self._until = resources.started(), self._clock() + KEPT_SECONDS
        return found


def _check_services() -> _Found:
    try:
        health = resources.web().health()
    except KbError as error:
        # Nothing could be connected yet: SQL comes first, and everything else is asked once it is there.
        down = {"sql": {"ok": False, "detail": str(error)}} if isinstance(error, DatabaseUnavailable) else {}
        return {"ok": False, "detail": str(error), "services": down}, 503
    ok = all(service.ok for service in health)
    body = {
        "ok": ok,
        "services": {
            service.name: {"ok": service.ok, "detail": service.detail, "milliseconds": round(service.milliseconds, 1)}
            for service in health
        },
    }
    return body | _documents(), 200 if ok else 503


def _documents() -> dict[str, Any]:
    """What ready documents lack, and how many indexes could not be compared.

    It does not count as a service that is down: everything else is answered.
    """
    try:
        found = reconciled(resources.services().database)
    except KbError:
        return {}
    checked_at = found.checked_at.isoformat() if found.checked_at else None
    lacking = {
        "unsearchable": found.unsearchable,
        "files_missing": found.files_missing,
        "indexes_unreadable": len(found.errors),
    }
    return {"documents": {"ok": not any(lacking.values()), **lacking, "checked_at": checked_at}}


healthz = ServiceCheck().reply


def probe_routes() -> list[Route]:
    return [
        Route(f"{BASE_PATH}livez", livez),
        Route(f"{BASE_PATH}readyz", Readiness().reply),
        Route(f"{BASE_PATH}healthz", healthz),
    ]
