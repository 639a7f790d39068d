"""Forms outside of Streamlit: signing in, signing up, the account. They need no script."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse

from kb.errors import KbError, RequestStalled
from pages.ui.i18n import LANGUAGES, accepted_language, error_text, translate
from pages.ui.session_cookie import home_path
from web.missing import plain_page

MOST_BYTES = 16_384  # of a form's body
FORM_SECONDS = 60.0  # in which it arrives: its connection is one that others could have
STYLE = """
  body { max-width: 22rem; margin-top: 12vh; }
  form { display: flex; flex-direction: column; gap: 1rem; margin: 1.5rem 0; }
  label { display: flex; flex-direction: column; gap: .25rem; font-weight: 600; font-size: .9rem; }
  input, button { font: inherit; font-weight: 400; padding: .55rem .75rem; border-radius: .6rem; }
  input { border: 1px solid light-dark(#8a9899, #5d6b6d); background: light-dark(#fff, #1e2527); color: inherit; }
  button { border: 0; background: light-dark(#1b6b72, #2b7f87); color: #fff; font-weight: 600; cursor: pointer; }
  button.quiet { background: none; border: 1px solid light-dark(#8a9899, #5d6b6d); color: inherit; }
  a.button { display: block; padding: .55rem .75rem; border-radius: .6rem; text-align: center; text-decoration: none;
    border: 1px solid light-dark(#8a9899, #5d6b6d); color: inherit; font-weight: 600; }
  :is(input, button, a):focus-visible { outline: 2px solid light-dark(#1b6b72, #7cc7cd); outline-offset: 2px; }
  .error { border-left: 4px solid light-dark(#b3261e, #f2847c); padding-left: .75rem; }
  .note { border-left: 4px solid light-dark(#1b6b72, #7cc7cd); padding-left: .75rem; }
  h2 { font-size: 1.2rem; margin-top: 2.5rem; }
"""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    label: str  # translated where it is drawn
    kind: str = "password"
    autocomplete: str = "current-password"
    value: str = ""
    hint: str = ""  # a complete text, shown while the field is empty


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a page; `hidden` are values that it sends along."""

    action: str  # a path below the chat's
    submit: str
    fields: Sequence[Field] = ()
    hidden: dict[str, str] = field(default_factory=dict)
    title: str = ""
    is_quiet: bool = False


def form_page(
    request: Request,
    title: str,
    forms: Sequence[Form],
    status: int = 200,
    error: KbError | None = None,
    notes: Sequence[str] = (),
    links: Sequence[tuple[str, str]] = (),
    buttons: Sequence[tuple[str, str]] = (),
    buttons_title: str = "",
) -> HTMLResponse:
    """`notes` are complete texts; `links` are paths below the chat's with their texts, `buttons` with complete ones."""
    code = language_of(request)
    parts = [f'<p class="note">{html.escape(note)}</p>' for note in notes]
    if error is not None:
        message, remedy = (html.escape(text) for text in error_text(error, code))
        parts.append(f'<p class="error" role="alert"><strong>{message}</strong><br>{remedy}</p>')
    parts += [_form(form, code, is_first=place == 0) for place, form in enumerate(forms)]
    if buttons and buttons_title:
        parts.append(f"<h2>{_text(buttons_title, code)}</h2>")
    parts += [
        f'<p><a class="button" href="{html.escape(_below(path))}">{html.escape(text)}</a></p>' for path, text in buttons
    ]
    parts += [f'<p><a href="{html.escape(_below(path))}">{_text(text, code)}</a></p>' for path, text in links]
    page = plain_page(code, status, title, "\n".join(parts), STYLE)
    page.headers["Cache-Control"] = "no-store"
    if getattr(request.state, "is_cut_off", False):  # else all of the form that was sent would still be read
        page.headers["Connection"] = "close"
    return page


def _form(form: Form, code: str, is_first: bool) -> str:
    rows = [f"<h2>{_text(form.title, code)}</h2>"] if form.title else []
    rows.append(f'<form method="post" action="{html.escape(_below(form.action))}">')
    for name, value in form.hidden.items():
        rows.append(f'<input type="hidden" name="{name}" value="{html.escape(value)}">')
    to_fill = next((each for each in form.fields if not each.value), None) if is_first else None
    for each in form.fields:
        focus = " autofocus" if each is to_fill else ""
        rows.append(
            f"<label>{_text(each.label, code)}"
            f'<input name="{each.name}" type="{each.kind}" autocomplete="{each.autocomplete}" maxlength="1000"'
            f' value="{html.escape(each.value)}" placeholder="{html.escape(each.hint)}" required{focus}></label>'
        )
    quiet = ' class="quiet"' if form.is_quiet else ""
    rows.append(f"<button{quiet}>{_text(form.submit, code)}</button></form>")
    return "\n".join(rows)


def _text(text: str, code: str) -> str:
    return html.escape(translate(text, code))


def _below(path: str) -> str:
    return f"{home_path()}{path}"


async def read_form(request: Request) -> dict[str, str] | None:
    """The fields of a form; None if it is no form, or larger than ours ever are. Errors: `RequestStalled`."""
    body = bytearray()
    request.state.is_cut_off = True
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    return None
    except TimeoutError:
        raise RequestStalled(seconds=round(FORM_SECONDS)) from None
    request.state.is_cut_off = False
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        return None


def own_path(wanted: str) -> str:
    """Where to go after signing in: a path of ours, else the chat."""
    is_own = wanted.startswith("/") and wanted[1:2] not in ("/", "\\") and wanted.isprintable() and "\\" not in wanted
    return wanted if is_own and len(wanted) <= 2000 else home_path()


def language_of(request: Request) -> str:
    """The one that the page to return to was shown in, else the browser's."""
    query = parse_qs(urlsplit(own_path(request.query_params.get("next", ""))).query)
    chosen = query.get("language", [""])[0]
    return chosen if chosen in LANGUAGES else accepted_language(request.headers.get("accept-language", ""))
