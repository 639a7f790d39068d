"""HTML: the visible text, with h1–h6 as headings, the rows of tables as lines, and formulas as TeX."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from bs4 import BeautifulSoup, Tag, XMLParsedAsHTMLWarning
from bs4.element import NavigableString, PageElement, PreformattedString
from lxml import html as lxml_html
from lxml.etree import LxmlError

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode
from kb.parsing.formulas import mathml_text
from kb.parsing.inline import LOWERED, RAISED, Run, join_runs
from kb.parsing.numerals import count
from kb.parsing.table_rows import SPANNED, below, join_cells
from kb.parsing.tables import table_lines

# fmt: off
_HIDDEN = frozenset((
    "head", "script", "style", "noscript", "template", "svg", "nav", "iframe", "object", "canvas", "audio", "video",
    "select", "button", "textarea", "rt", "rp",
))
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend", "li",
    "main", "menu", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
))
# fmt: on
_HIDDEN_INSIDE = _HIDDEN - {"button"}  # collapsible questions and sortable columns are buttons
_PARAGRAPHS = ("p", "table", "ul", "ol", "section", "blockquote", "dl")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LEVELS = {"sup": RAISED, "sub": LOWERED}
_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]{0,200}?charset|\?xml\b[^>]{0,100}?encoding)\s*=\s*["']?\s*([\w-]{2,40})""", re.I
)
_SPACES = re.compile(r"[ \t\r\n\f\u00a0]+")
# What holds one formula in several forms: KaTeX, MathJax 3 and 2, Wikipedia.
_FORMULAS = frozenset(("katex", "katex-display", "mwe-math-element", "MathJax", "MathJax_Display"))
_FORMULA_TWINS = frozenset(("katex-html", "MathJax_Preview", "MJX_Assistive_MathML", "mwe-math-fallback-image-inline"))
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
# Around an article: what the page repeats on every page of its site, or asks of its readers.
_AROUND = ("header", "footer", "aside")
_ROLES_AROUND = ("banner", "contentinfo", "complementary", "search", "dialog", "alertdialog", "menu", "menubar")
_NAMES_AROUND = re.compile(
    r"(?:^|[\s_-])(?:cookies?|consent|gdpr|breadcrumbs?|sidebar|side-bar|newsletter|social|share|sharing|popup|modal|"
    r"navbar|navigation|site-?(?:header|footer|nav)|page-?footer|skip[\w-]*|related|advert(?:isement)?s?|promo)(?:$|[\s_-])",
    re.IGNORECASE,
)
_CONSENT = re.compile(r"cookie|consent|gdpr", re.IGNORECASE)
_MAX_CONSENT = 2_000  # characters
_MAX_SPAN = 1_000
_MAX_TABLE_DEPTH = 20
_LINE_NUMBERS = re.compile(r"(?:\s*\d+\s*)+")
_ENDS_WITHIN = re.compile(r"[\s(\[{（【「“‘/\-–—]$")
_BEGINS_WITHIN = re.compile(r"[\s)\]}）】」”’.,;:!?。，、；：！？%/\-–—'’]")
_WIDE = "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
_RUNS_ON = re.compile(rf"(?:[^\W\d_A-Z][^\W\d_]|\d\d|{_WIDE}{_WIDE})")  # two letters that one word may hold
_APART = ("a", "button", "label", "time", "summary", "kbd")


def parse(source: Source) -> Iterator[ParsedDocument]:
    """The page's text; nothing that the page refers to is loaded."""
    builder = TextBuilder(source.name)
    add_page(builder, decode_page(source.path.read_bytes()))
    yield from builder.last_parts()


def add_page(builder: TextBuilder, page: str) -> None:
    """Append the text of a page, or of a piece of one, and take over its title if there is none yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        soup = BeautifulSoup(page, "lxml")
    builder.title = builder.title or (soup.title.get_text() if soup.title else "")
    _Page(builder, _surroundings(soup)).add(soup)


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


def _surroundings(soup: BeautifulSoup) -> set[int]:
    """The elements, by id(), that stand around the page's article; only banners for consent where there is none."""
    articles = soup.find_all("main") or soup.find_all(role="main") or soup.find_all("article")
    inside = {id(parent) for article in articles for parent in article.parents}
    of_articles = set(map(id, articles))
    around: set[int] = set()
    stack: list[PageElement] = [soup]
    while stack:
        node = stack.pop()
        if not isinstance(node, Tag) or id(node) in of_articles:
            continue
        is_banner = _is_named(node, _CONSENT) and len(node.get_text()) <= _MAX_CONSENT
        if id(node) not in inside and (is_banner or (articles and _is_around(node))):
            around.add(id(node))
        else:
            stack.extend(node.contents)
    return around


