"""HTML: the visible text, with h1–h6 as headings, the rows of tables as lines, and formulas as TeX."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice, takewhile

from bs4 import BeautifulSoup, Tag, XMLParsedAsHTMLWarning
from bs4.element import NavigableString, PreformattedString
from lxml import html as lxml_html
from lxml.etree import LxmlError

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode
from kb.parsing.formulas import mathml_text
from kb.parsing.html_parts import classes, is_hidden, opened_by_click, opens_something, surroundings
from kb.parsing.html_tables import (
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
from kb.parsing.inline import LOWERED, NOTE_MARK, RAISED, Run, join_runs
from kb.parsing.katex import typeset_text
from kb.parsing.numerals import count
from kb.parsing.table_rows import join_cells
from kb.parsing.tables import table_lines

# fmt: off
_HIDDEN = frozenset((
    "head", "script", "style", "noscript", "template", "svg", "nav", "iframe", "object", "canvas", "audio", "video",
    "rt", "rp",
))
_NEVER_READ = _HIDDEN - {"noscript", "nav"}
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend", "li",
    "main", "menu", "noframes", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead",
    "tr", "ul",
))
# fmt: on
_PARAGRAPHS = ("p", "table", "ul", "ol", "section", "blockquote", "dl")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LEVELS = {"sup": RAISED, "sub": LOWERED}
_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]{0,200}?charset|\?xml\b[^>]{0,100}?encoding)\s*=\s*["']?\s*([\w-]{2,40})""", re.I
)
_OWN_TYPE = re.compile(r"<!DOCTYPE\s[^<>\[]{0,300}\[[^\]]{0,20000}\]\s{0,20}>", re.IGNORECASE)  # it declares entities
_SPACES = re.compile(r"[ \t\r\n\f\u00a0]+")
# What holds one formula in several forms: KaTeX, MathJax 3 and 2, Wikipedia.
_FORMULAS = frozenset(("katex", "katex-display", "mwe-math-element", "MathJax", "MathJax_Display", "MathJax_CHTML"))
_DISPLAY_STYLE = re.compile(r"\{\\(?:display|text)style\s+(.*)\}", re.DOTALL)
_LIST_TYPES = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_LIST_STYLES = {
    "lower-alpha": "lowerLetter",
    "lower-latin": "lowerLetter",
    "upper-alpha": "upperLetter",
    "upper-latin": "upperLetter",
    "lower-roman": "lowerRoman",
    "upper-roman": "upperRoman",
    "decimal-leading-zero": "decimalZero",
    "cjk-ideographic": "chineseCounting",
    "simp-chinese-informal": "chineseCounting",
    "trad-chinese-informal": "chineseCounting",
    "none": "none",
}
_LIST_STYLE = re.compile(r"list-style(?:-type)?\s*:\s*([\w-]+)")
_MAX_TABLE_DEPTH = 20
_MAX_DESCRIPTION = 1_000  # characters of what an image is described with
_IS_FILE_NAME = re.compile(
    r"[\w%./-]*\.(?:png|jpe?g|gif|svg|webp|bmp|ico|avif)|image\d*|img[\w-]*|spacer", re.IGNORECASE
)
_FILLED_IN = ("text", "number", "date", "datetime-local", "time", "month", "week", "email", "tel", "url", "search", "")
_ENDS_WITHIN = re.compile(r"[\s(\[{（【「“‘/\-–—$€£¥￥]$")
_BEGINS_WITHIN = re.compile(r"[\s)\]}）】」”’.,;:!?。，、；：！？%/\-–—'’]")
_WIDE = "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
_RUNS_ON = re.compile(rf"(?:[^\W\d_A-Z][^\W\d_A-Z]|\d\d|{_WIDE}{_WIDE})")  # two letters that one word may hold
_STRUCK = ("del", "s", "strike")  # shown, but it does not hold any more
_VERBATIM = ("code", "pre", "kbd", "samp", "ruby", "math")
_NEAR = 30  # elements around
_APART = ("a", "button", "label", "time", "summary", "kbd")
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        soup = BeautifulSoup(_with_character_data(page), "lxml")
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


