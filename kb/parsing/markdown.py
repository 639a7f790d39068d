"""Markdown: the text as written, without embedded images, and the positions of its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, pairwise

from markdown_it import MarkdownIt

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode

_MAX_TOKENIZED = 20_000_000  # characters; a larger file gets no headings, because its tokens would fill the memory
_EMBEDDED = re.compile(r"data:[\w.+/-]{3,80}(?:;[\w.=-]{1,40}){0,3},[\w+/=%-]{200,}")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKUP = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)|<[^>]{0,200}>|[ \t]+\{#[^}]*\}$")


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Headings follow CommonMark, so a `#` in a code block is not one. The first heading is the title."""
    builder = TextBuilder(source.name)
    text = _EMBEDDED.sub("data:…", clean(decode(source.path.read_bytes())).strip("\n"))
    builder.add_clean(text)
    front = _FRONT_MATTER.match(text)
    found = _FRONT_TITLE.search(front.group()) if front else None
    builder.title = found.group(1) if found else ""
    if len(text) <= _MAX_TOKENIZED:
        for start, level, heading in _find_headings(text, front.end() if front else 0):
            builder.mark_heading(start, level, heading)
            builder.title = builder.title or heading
    yield from builder.last_parts()


def _find_headings(text: str, begin: int) -> Iterator[tuple[int, int, str]]:
    """The start, level and title of each heading after `begin`."""
    body = text[begin:]
    line_starts = [
        begin,
        *accumulate((len(line) for line in body.split("\n")), lambda at, n: at + n + 1, initial=begin),
    ]
    tokens = _block_parser().parse(body)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.map:
            yield line_starts[opening.map[0] + 1], int(opening.tag[1:]), _plain(inline.content)


def _block_parser() -> MarkdownIt:
    """CommonMark without the inline rules, because we need only where blocks begin."""
    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def _plain(title: str) -> str:
    return _MARKUP.sub("", _LINK.sub(r"\1", title)).strip()
