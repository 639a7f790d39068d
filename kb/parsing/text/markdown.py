"""Markdown: the text as written, with tables as rows, HTML read as HTML, and the positions of its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode
from kb.parsing.inline import LOWERED, RAISED, join_runs
from kb.parsing.tables import table_lines
from kb.parsing.web.html import add_page

_MAX_TOKENIZED = 20_000_000  # characters; a larger file gets no headings, because its tokens would fill the memory
_LONGEST_TITLE = 2_000  # characters, with links and marks
_EMBEDDED = re.compile(r"data:[\w.+/-]{3,80}(?:;[\w.=-]{1,40}){0,3},[\w+/=%-]{200,}")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]]{0,500})\]\([^()\n]{0,2000}\)")
_MARKUP = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)|<[^>]{0,200}>|[ \t]+\{#[^}]*\}$")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_RAISED = re.compile(r"(?is)<(sup|sub)\b[^<>]{0,200}>(.{0,200}?)</\1\s*>")
_BREAK = re.compile(r"(?i)<br\b[^<>]{0,100}>[ \t]*\n?")
_READING = re.compile(r"(?is)<(rt|rp)\b[^<>]{0,100}>.{0,200}?</\1\s*>")
_IMAGE = re.compile(r"(?i)<img\b[^<>]{0,2000}>")
_DESCRIPTION = re.compile(r"""(?i)\balt\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)')""")
# Of MDX: what it shows besides its contents.
_COMPONENT = re.compile(
    r"""<[A-Z]\w{0,60}\b[^<>]{0,500}?\s(?:title|label|heading|summary)=(["'])([^<>"']{1,300})\1[^<>]{0,500}>"""
)
_TAG = re.compile(
    r"(?i)</?(?:a|abbr|b|big|center|cite|code|del|details|div|dl|dd|dt|em|figure|figcaption|font|h[1-6]|hr|i|img|ins|"
    r"kbd|li|mark|ol|p|picture|q|ruby|rb|s|samp|small|source|span|strike|strong|summary|tt|u|ul|var|video|wbr)"
    # With attributes, as `a <b and c> d` has none.
    r"(?:\s+(?:[\w:.@-]{1,60}\s{0,9}=[^<>]{0,2000}|open|hidden|controls|reversed))?\s{0,9}/?>"
)
# A heading as most editors show it, though CommonMark wants a space; `#` and a word alone may be a hashtag.
_HASHES = re.compile(
    r"[ ]{0,3}(?:(#)(?=[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7a3])|(#{2,6})(?=[^\s#]))([^#\n]{1,80}?)"
    r"(?<![。！？；，、,;!?])#*[ \t]*"
)


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Headings follow CommonMark, so a `#` in a code block is not one. The first heading is the title."""
    builder = TextBuilder(source.name)
    text = _EMBEDDED.sub("data:…", clean(decode(source.path.read_bytes())).strip("\n"))
    front = _FRONT_MATTER.match(text)
    found = _FRONT_TITLE.search(front.group()) if front else None
    builder.title = found.group(1) if found else ""
    if len(text) > _MAX_TOKENIZED:
        builder.add_clean(text)
    else:
        begin = front.end() if front else 0
        _Writer(builder).write(text[begin:], text[:begin])
    yield from builder.last_parts()


def add_markdown(builder: TextBuilder, text: str) -> None:
    """Append a piece of Markdown; its first heading is the title if there is none yet."""
    _Writer(builder).write(_EMBEDDED.sub("data:…", clean(text)))


def _block_parser() -> MarkdownIt:
    """CommonMark with tables, without the inline rules, because we need only where blocks begin."""
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@dataclass(slots=True)
class _Writer:
    """Passes the blocks to the builder: most lines as they are written, in stretches."""

    builder: TextBuilder
    pieces: list[str] = field(default_factory=list)  # the stretch
    length: int = 0  # of the stretch
    headings: list[tuple[int, int, str]] = field(default_factory=list)  # in the stretch: place, level, title

    def write(self, body: str, front: str = "") -> None:
        """Pass `body`, after `front` as it stands."""
        self._append(front)
        lines = body.split("\n")
        done = 0
        tokens = _block_parser().parse(body)
        for index, token in enumerate(tokens):
            if token.map is None or token.map[0] < done:
                continue
            first, end = token.map
            if token.type == "heading_open":
                self._take(lines[done:first])
                self._head(int(token.tag[1:]), _plain(tokens[index + 1].content))
                self._take([_without_tags(line) for line in lines[first:end]])
            elif token.type == "table_open":
                self._take(lines[done:first])
                self._flush()
                self.builder.add_rows(table_lines(_rows(tokens, index), header=1))
                self.builder.break_paragraph()
            elif token.type == "html_block":
                self._take(lines[done:first])
                self._flush()
                add_page(self.builder, _COMPONENT.sub(r"\g<0>\2 ", token.content))
                self.builder.break_paragraph()
            elif token.type == "paragraph_open":
                self._take(lines[done:first])
                self._take_paragraph("\n".join(lines[first:end]))
            elif token.type in ("fence", "code_block"):
                self._take(lines[done:end])
            else:
                continue
            done = end
        self._take(lines[done:])
        self._flush()

    def _take(self, lines: list[str]) -> None:
        self._append("".join(f"{line}\n" for line in lines))

    def _append(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text)

    def _take_paragraph(self, text: str) -> None:
        for line in _without_tags(text).split("\n"):
            match = _HASHES.fullmatch(line)
            if match:
                self._head(len(match.group(1) or match.group(2)), _plain(match.group(3)))
            self._take([line])

    def _head(self, level: int, title: str) -> None:
        self.headings.append((self.length, level, title))

    def _flush(self) -> None:
        stretch = "".join(self.pieces)
        stripped = stretch.lstrip("\n")
        dropped = len(stretch) - len(stripped)
        if stripped.strip():
            start = self.builder.add_clean(stripped)
            for place, level, title in self.headings:
                self.builder.mark_heading(start + place - dropped, level, title)
                self.builder.title = self.builder.title or title
        if stretch.endswith("\n\n"):
            self.builder.break_paragraph()
        self.pieces.clear()
        self.length = 0
        self.headings.clear()


def _rows(tokens: list[Token], begin: int) -> Iterator[list[str]]:
    """The cells of the table that begins with the token at `begin`."""
    cells: list[str] = []
    for index in range(begin, len(tokens)):
        token = tokens[index]
        if token.type == "table_close":
            return
        if token.type == "inline":
            cells.append(_plain_cell(token.content))
        elif token.type == "tr_close":
            yield cells
            cells = []


def _plain_cell(text: str) -> str:
    return _without_tags(_BREAK.sub(" ", text))


def _without_tags(text: str) -> str:
    """`text` with its HTML read, except in spans of code."""
    if "<" not in text:
        return text
    pieces: list[str] = []
    at = 0
    for span in _CODE_SPAN.finditer(text):
        pieces += [_read_tags(text[at : span.start()]), span.group()]
        at = span.end()
    return "".join([*pieces, _read_tags(text[at:])])


def _read_tags(text: str) -> str:
    text = _IMAGE.sub(_described, _READING.sub("", _BREAK.sub("\n", _without_comments(text))))
    levels = {"sup": RAISED, "sub": LOWERED}
    runs: list[tuple[str, int]] = []
    at = 0
    for match in _RAISED.finditer(text):
        runs += [(text[at : match.start()], 0), (_TAG.sub("", match.group(2)), levels[match.group(1).lower()])]
        at = match.end()
    return _TAG.sub("", join_runs([*runs, (text[at:], 0)]))


def _without_comments(text: str) -> str:
    """A pattern would search the whole rest for the end of each comment that has none."""
    pieces: list[str] = []
    at = 0
    while (begin := text.find("<!--", at)) >= 0 and (end := text.find("-->", begin + 4)) >= 0:
        pieces.append(text[at:begin])
        at = end + 3
    return "".join([*pieces, text[at:]])


def _described(image: re.Match[str]) -> str:
    found = _DESCRIPTION.search(image.group())
    return (found[1] or found[2] or "") if found else ""


def _plain(title: str) -> str:
    return _MARKUP.sub("", _LINK.sub(r"\1", _without_comments(title[:_LONGEST_TITLE]))).strip()