def decode_page(data: bytes) -> str:
    """Decode as the page declares if its bytes agree, else detect the encoding."""
    declared = _CHARSET.search(data[:4096])
    encoding = declared.group(1).decode("ascii").lower() if declared else ""
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
        self._captions: dict[int, str] = {}  # by the id() of the figure or link around an image
        self._depth = 0  # tables in tables
        self._line: list[Run] = []

    def add(self, root: Tag) -> None:
        for item in self._flow(root, _is_special):
            if isinstance(item, Tag):
                self._end_line()
                self._add_special(item)
            elif isinstance(item, _Break):
                if self._holds_only_number():
                    continue  # which belongs to the first paragraph of its item
                self._end_line()
                if item.is_paragraph:
                    self._builder.break_paragraph()
            else:
                self._line.append(item)
        self._end_line()

    def _holds_only_number(self) -> bool:
        is_number = [isinstance(text, _ItemNumber) for text, _level in self._line if not text.isspace()]
        return bool(is_number) and all(is_number)

    def _end_line(self) -> None:
        self._builder.add(_SPACES.sub(" ", join_runs(self._line)).strip())
        self._line.clear()

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
                formula = _formula(node)
                if formula is not None:
                    yield formula, level
                elif is_special(node):
                    yield node
                    last = ""
                else:
                    if last and ended is not None and node.previous_sibling is ended and _is_apart(last, ended, node):
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
        """What an element shows whose contents are no text: the description of an image, the value of a field."""
        name = tag.name
        if name == "script" and str(tag.get("type", "")).startswith("math/tex"):
            return "" if _has_typeset_twin(tag) else tag.get_text().strip()
        if id(tag) in self._around or (self._opened is not None and is_hidden(tag, self._opened)):
            return ""
        if name == "img" or (name == "input" and tag.get("type") == "image"):
            return self._description(tag)
        if name == "select":
            chosen = tag.find_all("option", selected=True)
            return f" {', '.join(each.get_text(' ', strip=True) for each in chosen)} " if chosen else ""
        if name == "input":
            kind = str(tag.get("type") or "").lower()
            if kind in ("checkbox", "radio") and not tag.get("role"):  # else it opens a menu
                return "☑ " if tag.has_attr("checked") else "☐ "
            return f" {tag.get('value')} " if kind in _FILLED_IN and tag.get("value") else ""
        if name == "svg":  # labels of a diagram; an icon has none
            labels = (label.get_text(" ", strip=True) for label in tag.find_all(["text", "foreignobject"]))
            return f" {' '.join(filter(None, labels))} "
        return ""

    def _description(self, image: Tag) -> str:
        """What stands for an image that cannot be seen, unless it names a file or repeats the text beside it."""
        text = " ".join(str(image.get("alt") or "").split())[:_MAX_DESCRIPTION]
        if not text or _IS_FILE_NAME.fullmatch(text):
            return ""
        around = image.find_parent(["figure", "a"])
        if around is not None:
            if id(around) not in self._captions:
                self._captions[id(around)] = " ".join(around.get_text(" ").split()).lower()
            if text.lower() in self._captions[id(around)]:
                return ""
        return f" {text} "

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
        return min(max(_integer(tag.get("aria-level"), 2), 1), 6)
    return _HEADINGS.get(tag.name, 0)


def _opened(tag: Tag, level: int) -> Iterator[tuple[object, int]]:
    """What to visit for `tag`, in reverse: its children, between breaks if it is a block."""
    name = tag.name
    level = _LEVELS.get(name, level)
    if name == "br":
        return iter([(_Break(), 0)])
    inside: list[tuple[object, int]] = [(child, level) for child in reversed(tag.contents)]
    if name == "li" and (number := _number(tag)):
        inside.append((_ItemNumber(number), 0))
    if level == RAISED and name in ("sup", "a") and _is_note_mark(tag):
        inside = [(NavigableString(tag.get_text()), NOTE_MARK)]
    if name in _STRUCK and not tag.find([*_STRUCK, *_BLOCKS]) and not tag.find_parent(_STRUCK):
        inside = [(NavigableString("~~"), 0), *inside, (NavigableString("~~"), 0)]
    if name not in _BLOCKS and name != "button":
        return iter([(_End(tag), 0), *inside])
    return iter([(_Break(), 0), *inside, (_Break(name in _PARAGRAPHS), 0)])


