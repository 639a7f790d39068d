"""The page's language: the one chosen in the sidebar, else the browser's.

Texts by gettext, dates and numbers by Babel.
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, partial
from pathlib import Path
from typing import Literal

import streamlit as st
from babel.dates import format_date, format_datetime, format_time, format_timedelta, get_timezone
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from kb.errors import KbError, fill
from kb.places import name_place

LOCALES = Path(__file__).parents[2] / "locales"
LANGUAGES = {"en": "English", "zh_CN": "简体中文", "zh_TW": "繁體中文"}
LANGUAGE_KEY = "language"
_TRADITIONAL = {"hant", "tw", "hk", "mo"}  # parts of a language tag such as zh-HK


def language() -> str:
    """The language code in force, a key of `LANGUAGES`."""
    chosen = st.session_state.get(LANGUAGE_KEY)
    return str(chosen) if chosen in LANGUAGES else browser_language()


def browser_language() -> str:
    """The language code that the browser asks for."""
    return language_of_tag(st.context.locale or "") or "en"


def accepted_language(header: str) -> str:
    """The language code for an Accept-Language header: the first that is ours."""
    return next(filter(None, (language_of_tag(part.split(";")[0]) for part in header.split(","))), "en")


def language_of_tag(tag: str) -> str:
    """The language code for a tag such as en-GB, zh-HK or zh-Hans-SG; empty if we do not have the language."""
    name, *parts = tag.strip().lower().split("-")
    if name != "zh":
        return "en" if name == "en" else ""
    return "zh_TW" if "hans" not in parts and not _TRADITIONAL.isdisjoint(parts) else "zh_CN"


def translate(text: str, code: str) -> str:
    """`text` in the language `code`, also outside of a page."""
    return _translations(code).gettext(text) if text else ""


def _(text: str) -> str:
    """`text` in the page's language."""
    return translate(text, language())


def ngettext(singular: str, plural: str, count: int, code: str | None = None, **values: str) -> str:
    """The form for `count`, with `{count}` and `values` filled in; in `code` where no page is being drawn."""
    code = code or language()
    return _translations(code).ngettext(singular, plural, count).format(count=number(count, code=code), **values)


def error_text(error: KbError, code: str | None = None) -> tuple[str, str]:
    """What happened, and what to do next; in the language `code` where no page is being drawn."""
    catalogue = _translations(code if code in LANGUAGES else language())
    # Some values are words of ours (what, state, detail …); a user's own names are not translated.
    values = {
        key: value if key in ("name", "names") or not value else catalogue.gettext(value)
        for key, value in error.values.items()
    }
    texts = (error.message, error.remedy)
    message, remedy = (fill(catalogue.gettext(text), values) if text else "" for text in texts)
    return message, remedy


def join_sentences(*sentences: str) -> str:
    """Join to a paragraph; after a full-width stop or bracket, no space follows."""
    text = ""
    for sentence in filter(None, sentences):
        text += sentence if not text or text.endswith(("。", "！", "？", "）")) else f" {sentence}"
    return text


def join_list(items: Iterable[str]) -> str:
    """Join the items of a list within a sentence; Chinese has a comma of its own for that."""
    return ("、" if language().startswith("zh") else ", ").join(items)


def number(value: float, digits: int = 0, code: str | None = None) -> str:
    return format_decimal(round(value, digits) if digits else round(value), locale=code or language())


def time_zone(name: str | None = None) -> tzinfo:
    """The zone `name`, else the browser's; UTC if it is not known."""
    try:
        return get_timezone((st.context.timezone if name is None else name) or "UTC")
    except LookupError:
        return UTC


def moment(value: datetime, code: str | None = None, zone: tzinfo | None = None) -> str:
    """A date and time, such as "11/25/26, 9:30 PM"; with `code` and `zone` where no page is being drawn."""
    return str(format_datetime(value, "short", tzinfo=zone or time_zone(), locale=code or language()))


def time_of_day(value: datetime) -> str:
    """A time without its date, such as "9:30 PM"."""
    return str(format_time(value, "short", tzinfo=time_zone(), locale=language()))


def day(value: datetime) -> str:
    """A date, such as "Today" or "November 25, 2026"."""
    date, today = value.astimezone(time_zone()).date(), datetime.now(time_zone()).date()
    names = {today: _("Today"), today - timedelta(days=1): _("Yesterday")}
    return names.get(date) or str(format_date(date, "long", locale=language()))


def day_of(value: date) -> str:
    """A date, such as "November 25, 2026"."""
    return str(format_date(value, "long", locale=language()))


def ago(value: datetime) -> str:
    """How long ago a moment was, such as "2 minutes ago" or "2 分钟前"."""
    return _stretch(value - datetime.now(value.tzinfo), add_direction=True)


def duration(seconds: float) -> str:
    """A stretch of time in one unit, such as "5 minutes" or "5 分钟"; ten seconds at least."""
    return _stretch(timedelta(seconds=max(10, round(seconds, -1)) if seconds < 60 else seconds), add_direction=False)


def _stretch(elapsed: timedelta, *, add_direction: bool) -> str:
    code = language()
    # "Short" is 40 秒 in Chinese, and 40 sec in English.
    length: Literal["long", "short"] = "long" if code == "en" else "short"
    text = format_timedelta(elapsed, add_direction=add_direction, format=length, locale=code)
    return re.sub(r"(?<=\d)(?=[\u4e00-\u9fff])", " ", text)


def place_label(document_name: str, page: int, heading: str = "", code: str | None = None) -> str:
    """What `kb.places.name_place` calls a place; in the language `code` where no page is being drawn."""
    code = code or language()
    return name_place(document_name, page, heading, partial(translate, code=code), partial(number, code=code))


def size(size_bytes: int) -> str:
    """A file's size in the units its owner's file manager shows."""
    amount, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{number(amount, 0 if unit == 'B' or amount >= 10 else 1)} {unit}"


@cache
def _translations(code: str) -> gettext.NullTranslations:
    """The catalogue, compiled in memory: the .po file is the only copy."""
    source = LOCALES / code / "LC_MESSAGES" / "zhiwen.po"
    if not source.exists():
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with source.open("rb") as file:
        write_mo(compiled, read_po(file, locale=code))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
