"""HTML: the visible text, with h1–h6 as headings, the rows of tables as lines, and formulas as TeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString, PreformattedString

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode
from kb.parsing.inline import LOWERED, NOTE_MARK, RAISED, Run, join_runs
from kb.parsing.tables import table_lines
from kb.parsing.tables.rows import join_cells
from kb.parsing.web.html_body import with_body
from kb.parsing.web.html_formulas import formula_text, has_typeset_twin
from kb.parsing.web.html_gaps import are_apart
from kb.parsing.web.html_lists import item_number
from kb.parsing.web.html_parts import BLOCKS, integer, is_hidden, opened_by_click, opens_something, surroundings
from kb.parsing.web.html_tables import (
    arranges_page,
    cells_of,
    grid,
    holds_line_numbers,
    is_header_row,
    is_listing,
    is_numbered_line,
    is_table,
    rows_of,
    strays_of,
)
from kb.parsing.web.html_tree import tree_of
from kb.parsing.web.html_values import Descriptions, shown_value

# fmt: off
_HIDDEN = frozenset((
    "head", "script", "style", "noscript", "template", "svg", "nav", "iframe", "object", "canvas", "audio", "video",
    "rt", "rp",
))
_NEVER_READ = _HIDDEN - {"noscript", "nav"}
# fmt: on
_PARAGRAPHS = ("p", "table", "ul", "ol", "section", "blockquote", "dl")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LEVELS = {"sup": RAISED, "sub": LOWERED}
_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]{0,200}?charset|\?xml\b[^>]{0,100}?encoding)\s*=\s*["']?\s*([\w-]{2,40})""", re.I
)
_OWN_TYPE = re.compile(r"<!DOCTYPE\s[^<>\[]{0,300}\[[^\]]{0,20000}\]\s{0,20}>", re.IGNORECASE)  # it declares entities
_SPACES = re.compile(r"[ \t\r\n\f\u00a0]+")
_MAX_TABLE_DEPTH = 20
_STRUCK = ("del", "s", "strike")  # shown, but it does not hold any more
_NOTE_MARK = re.compile(r"\d{1,3}|[a-z]|[*†‡§]{1,3}|[ivx]{1,5}", re.IGNORECASE)


def parse(source: Source) -> Iterator[ParsedDocument]:
    """The page's text; nothing that the page refers to is loaded."""
    builder = TextBuilder(source.name)
    add_page(builder, decode_page(source.path.read_bytes()))
    yield from builder.last_parts()


PlacedTitle = tuple[str, int, str]  # the id of the element where a section begins or "", its level and its title


def add_page(builder: TextBuilder, page: str, titles: Sequence[PlacedTitle] = ()) -> None:
    """Append the text of a page, or of a piece of one, and take over its title if there is none yet.

    `titles`: headings that are not in the page itself.
    """
    soup = tree_of(with_body(_with_character_data(page)))
    builder.title = builder.title or (soup.title.get_text() if soup.title else "")
    _place_titles(soup, titles)
    before = builder.length
    _Page(builder, _HIDDEN, surroundings(soup), opened_by_click(soup)).add(soup)
    if builder.length == before:  # scripts show it, or it is all of what elsewhere surrounds an article
        _Page(builder, _NEVER_READ, set(), None).add(soup)


def _place_titles(soup: BeautifulSoup, titles: Sequence[PlacedTitle]) -> None:
    """Make headings of `titles` where their sections begin, unless the text begins with them anyway."""
    if not titles or soup.body is None:
        return
    places = {str(tag["id"]): tag for tag in soup.find_all(id=True)}
    for index, (place, level, title) in enumerate(titles):
        target = places.get(place, soup.body if index == 0 else None)
        if target is None:
            continue
        first = next((text for text in target.find_all(string=True) if text.strip()), None)
        written = first.parent if first is not None else None
        if written is not None and _plain(written.get_text()) == _plain(title) and written.name in ("p", "div", "span"):
            written.name = f"h{level}"
            continue
        heading = soup.new_tag(f"h{level}")
        heading.string = title
        if target is soup.body:
            target.insert(0, heading)
        else:
            target.insert_before(heading)


def _plain(title: str) -> str:
    return " ".join(title.split()).lower()


def _with_character_data(page: str) -> str:
    """The page with its CDATA sections as text, which HTML takes for comments, and what an open comment would hide."""
    before, *sections = _OWN_TYPE.sub("", page, count=1).split("<![CDATA[")
    pieces = [before]
    for section in sections:
        text, end, rest = section.partition("]]>")
        pieces += [escape(text, quote=False), rest] if end else ["<![CDATA[", section]
    page = "".join(pieces)
    end_of_comments = page.rfind("-->") + 1
    return page[:end_of_comments] + page[end_of_comments:].replace("<!--", "")


