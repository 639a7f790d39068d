"""Texts in reStructuredText, AsciiDoc, Org and TeX: as written, with the positions of their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode
from kb.parsing.media_types import ASCIIDOC, ORG, RESTRUCTURED_TEXT, TEX

_ADORNMENT = re.compile(r"([=\-`:.'\"~^_*+#<>])\1{2,}[ \t]*")
_STARS = re.compile(r"(\*{1,6})[ \t]+(?:(?:TODO|DONE)[ \t]+)?(?:\[#\w\][ \t]+)?(.+?)(?:[ \t]+:[\w@:]+:)?[ \t]*")
_EQUALS = re.compile(r"(={1,6})[ \t]+(.+?)(?:[ \t]+=+)?[ \t]*")
_SECTION = re.compile(
    r"[ \t]*\\(part|chapter|(?:sub){0,2}section|(?:sub)?paragraph)\*?[ \t]*(?:\[[^\]\n]{0,200}\])?\{(.{1,300})"
)
_SECTIONS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph")
_TITLE = re.compile(r"(?:\\title\{|#\+TITLE:[ \t]*)([^}\n]{1,200})", re.IGNORECASE)
_MAX_LEVEL = 6

_Heading = tuple[int, int, str]  # start, level, title


def parse(source: Source) -> Iterator[ParsedDocument]:
    builder = TextBuilder(source.name)
    text = clean(decode(source.path.read_bytes())).strip("\n")
    builder.add_clean(text)
    if source.media_type in (TEX, ORG) and (title := _TITLE.search(text)):
        builder.title = title.group(1)
    for start, level, title_line in _FINDERS[source.media_type](text.split("\n")):
        builder.mark_heading(start, level, title_line)
        builder.title = builder.title or title_line
    yield from builder.last_parts()


def _find_adorned(lines: list[str]) -> Iterator[_Heading]:
    """Titles with a line of marks below, and perhaps above; which marks are of which level, their order tells."""
    levels: list[str] = []
    start = before = 0  # of the line, and of the one before it
    for index, line in enumerate(lines[:-1]):
        below = _ADORNMENT.fullmatch(lines[index + 1])
        if below and line.strip() and not _ADORNMENT.fullmatch(line) and len(below.group()) >= len(line.rstrip()) // 2:
            above = _ADORNMENT.fullmatch(lines[index - 1]) if index else None
            is_between = above is not None and above.group(1) == below.group(1)
            if is_between or not line[:1].isspace():
                style = below.group(1) * (2 if is_between else 1)
                if style not in levels:
                    levels.append(style)
                yield before if is_between else start, min(levels.index(style) + 1, _MAX_LEVEL), line.strip()
        before = start
        start += len(line) + 1


def _find_starred(lines: list[str]) -> Iterator[_Heading]:
    yield from _find_marked(lines, _STARS, ("#+begin_", "#+end_"))


def _find_equals(lines: list[str]) -> Iterator[_Heading]:
    yield from _find_marked(lines, _EQUALS, ("----", "...."))


def _find_marked(lines: list[str], pattern: re.Pattern[str], fences: tuple[str, str]) -> Iterator[_Heading]:
    """Lines that begin with marks, as many as their level, but not those in a block of code."""
    start = 0
    is_code = False
    for line in lines:
        if line.lower().startswith(fences):
            is_code = not is_code
        match = pattern.fullmatch(line) if not is_code and len(line) <= 300 else None
        if match:
            yield start, len(match.group(1)), match.group(2)
        start += len(line) + 1


def _find_sections(lines: list[str]) -> Iterator[_Heading]:
    start = 0
    for line in lines:
        match = _SECTION.match(line)
        if match:
            yield start, min(_SECTIONS.index(match.group(1)) + 1, _MAX_LEVEL), _in_braces(match.group(2))
        start += len(line) + 1


def _in_braces(text: str) -> str:
    """The text up to the brace that closes it, without commands."""
    depth = 1
    for place, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            text = text[:place]
            break
    return re.sub(r"\\[a-zA-Z]+\*?[ ]?|[{}~]", " ", text).strip() or text


_FINDERS = {RESTRUCTURED_TEXT: _find_adorned, ORG: _find_starred, ASCIIDOC: _find_equals, TEX: _find_sections}
