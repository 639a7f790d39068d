"""The launcher: `streamlit run webui_st.py`. One port for the pages, `/healthz` and, in its lifespan, the services."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
import structlog
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from kb.config import load_settings
from kb.errors import DatabaseUnavailable, KbError
from kb.logs import configure_logs
from pages.ui import resources
from pages.ui.arrivals import CountArrivals

log = structlog.get_logger()

SCRIPT = Path(__file__).resolve().parent / "pages" / "app.py"
# For each run of a script Streamlit puts its folder on `sys.path` and takes it off again. An import that goes along the
# path in another thread meanwhile skips an entry, and finds no module. A folder that is there already is left alone.
if str(SCRIPT.parent) not in sys.path:
    sys.path.append(str(SCRIPT.parent))

# Answers and documents must not load anything from elsewhere. The hash is Streamlit 1.67's one inline script.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval' blob: 'sha256-THxz9J9+wf7rhwR2YkXJoSZ13UCmYyC+3lNDv2+8ugA='",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


class SecurityHeaders:
    """ASGI middleware that adds `SECURITY_HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def take_uploads_of(limit_mb: int) -> None:
    """Streamlit's route for uploads has a limit of its own, which the uploader's does not change."""
    config.set_option("server.maxUploadSize", limit_mb)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[dict[str, Any]]:
    """Start the services before the first page, and end them with the process."""
    try:
        settings = load_settings()
        configure_logs(settings)
        take_uploads_of(settings.max_upload_mb)
        await asyncio.to_thread(resources.start)
    except KbError as error:
        # The pages say what is wrong and how to mend it; a process that exits would only say it in a log.
        log.error("web.not_ready", reason=error.code, detail=str(error))
    # Streamlit collects garbage after every run; what is imported by now will never be garbage.
    gc.freeze()
    yield {}
    await asyncio.to_thread(resources.close)


async def healthz(_request: Request) -> JSONResponse:
    """Each service by name; 503 when one is down."""
    try:
        health = await asyncio.to_thread(resources.health)
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
    return JSONResponse(body, status_code=200 if ok else 503)


app = st.App(
    SCRIPT,
    routes=[Route("/healthz", healthz)],
    middleware=[Middleware(SecurityHeaders), Middleware(CountArrivals)],
    lifespan=lifespan,
)