def _is_note_mark(tag: Tag) -> bool:
    """Whether a raised element is the mark of a note, as it links to one in the page."""
    text = tag.get_text().strip()
    if not _NOTE_MARK.fullmatch(text):
        return False
    link = tag if tag.name == "a" else tag.find("a") or (tag.parent if tag.parent and tag.parent.name == "a" else None)
    return isinstance(link, Tag) and "#" in str(link.get("href", ""))


def _has_typeset_twin(script: Tag) -> bool:
    """Whether the formula of a script stands before it as MathJax 2 shows it."""
    before = script.find_previous_sibling()
    return before is not None and not _FORMULAS.isdisjoint(classes(before)) and before.find("math") is not None


def _formula(tag: Tag) -> str | None:
    """The TeX of a formula; None for anything else."""
    is_holder = not _FORMULAS.isdisjoint(classes(tag)) or tag.name == "mjx-container"
    if not is_holder and tag.name != "math":
        return None
    math = tag if tag.name == "math" else tag.find("math")
    if not isinstance(math, Tag):
        shown = tag.find(class_="katex-html")
        return typeset_text(shown) if shown is not None else "" if tag.name == "mjx-container" else None
    try:
        text = mathml_text(lxml_html.fromstring(str(math)))
    except (LxmlError, ValueError):  # no formula that can be read as one
        return math.get_text(" ", strip=True)
    displayed = _DISPLAY_STYLE.fullmatch(text)
    return displayed.group(1).strip() if displayed else text


def _number(item: Tag) -> str:
    """What a browser writes before an item of an ordered list."""
    items = item.parent
    if items is None or items.name != "ol":
        return ""
    styled = _LIST_STYLE.search(str(items.get("style", "")).lower())
    style = _LIST_STYLES.get(styled.group(1)) if styled else _LIST_TYPES.get(str(items.get("type")))
    if style == "none":
        return ""
    number = _place(item, items)
    return f"{count(number, style or 'decimal')}. "


def _place(item: Tag, items: Tag) -> int:
    """The number of an item; kept with the list, so that a long one does not take quadratic time."""
    if item.get("data-zhiwen-number") is None:
        entries = items.find_all("li", recursive=False)
        step = -1 if items.has_attr("reversed") else 1
        number = _integer(items.get("start"), len(entries) if step < 0 else 1)
        for entry in entries:
            number = _integer(entry.get("value"), number)
            entry["data-zhiwen-number"] = str(number)
            number += step
    return _integer(item.get("data-zhiwen-number"), 1)


def _integer(value: object, default: int) -> int:
    text = str(value if value is not None else "").strip()
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else default


def _is_apart(last: str, before: Tag, tag: Tag) -> bool:
    """Whether a space belongs between two elements that stand side by side, as people see them apart."""
    first = next(tag.stripped_strings, "")[:2]
    if not first or before.name in _BLOCKS or tag.name in ("sup", "sub", "wbr") or before.name in ("sup", "sub", "wbr"):
        return False
    if any(parent.name in _VERBATIM for parent in islice(tag.parents, _NEAR)):
        return False
    if _ENDS_WITHIN.search(last) or _BEGINS_WITHIN.match(first):
        return False
    if tag.name in _APART or before.name in _APART or tag.name != before.name or classes(tag) != classes(before):
        return True
    if _is_phrase(before) or _is_phrase(tag):  # no bits of one word
        return True
    return not _RUNS_ON.fullmatch(last[-1:] + first[:1])


def _is_phrase(tag: Tag) -> bool:
    """Whether the element holds words apart, as far as its first text tells."""
    text = next(tag.stripped_strings, "")
    return bool(re.search(r"\w\s+\w", text[:200]))
