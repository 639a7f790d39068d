"""The pages' style (style.css, actions.css and traditional.css of pages/ui) as a part of Streamlit's page.

If the script brought it, the first messages could be drawn before it: the browser loads the code for that late.
"""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import pages.ui
from pages.ui.frame import PAGES
from web.base_path import page_path

HERE = Path(pages.ui.__file__).parent
STYLES = (HERE / "style.css", HERE / "actions.css")
TRADITIONAL = HERE / "traditional.css"
_END = b"</body>"  # after Streamlit's own styles, which the head gets: of equal rules, the later one counts
_FOR_STORED_ONES = ("if-none-match", "if-modified-since")


class PageStyle:
    """ASGI middleware that adds the style to every page that Streamlit serves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or page_path(scope) not in PAGES:
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(raw=list(scope["headers"]))
        for name in ("accept-encoding", *_FOR_STORED_ONES):  # the whole page, as it is
            del headers[name]
        await self._app({**scope, "headers": headers.raw}, receive, _Styled(send).send)


class _Styled:
    """Sends a response; that of a page once all of it is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None  # of a page
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                self._start = message
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            message = {**message, "body": self._body.replace(_END, _styles().encode() + _END)}
            headers = MutableHeaders(raw=list(self._start["headers"]))
            headers["content-length"] = str(len(message["body"]))
            del headers["etag"]
            await self._send({**self._start, "headers": headers.raw})
        await self._send(message)


def _styles() -> str:
    traditional = f'<style id="zw-traditional" media="not all">{TRADITIONAL.read_text("utf-8")}</style>'
    always = "\n".join(path.read_text("utf-8") for path in STYLES)
    return f"<style>{always}</style>{traditional}"
