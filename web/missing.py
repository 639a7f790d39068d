"""Addresses without a page. Streamlit would open the chat and say so in English only."""

from __future__ import annotations

import html
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from kb.errors import N_
from pages.ui.frame import HTML_LANGUAGES, PAGES
from pages.ui.i18n import accepted_language, translate
from pages.ui.session_cookie import home_path
from web.base_path import page_path

STREAMLITS_OWN = (
    "_stcore",
    "app",
    "component",
    "media",
    "static",
)  # what it serves itself, by the first part of the path
# Programs with a wrong key look there for a way to sign in, and would take Streamlit's page for an answer.
WELL_KNOWN = ".well-known/"
# Below these, there are only our routes. A program that mistook the version would take Streamlit's page for an answer.
FOR_PROGRAMS = ("api", "v1")
PRODUCT = N_("Zhiwen")
TITLE = N_("Page not found")
TEXT = N_("There is no page at {path}.")
NEXT_STEP = N_("Go to the chat")
# The theme that was chosen in the menu. Streamlit keeps it in the browser for each page (frame.js: alike for all).
THEME_SCRIPT = """
  try {
    const theme = JSON.parse(localStorage.getItem(`stActiveTheme-${document.documentElement.dataset.home}-v2`));
    document.documentElement.dataset.theme = theme.toLowerCase();
  } catch {
    // None was chosen, or the browser keeps nothing for this site: the system's counts.
  }
"""
PAGE = """<!doctype html>
<html lang="{language}" data-home="{home}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · {product}</title>
<link rel="icon" href="data:,">
<style>
  /* The colours of .streamlit/config.toml. */
  :root {{ color-scheme: light dark; }}
  :root[data-theme="light"] {{ color-scheme: light; }}
  :root[data-theme="dark"] {{ color-scheme: dark; }}
  body {{
    max-width: 32rem; margin: 20vh auto; padding: 0 1rem; font: 1rem/1.6 system-ui, sans-serif;
    background: light-dark(#ffffff, #14191b); color: light-dark(#1d2829, #e4eaea);
  }}
  h1 {{ margin-top: .25rem; font-size: 1.75rem; font-weight: 650; line-height: 1.2; }}
  p {{ overflow-wrap: anywhere; }}
  .product {{ margin: 0; font-weight: 600; color: light-dark(#136068, #7cc7cd); }}
  a {{ color: light-dark(#136068, #7cc7cd); }}
{style}</style>
<script>{script}</script>
<p class="product">{product}</p>
<h1>{title}</h1>
{body}
"""
NOTICE = """<p>{text}</p>
<p><a href="{home}">{next_step}</a></p>"""


class MissingPages:
    """ASGI middleware that answers with 404 where there is nothing: a browser gets a page of ours.

    `routes` are those of ours, besides Streamlit's pages and files.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_missing(scope):
            await self._app(scope, receive, send)
        elif scope["method"] == "GET" and _is_browser(scope) and not page_path(scope).startswith(WELL_KNOWN):
            await notice_page(scope, 404, TITLE, TEXT, NEXT_STEP, path=scope["path"])(scope, receive, send)
        else:
            await Response(status_code=404)(scope, receive, send)

    def _is_missing(self, scope: Scope) -> bool:
        path = page_path(scope)
        if path.startswith(WELL_KNOWN):
            return True
        first = path.split("/")[0]
        if first not in FOR_PROGRAMS:
            # Only what a browser opens as a page: scripts and images of a page have other types.
            if scope["method"] != "GET" or not _is_browser(scope) or "." in path:
                return False
            if path in PAGES or first in STREAMLITS_OWN:
                return False
        return all(route.matches(scope)[0] is Match.NONE for route in self._routes)


def _is_browser(scope: Scope) -> bool:
    return "text/html" in Headers(scope=scope).get("accept", "")


def notice_page(scope: Scope, status: int, title: str, text: str, next_step: str, **values: object) -> HTMLResponse:
    """A page without Streamlit, in the browser's language, with a link to the chat. `values` are filled into `text`."""
    language = accepted_language(Headers(scope=scope).get("accept-language", ""))
    body = NOTICE.format(
        text=html.escape(translate(text, language).format(**values)),
        next_step=html.escape(translate(next_step, language)),
        home=html.escape(home_path()),
    )
    return plain_page(language, status, title, body)


def plain_page(language: str, status: int, title: str, body: str, style: str = "") -> HTMLResponse:
    """A page without Streamlit. `body` and `style` are HTML and CSS; `title` is translated."""
    page = PAGE.format(
        language=HTML_LANGUAGES[language],
        title=html.escape(translate(title, language)),
        product=html.escape(translate(PRODUCT, language)),
        body=body,
        style=style,
        home=html.escape(home_path()),
        script=THEME_SCRIPT,
    )
    return HTMLResponse(page, status_code=status)
