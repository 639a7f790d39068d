"""Requests of programs, as spans: those to the API, to `/v1` and to MCP."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kb import tracing
from web.base_path import page_path
from web.metrics.requests import METHODS, OTHER, route_of

TRACED = ("api", "v1", "mcp")  # by the first part of the path
TRACE_CONTEXT = ("traceparent", "tracestate")


class RequestSpans:
    """ASGI middleware. A request that names the trace of its caller (W3C Trace Context) is part of that.

    Left out are the path itself, which may hold a file's name, and who asks, by which address and program.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if tracing.is_on() and scope["type"] == "http" and page_path(scope).partition("/")[0] in TRACED:
            await self._trace(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        parent = {name: headers[name] for name in TRACE_CONTEXT if name in headers}
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        attributes = {
            "http.request.method": method,
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        with tracing.span(method, attributes, tracing.Kind.SERVER, parent=parent) as span:

            async def note_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.note({"http.response.status_code": status})
                    if status >= 500:
                        span.fail(str(status))
                await send(message)

            try:
                await self._app(scope, receive, note_status)
            finally:
                if (route := route_of(scope)) != OTHER:
                    span.note({"http.route": route})
                    span.rename(f"{method} {route}")
