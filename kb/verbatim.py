"""What of an answer's Markdown is not prose: code and formulas, in whatever form models write them.

Everything here takes time in proportion to the length: answers are drawn several times a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    FENCED = "fenced"
    TICKS = "ticks"
    DISPLAY = "display"  # $$…$$
    INLINE = "inline"  # $…$
    ROUND = "round"  # \(…\)
    SQUARE = "square"  # \[…\]


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Code or a formula at characters `start` to `end` of the text; `body` is what its marks are around."""

    kind: Kind
    start: int
    end: int
    body: str

    @property
    def is_code(self) -> bool:
        return self.kind in (Kind.FENCED, Kind.TICKS)


# No alternative may look past the next opening of its own kind.
_INLINE = re.compile(
    r"""
      (?<![`\\])(?P<marks>`+)(?!`)(?P<ticks>[^\n]+?)(?<!`)(?P=marks)(?!`)
    | (?<!\\)\$\$(?P<display>(?:(?!\n[ \t]*\n).)+?)\$\$
    | (?<![\\$])\$(?P<inline>(?![\s$])[^$\n]*(?<![\s\\]))\$(?!\d)
    | (?<!\\)\\\((?P<round>(?:(?!\\\(|\n[ \t]*\n).)+?)\\\)
    | (?<!\\)\\\[(?P<square>(?:(?!\\\[|\n[ \t]*\n).)+?)\\\]
    """,
    re.DOTALL | re.VERBOSE,
)
_MATH_SIGN = re.compile(r"[\\^_={}<>+*|]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_ENDS_OPEN = re.compile(r"[/,;:(\-–—、，；：。]$")
_HAN = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]")
# Numbers in escaped brackets are text that was escaped.
_ESCAPED_NUMBERS = re.compile(r"[\s\d,，;；、–~-]+")


def split_verbatim(content: str, has_formulas: bool = True) -> Iterator[tuple[Verbatim | None, str]]:
    """The text in its order: code and formulas with what they are, prose with None."""
    begin = 0
    for fenced in _fenced(content):
        yield from _split_lines(content, begin, fenced.start, has_formulas)
        yield fenced, content[fenced.start : fenced.end]
        begin = fenced.end
    yield from _split_lines(content, begin, len(content), has_formulas)


def _split_lines(content: str, begin: int, end: int, has_formulas: bool) -> Iterator[tuple[Verbatim | None, str]]:
    """The same for what stands between fenced code."""
    position = begin
    while match := _INLINE.search(content, position, end):
        name = str(match.lastgroup)
        found = Verbatim(Kind(name), match.start(), match.end(), match[name])
        if _is_prose(found, has_formulas):
            position = match.start() + 1
            continue
        if match.start() > begin:
            yield None, content[begin : match.start()]
        yield found, match[0]
        begin = position = match.end()
    if begin < end:
        yield None, content[begin:end]


def _is_prose(found: Verbatim, has_formulas: bool) -> bool:
    """Whether dollars, or escaped brackets, do not hold a formula: amounts of money, names of variables, a citation."""
    if found.is_code:
        return False
    if not has_formulas:
        return True
    if found.kind is Kind.SQUARE:
        return bool(_ESCAPED_NUMBERS.fullmatch(found.body))
    if found.kind is not Kind.INLINE:
        return False
    if _ENDS_OPEN.search(found.body):
        return True
    if _MATH_SIGN.search(found.body):
        return False
    words = len(_WORD.findall(found.body))
    return bool(_HAN.search(found.body)) or words > 2 or (words > 0 and found.body[0].isdigit())


# --- fenced code -----------------------------------------------------------------------------------------------

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_ITEM = re.compile(r"[ \t]*+(?:[-*+]|\d{1,9}[.)])(?:[ \t]++|(?=\n|\Z))")  # of a list
_FENCE = re.compile(r"[ \t]*+(`{3,}(?=[^`\n]*$)|~{3,})")
_MOST_ENTRIES = 20  # in one another


def _fenced(content: str) -> Iterator[Verbatim]:
    """Code between fences, as in Markdown: up to its closing line, or to the end of its entry of a list or of the text.

    A fence that is indented further than Markdown allows is one, too: it would be code anyway.
    """
    entries: list[int] = []  # by depth, the column where the text of an entry begins
    mark, start = "", 0  # of the code that is open
    column = furthest = 0  # where the text of its entry begins, and how far in its closing line may
    is_after_block = True  # so that no paragraph goes on
    for match in _LINE.finditer(content):
        line, text = match[0], match[0].strip()
        if not text:
            is_after_block = True
            continue
        indent = _columns(line[: len(line) - len(line.lstrip())])
        if mark and indent < column:
            yield Verbatim(Kind.FENCED, start, match.start(), content[start : match.start()])
            mark, is_after_block = "", True
        if mark:
            if text.startswith(mark) and not text.strip(mark[0]) and indent <= furthest:
                yield Verbatim(Kind.FENCED, start, match.end(), content[start : match.end()])
                mark, is_after_block = "", True
            continue
        place = 0
        if is_after_block or _ITEM.match(line) or _FENCE.match(line):
            entries = [entry for entry in entries if entry <= indent]
        while len(entries) < _MOST_ENTRIES and (item := _ITEM.match(line, place)):
            place = item.end()
            entries.append(_columns(line[:place]))
        if fence := _FENCE.match(line, place):
            mark, start, column = fence[1], match.start(), entries[-1] if entries else 0
            furthest = max(column + 3, indent)
        is_after_block = False
    if mark:
        yield Verbatim(Kind.FENCED, start, len(content), content[start:])


def _columns(text: str) -> int:
    return len(text.expandtabs(4))