def _is_around(tag: Tag) -> bool:
    if tag.name in _AROUND or tag.get("role") in _ROLES_AROUND:
        return not tag.find("h1")
    return _is_named(tag, _NAMES_AROUND)


def _is_named(tag: Tag, names: re.Pattern[str]) -> bool:
    """Whether the element's id or one of its classes is among `names`; never the page itself."""
    if tag.name in ("html", "body", "main", "article"):
        return False
    return bool(names.search(" ".join([str(tag.get("id") or ""), *_classes(tag)])))


def _classes(tag: Tag) -> Sequence[str]:
    found = tag.get("class") or ()
    return (found,) if isinstance(found, str) else list(found)


@dataclass(frozen=True, slots=True)
class _Break:
    """The end of a line, or of a paragraph."""

    is_paragraph: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """Behind the children of an element."""

    tag: Tag


_Item = Run | _Break | Tag


class _Page:
    """Passes a page to the builder, line by line."""

    def __init__(self, builder: TextBuilder, around: set[int]) -> None:
        self._builder = builder
        self._around = around
        self._depth = 0  # tables in tables
        self._line: list[Run] = []

    def add(self, root: Tag) -> None:
        for item in self._flow(root, _is_special, _HIDDEN):
            if isinstance(item, Tag):
                self._end_line()
                self._add_special(item)
            elif isinstance(item, _Break):
                self._end_line()
                if item.is_paragraph:
                    self._builder.break_paragraph()
            else:
                self._line.append(item)
        self._end_line()

    def _end_line(self) -> None:
        self._builder.add(_SPACES.sub(" ", join_runs(self._line)).strip())
        self._line.clear()

    def _add_special(self, tag: Tag) -> None:
        if tag.name in _HEADINGS:
            self._builder.add_heading(_HEADINGS[tag.name], self._text(tag, " "))
        elif tag.name == "pre":
            self._builder.add(self._text(tag, "\n"), gap=2)
        elif self._depth < _MAX_TABLE_DEPTH:
            self._depth += 1
            self._add_table(tag)
            self._depth -= 1
        else:
            self._builder.add(_SPACES.sub(" ", self._text(tag, " ")).strip())

    def _flow(self, root: Tag, is_special: Callable[[Tag], bool], hidden: frozenset[str]) -> Iterator[_Item]:
        """The runs and breaks under `root`, and the elements that are special, unopened.

        Visits every node once, with a stack of its own, because pages nest deeper than Python allows.
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
                if node.name in hidden or _is_hidden(node) or id(node) in self._around:
                    if node.name == "script" and str(node.get("type", "")).startswith("math/tex"):
                        yield node.get_text().strip(), 0
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
            elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
                ended = None
                text = str(node)
                last = (last + text)[-2:]
                yield text, level

    def _text(self, root: Tag, gap: str) -> str:
        """The text inside `root` as written; `gap` replaces line breaks and separates blocks."""
        runs: list[Run] = []
        is_code = root.name == "pre"
        for item in self._flow(root, lambda tag: False, _HIDDEN_INSIDE):
            if not isinstance(item, _Break):
                assert not isinstance(item, Tag)
                runs.append((item[0], 0) if is_code else item)
            elif runs and not runs[-1][0].endswith(gap):
                runs.append((gap, 0))
        return join_runs(runs)

    # --- tables ---

    def _add_table(self, table: Tag) -> None:
        rows = [row for row in table.find_all("tr") if row.find_parent("table") is table]
        self._builder.break_paragraph()
        caption = table.find("caption", recursive=False)
        if caption is not None:
            self._builder.add(_SPACES.sub(" ", self._text(caption, " ")).strip())
        if table.find(["table", "pre", *_HEADINGS]) or _is_listing(rows):
            self._add_layout(rows)
        else:
            grid = self._grid(rows)
            header = len(list(takewhile(_is_header_row, rows)))
            said = header if 0 < header < len(rows) else None
            self._builder.add_rows(table_lines(grid, header=said, is_assumed=True))
        self._builder.break_paragraph()

    def _add_layout(self, rows: Sequence[Tag]) -> None:
        """A table that only arranges the page, or holds code beside the numbers of its lines."""
        code: list[str] = []
        for row in rows:
            cells = [cell for cell in _cells(row) if not _LINE_NUMBERS.fullmatch(cell.get_text())]
            if _is_numbered_line(row):
                code.append("".join(cell.get_text() for cell in cells).rstrip("\n"))
            elif any(cell.find(["table", "pre", *_HEADINGS]) for cell in cells):
                for cell in cells:
                    self.add(cell)
            else:
                self._builder.add(join_cells(self._text(cell, " ") for cell in cells))
        self._builder.add("\n".join(code), gap=2)

    def _grid(self, rows: Sequence[Tag]) -> list[list[str]]:
        """The cells row by row, merged ones filled downwards."""
        grid: list[list[str]] = []
        covered: dict[int, tuple[int, bool]] = {}  # by column: how many rows more, and whether from the left as well
        for row in rows:
            cells: list[str] = []
            for cell in [*_cells(row), None]:
                while (place := covered.pop(len(cells), None)) is not None:
                    if place[0] > 1:
                        covered[len(cells)] = (place[0] - 1, place[1])
                    cells.append(SPANNED if place[1] else below(grid, len(cells)))
                if cell is None:
                    break
                across, down = _span(cell, "colspan"), _span(cell, "rowspan")
                for index in range(across):
                    if down > 1:
                        covered[len(cells)] = (down - 1, index > 0)
                    cells.append(self._text(cell, " ") if index == 0 else SPANNED)
            grid.append(cells)
        return grid


def _is_special(tag: Tag) -> bool:
    return tag.name in _HEADINGS or tag.name in ("pre", "table")


def _opened(tag: Tag, level: int) -> Iterator[tuple[object, int]]:
    """What to visit for `tag`, in reverse: its children, between breaks if it is a block."""
    name = tag.name
    level = _LEVELS.get(name, level)
    if name == "br":
        return iter([(_Break(), 0)])
    inside: list[tuple[object, int]] = [(child, level) for child in reversed(tag.contents)]
    if name == "li" and (number := _number(tag)):
        inside.append((NavigableString(number), 0))
    if name == "input" and tag.get("type") in ("checkbox", "radio") and not tag.get("role"):  # else it opens a menu
        inside.append((NavigableString("☑ " if tag.has_attr("checked") else "☐ "), 0))
    if name not in _BLOCKS:
        return iter([(_End(tag), 0), *inside])
    return iter([(_Break(), 0), *inside, (_Break(name in _PARAGRAPHS), 0)])


def _is_hidden(tag: Tag) -> bool:
    if tag.has_attr("hidden") or tag.get("role") == "navigation" or not _FORMULA_TWINS.isdisjoint(_classes(tag)):
        return True
    return "display:none" in str(tag.get("style", "")).replace(" ", "").lower()


def _formula(tag: Tag) -> str | None:
    """The TeX of a formula; None for anything else."""
    is_holder = not _FORMULAS.isdisjoint(_classes(tag)) or tag.name == "mjx-container"
    if not is_holder and tag.name != "math":
        return None
    math = tag if tag.name == "math" else tag.find("math")
    if not isinstance(math, Tag):
        return None if tag.name != "mjx-container" else ""
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
    if any(parent.name in ("code", "pre", "kbd", "samp", "ruby", "math") for parent in tag.parents):
        return False
    if _ENDS_WITHIN.search(last) or _BEGINS_WITHIN.match(first):
        return False
    if tag.name in _APART or before.name in _APART or tag.name != before.name or _classes(tag) != _classes(before):
        return True
    return not _RUNS_ON.fullmatch(last[-1:] + first[:1])


def _cells(row: Tag) -> list[Tag]:
    return row.find_all(["td", "th"], recursive=False)


def _is_header_row(row: Tag) -> bool:
    """Whether the file says so: a row of `thead`, or of `th` only."""
    if row.parent is not None and row.parent.name == "thead":
        return True
    cells = _cells(row)
    return len(cells) > 1 and all(cell.name == "th" for cell in cells)


def _span(cell: Tag, name: str) -> int:
    return max(1, min(_integer(cell.get(name), 1), _MAX_SPAN))


def _is_listing(rows: Sequence[Tag]) -> bool:
    """Whether the rows are lines of code, each with its number."""
    return bool(rows) and all(map(_is_numbered_line, rows[:20]))


def _is_numbered_line(row: Tag) -> bool:
    cells = _cells(row)
    if len(cells) != 2:
        return False
    names = " ".join([*_classes(cells[0]), *cells[0].attrs]).lower()
    return bool(re.search(r"line-?n|blob-num|lineno|linenos|gutter|data-line", names)) and not cells[1].find("pre")
