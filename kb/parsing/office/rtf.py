"""Rich Text Format 1.9.1: paragraphs, headings and tables, with raised text, numbers of lists, and notes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean_title
from kb.parsing.inline import LOWERED, RAISED, Run, join_runs
from kb.parsing.office.equation_fields import equation_text
from kb.parsing.page_numbers import is_page_number
from kb.parsing.symbols import read_symbols
from kb.parsing.tables import table_lines
from kb.parsing.tables.rows import SPANNED, below

_TOKEN = re.compile(
    r"\\(?P<word>[a-zA-Z]{1,32})(?P<value>-?\d{1,10})?[ ]?|\\'(?P<byte>[0-9a-fA-F]{2})|\\(?P<symbol>[^a-zA-Z])"
    r"|(?P<group>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)|\\",
    re.DOTALL,
)
_CODE_PAGES = {
    0: 1252, 128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256,
    186: 1257, 204: 1251, 222: 874, 238: 1250,
}  # fmt: skip
_SYMBOLS_CHARSET = 2
_TEXTS = {
    "tab": "\t", "line": "\n", "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’",
    "ldblquote": "“", "rdblquote": "”", "emspace": " ", "enspace": " ", "qmspace": " ", "nestrow": "\n",
    "nestcell": " | ",
}  # fmt: skip
_MARKS = {"~": " ", "_": "-", "\\": "\\", "{": "{", "}": "}"}
# Groups whose text is not of the document, or is read elsewhere.
_SKIPPED = re.compile(
    r"colortbl|pict|objdata|themedata|colorschememapping|datafield|listtable|listoverridetable|rsidtbl|generator|"
    r"filetbl|revtbl|nonshppict|xe|tc|rxe|bkmkstart|bkmkend|author|operator|creatim|revtim|printim|keywords|comment|"
    r"subject|doccomm|company|category|manager|pnseclvl|wgrffmtfilter|atnid|atnauthor|atnref|atndate|atrfstart|atrfend|"
    r"atntime|atnparent|falt|panose|private|sp"
)
_KEPT_STARRED = frozenset(("shpinst", "shptxt", "annotation", "fldinst", "pn"))
_COLLECTED = (
    "footnote",
    "annotation",
    "fldinst",
    "header",
    "headerl",
    "headerr",
    "headerf",
    "footer",
    "footerl",
    "footerr",
    "footerf",
)
_MAX_SHIFTED = 4  # half-points; less is no raised text
_SAME_EDGE = 40  # twentieths of a point
_ROW_ENDS = re.compile(r" \|[ ]?(?=\n|$)")  # of tables inside of cells
_HEADING = re.compile(r"(?:heading|标题|標題)\s*(\d)", re.IGNORECASE)


@dataclass(slots=True)
class _State:
    """What holds inside of a group."""

    kind: str = ""  # of the destination: fonttbl, stylesheet, title, listtext, one that is collected, or the body
    is_skipped: bool = False
    is_hidden: bool = False
    level: int = 0  # RAISED or LOWERED
    font: int = -1
    skipped_after_unicode: int = 1


@dataclass(slots=True)
class _Row:
    edges: list[int] = field(default_factory=list)  # the right ends of the cells
    merged: list[str] = field(default_factory=list)  # of each cell: clvmrg, clmrg, or empty
    cells: list[str] = field(default_factory=list)
    is_header: bool = False


def parse(source: Source) -> Iterator[ParsedDocument]:
    builder = TextBuilder(source.name)
    for _block in add_rich_text(builder, source.path.read_bytes()):
        yield from builder.full_parts()
    yield from builder.last_parts()


def add_rich_text(builder: TextBuilder, data: bytes) -> Iterator[None]:
    """Append the text block by block. Headers come first, then the body; footers and notes come last.

    Hidden and deleted text is left out. Its title is taken over if there is none yet.
    """
    reader = _Reader(data.decode("latin-1"))
    reader.read()
    builder.title = builder.title or reader.title
    builder.add("\n".join(dict.fromkeys(reader.margins["header"])))
    builder.break_paragraph()
    for block in reader.blocks:
        if isinstance(block, list):
            builder.break_paragraph()
            builder.add_rows(_table_lines(block))
            builder.break_paragraph()
        elif block[0]:
            builder.add_heading(block[0], block[1])
        else:
            builder.add(block[1], gap=2)
        yield
    builder.break_paragraph()
    for line in [*dict.fromkeys(reader.margins["footer"]), *reader.notes]:
        builder.add(line)


class _Reader:
    """Goes through the file once. `blocks` are paragraphs with their heading level, and tables as lists of rows."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._state = _State()
        self._stack: list[_State] = []
        self._code_page = 1252
        self._fonts: dict[int, tuple[int, str]] = {}  # charset and name
        self._styles: dict[int, int] = {}  # heading levels
        self._bytes = bytearray()  # of text that is not decoded yet
        self._units: list[int] = []  # of UTF-16
        self._to_skip = 0  # characters that stand for a Unicode one in old programs
        self._runs: dict[str, list[Run]] = {"": []}  # by destination
        self._style = self._outline = 0
        self._row = _Row()
        self._merge = ""
        self._is_in_table = False
        self.title = ""
        self.blocks: list[tuple[int, str] | list[_Row]] = []
        self.margins: dict[str, list[str]] = {"header": [], "footer": []}
        self.notes: list[str] = []

    def read(self) -> None:
        at = 0
        while match := _TOKEN.match(self._text, at):
            at = match.end()
            if match["group"]:
                self._flush()
                self._open() if match["group"] == "{" else self._close()
            elif match["word"]:
                at += self._control(match["word"], int(match["value"]) if match["value"] else None)
            elif match["byte"]:
                self._add_bytes(bytes.fromhex(match["byte"]))
            elif match["symbol"]:
                self._mark(match["symbol"], at)
            elif match["text"]:
                self._add_bytes(match["text"].encode("latin-1"))
        self._flush()
        self._end_paragraph()

    # --- groups ---

    def _open(self) -> None:
        self._stack.append(self._state)
        self._state = copy(self._state)

    def _close(self) -> None:
        ended = self._state
        self._state = self._stack.pop() if self._stack else _State()
        if ended.kind != self._state.kind and not ended.is_skipped:
            self._end_destination(ended.kind)

    def _end_destination(self, kind: str) -> None:
        runs = self._runs.pop(kind, []) if kind else []
        text = join_runs(runs).strip()
        if kind == "title":
            self.title = clean_title(text)
        elif kind in ("listtext", "pntext"):
            if any(map(str.isalnum, text)):
                self._runs.setdefault(self._state.kind, []).append((f"{text} ", 0))
        elif kind == "annotation":
            self._emit(f" [comment: {' '.join(text.split())}]")
        elif kind == "fldinst":
            self._emit(equation_text(text))
        elif kind == "footnote" and text:
            mark = f"[{len(self.notes) + 1}]"
            self._emit(f" {mark}")
            self.notes.append(f"{mark} {' '.join(text.split())}")
        elif kind.startswith(("header", "footer")):
            lines = (" ".join(line.split()) for line in text.split("\n"))
            self.margins[kind[:6]] += [line for line in lines if line and not is_page_number(line)]

    # --- control words ---

    def _control(self, word: str, value: int | None) -> int:
        """Obey a control word; returns how many bytes of binary data follow it."""
        state = self._state
        if word == "u" and value is not None:
            self._decode()
            self._units.append(value & 0xFFFF)
            self._to_skip = state.skipped_after_unicode
            return 0
        self._flush()
        is_on = value != 0
        if word == "bin":
            return max(0, value or 0)
        if _SKIPPED.fullmatch(word):
            state.is_skipped = True
        elif word in _COLLECTED or word in ("fonttbl", "stylesheet", "title", "listtext", "pntext"):
            state.kind = word
        elif word == "ansicpg" and value:
            self._code_page = value
        elif word == "uc" and value is not None:
            state.skipped_after_unicode = min(max(value, 0), 10)
        elif word == "f" and value is not None:
            state.font = value
        elif word == "fcharset" and state.kind == "fonttbl":
            self._fonts[state.font] = (value or 0, "")
        elif word in ("super", "sub"):
            state.level = (RAISED if word == "super" else LOWERED) if is_on else 0
        elif word in ("up", "dn"):
            shift = value if value is not None else 6
            state.level = (RAISED if word == "up" else LOWERED) if shift >= _MAX_SHIFTED else 0
        elif word in ("nosupersub", "plain"):
            state.level = 0
            state.is_hidden = state.is_hidden and word != "plain"
        elif word in ("v", "deleted"):
            state.is_hidden = is_on
        elif word in _TEXTS:
            self._emit(_TEXTS[word])
        elif word in ("par", "sect", "page"):
            self._end_line()
        elif state.kind in ("", "stylesheet"):
            self._format_paragraph(word, value)
        return 0

    def _format_paragraph(self, word: str, value: int | None) -> None:
        if word == "pard":
            self._style = self._outline = 0
            self._is_in_table = False
        elif word == "intbl":
            self._is_in_table = True
        elif word == "s" and value is not None:
            self._style = value
        elif word == "outlinelevel" and value is not None:
            self._outline = value + 1
            if self._state.kind == "stylesheet" and value < 9:
                self._styles[self._style] = value + 1
        elif word == "trowd":
            self._row.edges, self._row.merged, self._merge = [], [], ""
        elif word == "trhdr":
            self._row.is_header = True
        elif word in ("clvmrg", "clmrg"):
            self._merge = word
        elif word == "cellx":
            self._row.edges.append(value or 0)
            self._row.merged.append(self._merge)
            self._merge = ""
        elif word == "cell":
            self._row.cells.append(self._taken())
        elif word == "row":
            self._end_row()

    def _mark(self, symbol: str, at: int) -> None:
        """Obey a control symbol; `at` is where the next token begins."""
        if symbol == "*":
            following = _TOKEN.match(self._text, at)
            if following is not None and following["word"] == "nesttableprops":  # at the end of each inner row
                self._emit("\n")
            if following is None or following["word"] not in _KEPT_STARRED:
                self._state.is_skipped = True
        elif symbol in _MARKS:
            self._flush()
            self._emit(_MARKS[symbol])
        elif symbol in "\r\n":
            self._flush()
            self._end_line()

    # --- text ---

    def _add_bytes(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        if data:
            self._flush_units()
            self._bytes += data

    def _flush(self) -> None:
        self._to_skip = 0
        self._decode()
        self._flush_units()

    def _flush_units(self) -> None:
        if self._units:
            units = b"".join(unit.to_bytes(2, "little") for unit in self._units)
            self._units.clear()
            self._emit(units.decode("utf-16-le", "replace"))

    def _decode(self) -> None:
        if not self._bytes:
            return
        data = bytes(self._bytes)
        self._bytes.clear()
        charset, _name = self._fonts.get(self._state.font, (None, ""))
        if charset == _SYMBOLS_CHARSET and self._state.kind != "fonttbl":
            self._emit("".join(chr(0xF000 + byte) if byte > 0x20 else chr(byte) for byte in data))
            return
        page = self._code_page if charset is None or charset == 1 else _CODE_PAGES.get(charset, self._code_page)
        self._emit(data.decode("utf-8" if page == 65001 else "gb18030" if page == 936 else f"cp{page}", "replace"))

    def _emit(self, text: str) -> None:
        state = self._state
        if state.is_skipped or state.is_hidden:
            return
        if state.kind == "fonttbl":
            charset, name = self._fonts.get(state.font, (0, ""))
            self._fonts[state.font] = (charset, (name + text).strip(";"))
        elif state.kind == "stylesheet":
            if named := _HEADING.match(text.strip()):
                self._styles[self._style] = int(named.group(1))
        else:
            name = self._fonts.get(state.font, (0, ""))[1]
            self._runs.setdefault(state.kind, []).append((read_symbols(text, name), state.level))

    # --- blocks ---

    def _end_line(self) -> None:
        if self._state.kind or self._is_in_table:
            self._emit("\n")
        else:
            self._end_paragraph()

    def _end_paragraph(self) -> None:
        text = self._taken()
        if text:
            level = self._outline if 0 < self._outline < 10 else self._styles.get(self._style, 0)
            self.blocks.append((level, text))

    def _taken(self) -> str:
        text = join_runs(self._runs.pop("", []))
        self._runs[""] = []
        return _ROW_ENDS.sub("", text).strip()

    def _end_row(self) -> None:
        row = self._row
        self._row = _Row(list(row.edges), list(row.merged))
        if not self.blocks or not isinstance(self.blocks[-1], list):
            self.blocks.append([])
        table = self.blocks[-1]
        assert isinstance(table, list)
        table.append(row)


def _table_lines(rows: list[_Row]) -> Iterator[str]:
    header = next((index for index, row in enumerate(rows) if not row.is_header), 0)
    return table_lines(_grid(rows), header=header or None, is_assumed=True)


def _grid(rows: list[_Row]) -> list[list[str]]:
    """The cells in columns: a cell is as many columns wide as other rows have ends of cells in it."""
    ends: list[int] = []
    for edge in sorted({edge for row in rows for edge in row.edges}):
        if not ends or edge - ends[-1] > _SAME_EDGE:
            ends.append(edge)
    grid: list[list[str]] = []
    for row in rows:
        cells: list[str] = []
        for index, text in enumerate(row.cells):
            merged = row.merged[index] if index < len(row.merged) else ""
            value = SPANNED if merged == "clmrg" else below(grid, len(cells)) if merged == "clvmrg" else text
            cells.append(value)
            if index < len(row.edges):
                last = bisect_left(ends, row.edges[index] - _SAME_EDGE)
                cells += [SPANNED] * (last + 1 - len(cells))
        grid.append(cells)
    return grid