def decode_page(data: bytes, declared: str = "") -> str:
    """Decode as declared if the bytes agree, else detect the encoding.

    `declared`: the encoding that the server named; empty: the one that the page names.
    """
    in_page = _CHARSET.search(data[:4096])
    encoding = declared.lower() or (in_page.group(1).decode("ascii").lower() if in_page else "")
    # A declaration that we can read byte by byte is not in UTF-16 or UTF-32. Pages from .NET say so anyway.
    is_wide = encoding.startswith(("utf-16", "utf16", "utf-32", "utf32", "ucs", "unicode"))
    if encoding and not is_wide and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode({"gb2312": "gb18030", "gbk": "gb18030", "iso-8859-1": "cp1252"}.get(encoding, encoding))
        except (LookupError, ValueError):
            return decode(data)
    return decode(data)


@dataclass(frozen=True, slots=True)
class _Break:
    """The end of a line, or of a paragraph."""

    is_paragraph: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """Behind the children of an element."""

    tag: Tag


class _ItemNumber(str):
    """What a browser writes before an item of a list."""


_Item = Run | _Break | Tag


class _Page:
    """Passes a page to the builder, line by line. `opened` is None where hidden elements are read as well."""

    def __init__(
        self, builder: TextBuilder, hidden: frozenset[str], around: set[int], opened: frozenset[str] | None
    ) -> None:
        self._builder = builder
        self._hidden = hidden
        self._around = around
        self._opened = opened
        self._descriptions = Descriptions()
        self._depth = 0  # tables in tables
        self._line: list[Run] = []
        self._holds_number = self._holds_text = False  # the line, an item's number and anything else

    def add(self, root: Tag) -> None:
        for item in self._flow(root, _is_special):
            if isinstance(item, Tag):
                self._end_line()
                self._add_special(item)
            elif isinstance(item, _Break):
                if self._holds_number and not self._holds_text:
                    continue  # which belongs to the first paragraph of its item
                self._end_line()
                if item.is_paragraph:
                    self._builder.break_paragraph()
            else:
                self._line.append(item)
                if isinstance(item[0], _ItemNumber):
                    self._holds_number = True
                elif not item[0].isspace():
                    self._holds_text = True
        self._end_line()

    def _end_line(self) -> None:
        self._builder.add(_SPACES.sub(" ", join_runs(self._line)).strip())
        self._line.clear()
        self._holds_number = self._holds_text = False

    def _add_special(self, tag: Tag) -> None:
        if (level := _heading_level(tag)) > 0:
            self._builder.add_heading(level, self._text(tag, " "))
        elif tag.name == "pre":
            self._builder.add(self._text(tag, "\n"), gap=2)
        elif self._depth < _MAX_TABLE_DEPTH:
            self._depth += 1
            self._add_table(tag)
            self._depth -= 1
        else:
            self._builder.add(_SPACES.sub(" ", self._text(tag, " ")).strip())

    def _flow(self, root: Tag, is_special: Callable[[Tag], bool], *, is_inside: bool = False) -> Iterator[_Item]:
        """The runs and breaks under `root`, and the elements that are special, unopened.

        Visits every node once, with a stack of its own, because pages nest deeper than Python allows. `is_inside`: of a
        heading or a cell, whose buttons are read, as collapsible questions and sortable columns are some.
        """
        stack: list[tuple[object, int]] = [(node, 0) for node in reversed(root.contents)]
        ended: Tag | None = None  # the element that ended just before
        last = ""
        while stack:
            node, level = stack.pop()
            if isinstance(node, _Break):
                yield node
                last = ""
            elif isinstance(node, _End):
                ended = node.tag
            elif isinstance(node, Tag):
                if self._is_left_out(node) or (node.name == "button" and not is_inside and not opens_something(node)):
                    text = self._told_by(node)
                    if text:
                        yield text, 0
                        last = text[-2:]
                    continue
                formula = formula_text(node)
                if formula is not None:
                    yield formula, level
                elif is_special(node):
                    yield node
                    last = ""
                else:
                    if last and ended is not None and node.previous_sibling is ended and are_apart(last, ended, node):
                        yield " ", 0
                    stack.extend(_opened(node, level))
            elif isinstance(node, _ItemNumber):
                yield node, level
                last = ""
            elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
                ended = None
                text = str(node)
                last = (last + text)[-2:]
                yield text, level

    def _is_left_out(self, tag: Tag) -> bool:
        """Whether the contents of an element are no text of the page."""
        if tag.name in self._hidden or tag.name in ("img", "select", "input") or id(tag) in self._around:
            return True
        return self._opened is not None and is_hidden(tag, self._opened)

    def _told_by(self, tag: Tag) -> str:
        """What an element shows whose contents are no text."""
        if tag.name == "script" and str(tag.get("type", "")).startswith("math/tex"):
            return "" if has_typeset_twin(tag) else tag.get_text().strip()
        if id(tag) in self._around or (self._opened is not None and is_hidden(tag, self._opened)):
            return ""
        if tag.name == "img" or (tag.name == "input" and tag.get("type") == "image"):
            return self._descriptions.of(tag)
        return shown_value(tag)

    def _text(self, root: Tag, gap: str) -> str:
        """The text inside `root` as written; `gap` replaces line breaks and separates blocks."""
        runs: list[Run] = []
        is_code = root.name == "pre"
        for item in self._flow(root, lambda tag: False, is_inside=True):
            if not isinstance(item, _Break):
                assert not isinstance(item, Tag)
                runs.append((item[0], 0) if is_code else item)
            elif runs and not runs[-1][0].endswith(gap):
                runs.append((gap, 0))
        return join_runs(runs)

    # --- tables ---

    def _add_table(self, table: Tag) -> None:
        rows = rows_of(table)
        self._builder.break_paragraph()
        caption = table.find("caption", recursive=False)
        if caption is not None:
            self._builder.add(_SPACES.sub(" ", self._text(caption, " ")).strip())
        for stray in strays_of(table, rows):
            if isinstance(stray, Tag):
                self._builder.add(_SPACES.sub(" ", self._text(stray, " ")).strip())
            else:
                self._builder.add(_SPACES.sub(" ", stray.get_text()).strip())
        header = len(list(takewhile(is_header_row, rows)))
        said = header if 0 < header < len(rows) else None
        if is_listing(rows) or arranges_page(table, rows, said):
            self._add_layout(rows)
        else:
            cells = grid(rows, lambda cell: self._text(cell, " "))
            self._builder.add_rows(table_lines(cells, header=said, is_assumed=True))
        self._builder.break_paragraph()

    def _add_layout(self, rows: Sequence[Tag]) -> None:
        """A table that only arranges the page, or holds code beside the numbers of its lines."""
        code: list[str] = []
        for row in rows:
            cells = [cell for cell in cells_of(row) if not (cell.find("pre") and holds_line_numbers(cell))]
            if is_numbered_line(row):
                code.append("".join(cell.get_text() for cell in cells_of(row)[1:]).rstrip("\n"))
            elif len(cells) == 1 or any(cell.find(["table", "pre", *_HEADINGS]) for cell in cells):
                for cell in cells:
                    self.add(cell)
            else:
                self._builder.add(join_cells(self._text(cell, " ") for cell in cells))
        self._builder.add("\n".join(code), gap=2)


