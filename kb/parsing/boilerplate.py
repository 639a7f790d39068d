"""What repeats on the pages of a document and says nothing of its subject: page numbers, running headers, footers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kb.notes import NoteKind
from kb.parsing.layout import Line

_MARGIN = 0.15  # of the page's height, above and below
_MARGIN_LINES = 4
_SAME_PLACE = 4.0  # points
_DIGITS = re.compile(r"\d+")
_PAGE = r"(?:pages?|p\.?|pp\.?|seite|página|pagina|strana|стр(?:аница|\.)?|s\.)"
_OF = r"(?:of|/|von|de|sur|di|из|\||,?\s*共)"
_NUMBER = r"(?:\d{1,5}|[ivxlc]{1,7})"
_PAGE_NUMBER = re.compile(
    rf"[-–—~·•|\[(（]*\s*(?:{_PAGE}\s*{_NUMBER}?(?:\s*{_OF}\s*{_NUMBER}?)?|{_NUMBER}(?:\s*{_OF}\s*{_NUMBER})?"
    r"|第\s*\d*\s*[页頁](?:\s*[,，/]?\s*共\s*\d*\s*[页頁])?|共\s*\d*\s*[页頁]\s*[,，]?\s*第\s*\d*\s*[页頁]"
    r"|\d*\s*ページ|\d+\s*/\s*\d+\s*[页頁])\s*[-–—~·•|\])）]*",
    re.IGNORECASE,
)


def is_page_number(line: str) -> bool:
    """Whether `line` holds nothing but a page number: `- 3 -`, `Page 2 of 4`, `第 2 页 共 4 页`."""
    return bool(_PAGE_NUMBER.fullmatch(line.strip()))


@dataclass(frozen=True, slots=True)
class PageLines:
    """The lines of a page, in reading order, its height in points, and what else is to be said of it."""

    number: int
    lines: Sequence[Line] = ()
    height: float = 0.0
    note: NoteKind | None = None
    comments: Sequence[str] = ()


class RunningLines:
    """Finds the lines that a document repeats at the same places of its pages. Pages must come in order."""

    def __init__(self) -> None:
        self._known: list[tuple[str, float]] = []

    def split(self, page: PageLines, following: Sequence[PageLines]) -> tuple[list[Line], list[Line]]:
        """The lines that are seen for the first time, and those of the page's own text."""
        margins = set(map(id, _margin_lines(page)))
        others = [(_key(line), line.baseline) for other in following for line in _margin_lines(other)]
        first: list[Line] = []
        own: list[Line] = []
        for line in page.lines:
            place = (_key(line), line.baseline)
            if id(line) not in margins:
                own.append(line)
            elif _is_among(place, self._known):
                continue
            elif _is_among(place, others):
                self._known.append(place)
                if not is_page_number(line.text):
                    first.append(line)
            else:
                own.append(line)
        return first, own


def _margin_lines(page: PageLines) -> Iterator[Line]:
    by_height = sorted(page.lines, key=lambda line: line.baseline)
    for line in by_height[:_MARGIN_LINES]:
        if line.baseline <= _MARGIN * page.height:
            yield line
    for line in by_height[-_MARGIN_LINES:]:
        if line.baseline >= (1 - _MARGIN) * page.height:
            yield line


def _key(line: Line) -> str:
    """The text without what changes from page to page."""
    if is_page_number(line.text):
        return "#"
    return _DIGITS.sub("#", " ".join(line.text.split()))


def _is_among(place: tuple[str, float], places: Sequence[tuple[str, float]]) -> bool:
    text, height = place
    return any(text == other and abs(height - at) <= _SAME_PLACE for other, at in places)
