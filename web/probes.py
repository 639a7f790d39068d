"""What monitoring asks the web process: whether its services respond."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kb.errors import DatabaseUnavailable, KbError
from kb.reconciling import reconciled
from pages.ui import resources


async def healthz(_request: Request) -> JSONResponse:
    """Each service by name; 503 when one is down."""
    try:
        health = await asyncio.to_thread(lambda: resources.web().health())
    except KbError as error:
        # Nothing could be connected yet: SQL comes first, and everything else is asked once it is there.
        down = {"sql": {"ok": False, "detail": str(error)}} if isinstance(error, DatabaseUnavailable) else {}
        return JSONResponse({"ok": False, "detail": str(error), "services": down}, status_code=503)
    ok = all(service.ok for service in health)
    body = {
        "ok": ok,
        "services": {
            service.name: {"ok": service.ok, "detail": service.detail, "milliseconds": round(service.milliseconds, 1)}
            for service in health
        },
    }
    body |= await asyncio.to_thread(_documents)
    return JSONResponse(body, status_code=200 if ok else 503)


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


ROUTES = [Route("/{base_path:path}healthz", healthz)]  # also below server.baseUrlPath