def _is_special(tag: Tag) -> bool:
    return tag.name == "pre" or _heading_level(tag) > 0 or is_table(tag)


def _heading_level(tag: Tag) -> int:
    """1 to 6; 0 for what is no heading."""
    if tag.get("role") == "heading":
        return min(max(integer(tag.get("aria-level"), 2), 1), 6)
    return _HEADINGS.get(tag.name, 0)


def _opened(tag: Tag, level: int) -> Iterator[tuple[object, int]]:
    """What to visit for `tag`, in reverse: its children, between breaks if it is a block."""
    name = tag.name
    level = _LEVELS.get(name, level)
    if name == "br":
        return iter([(_Break(), 0)])
    inside: list[tuple[object, int]] = [(child, level) for child in reversed(tag.contents)]
    if name == "li" and (number := item_number(tag)):
        inside.append((_ItemNumber(number), 0))
    if level == RAISED and name in ("sup", "a") and _is_note_mark(tag):
        inside = [(NavigableString(tag.get_text()), NOTE_MARK)]
    if name in _STRUCK and not tag.find_parent(_STRUCK) and not tag.find(BLOCKS):
        inside = [(NavigableString("~~"), 0), *inside, (NavigableString("~~"), 0)]
    if name not in BLOCKS and name != "button":
        return iter([(_End(tag), 0), *inside])
    return iter([(_Break(), 0), *inside, (_Break(name in _PARAGRAPHS), 0)])


def _is_note_mark(tag: Tag) -> bool:
    """Whether a raised element is the mark of a note, as it links to one in the page."""
    text = tag.get_text().strip()
    if not _NOTE_MARK.fullmatch(text):
        return False
    link = tag if tag.name == "a" else tag.find("a") or (tag.parent if tag.parent and tag.parent.name == "a" else None)
    return isinstance(link, Tag) and "#" in str(link.get("href", ""))
