"""The rows and cells of HTML tables as browsers place them, also of tables that are made of other elements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from bs4 import Tag
from bs4.element import NavigableString, PageElement

from kb.parsing.tables.rows import SPANNED, below
from kb.parsing.web.html_parts import classes

_MAX_SPAN = 1_000
_MAX_COVERED = 500_000  # cells of a table that others cover
_SECTIONS = {"thead": -1, "tfoot": 1}
_IN_TABLES = ("tr", "td", "th", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "script", "style", "template")
_ROLES = ("table", "grid", "treegrid")
_CELL_ROLES = ("cell", "gridcell", "columnheader", "rowheader")
_NUMBERS = re.compile(r"\s*\d[\d\s]*")
_NUMBERED = re.compile(r"line-?n|blob-num|lineno|linenos|gutter|data-line")
_SMALL = 300  # characters


def is_table(tag: Tag) -> bool:
    """Whether the element is a table, or is made to look like one to those who do not see it."""
    return tag.name == "table" or (tag.get("role") in _ROLES and next(_rows_by_role(tag), None) is not None)


def rows_of(table: Tag) -> list[Tag]:
    """Its own rows: the header first and the footer last, wherever they are written."""
    if table.name != "table":
        return list(_rows_by_role(table))
    return sorted(_own(table, lambda tag: tag.name == "tr", lambda tag: tag.name == "table"), key=_section_order)


def _rows_by_role(table: Tag) -> Iterator[Tag]:
    return _own(table, lambda tag: tag.get("role") == "row", _is_other_table)


def _is_other_table(tag: Tag) -> bool:
    return tag.name == "table" or tag.get("role") in _ROLES


def _is_other_row(tag: Tag) -> bool:
    return tag.get("role") == "row" or _is_other_table(tag)


def _own(root: Tag, is_wanted: Callable[[Tag], bool], is_other: Callable[[Tag], bool]) -> Iterator[Tag]:
    """The wanted elements under `root` but not under others, into which it does not look: tables nest deep."""
    stack = [*reversed(root.contents)]
    while stack:
        node = stack.pop()
        if isinstance(node, Tag) and not is_other(node):
            if is_wanted(node):
                yield node
            stack.extend(reversed(node.contents))


def _section_order(row: Tag) -> int:
    return _SECTIONS.get(row.parent.name, 0) if row.parent is not None else 0


def cells_of(row: Tag) -> list[Tag]:
    cells = row.find_all(["td", "th"], recursive=False)
    if cells:
        return cells
    if row.name != "tr":
        return list(_own(row, lambda tag: tag.get("role") in _CELL_ROLES, _is_other_row))
    # A form between, perhaps.
    return list(_own(row, lambda tag: tag.name in ("td", "th"), lambda tag: tag.name == "tr"))


def strays_of(table: Tag, rows: Sequence[Tag]) -> Iterator[PageElement]:
    """What is written in a table outside of its cells; browsers show it before the table."""
    sections = table.find_all(["thead", "tbody", "tfoot"], recursive=False) if table.name == "table" else []
    holders = [table, *sections, *rows] if table.name == "table" else []
    for holder in holders:
        for node in holder.contents:
            if isinstance(node, Tag):
                is_part = node.name in _IN_TABLES and not (node.name in ("td", "th") and holder.name != "tr")
                if not is_part and node.find(["td", "th"]) is None:
                    yield node
            elif type(node) is NavigableString and node.strip():
                yield node


def is_header_row(row: Tag) -> bool:
    """Whether the file says so: a row of `thead`, or of header cells only."""
    if row.parent is not None and row.parent.name == "thead":
        return True
    cells = cells_of(row)
    if all(_span(cell, "rowspan") > 1 for cell in cells):  # the names of the rows beside it
        return False
    return len(cells) > 1 and all(cell.name == "th" or cell.get("role") == "columnheader" for cell in cells)


def arranges_page(table: Tag, rows: Sequence[Tag], header: int | None) -> bool:
    """Whether the table only places parts of the page, so that its cells are read one after the other."""
    if table.get("role") in ("presentation", "none"):
        return True
    if all(len(cells) < 2 and not any(cell.name == "th" for cell in cells) for cells in map(cells_of, rows)):
        return True
    inner = table.find(["table", "pre", "h1", "h2", "h3", "h4", "h5", "h6"])
    if inner is None:
        return False
    is_listed = header is not None and table.find(["pre", "h1", "h2", "h3", "h4", "h5", "h6"]) is None
    return not (is_listed and all(map(_is_plain, table.find_all("table"))))


def _is_plain(table: Tag) -> bool:
    """Whether a table in a cell is small and names nothing, so that it reads as words of that cell."""
    return table.find("th") is None and len(table.get_text()) <= _SMALL


def grid(rows: Sequence[Tag], text: Callable[[Tag], str]) -> list[list[str]]:
    """The cells row by row, merged ones filled downwards, within the header, the body or the footer."""
    found: list[list[str]] = []
    covered: dict[int, tuple[int, bool]] = {}  # by column: how many rows more, and whether from the left as well
    section: object = None
    left = _MAX_COVERED
    for row in rows:
        if row.parent is not section:
            section = row.parent
            covered.clear()
        cells: list[str] = []
        for cell in [*cells_of(row), None]:
            while (place := covered.pop(len(cells), None)) is not None:
                if place[0] > 1:
                    covered[len(cells)] = (place[0] - 1, place[1])
                cells.append(SPANNED if place[1] else below(found, len(cells)))
            if cell is None:
                break
            across, down = _span(cell, "colspan"), _span(cell, "rowspan")
            if across * down > left:
                across = down = 1
            left -= across * down - 1
            for index in range(across):
                if down > 1:
                    covered[len(cells)] = (down - 1, index > 0)
                cells.append(text(cell) if index == 0 else SPANNED)
        found.append(cells)
    return found


def _span(cell: Tag, name: str) -> int:
    written = str(cell.get(name) or cell.get(f"aria-{name}") or "").strip()
    if name == "rowspan" and written == "0":  # to the end of the section
        return _MAX_SPAN
    return max(1, min(int(written), _MAX_SPAN)) if re.fullmatch(r"\d{1,9}", written) else 1


def is_listing(rows: Sequence[Tag]) -> bool:
    """Whether the rows are lines of code, each with its number."""
    return bool(rows) and all(map(is_numbered_line, rows[:20]))


def is_numbered_line(row: Tag) -> bool:
    cells = cells_of(row)
    if len(cells) != 2:
        return False
    names = " ".join([*classes(cells[0]), *cells[0].attrs]).lower()
    return bool(_NUMBERED.search(names)) and not cells[1].find("pre")


def holds_line_numbers(cell: Tag) -> bool:
    return bool(_NUMBERS.fullmatch(cell.get_text()))
