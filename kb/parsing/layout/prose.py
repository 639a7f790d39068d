"""Lines that only the page's width broke → text in which their words can be found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from kb.models import LineBox, TableRows
from kb.parsing.layout.lines import HYPHEN, Line, with_empty_cells
from kb.parsing.layout.spaced_words import join_han
from kb.parsing.tables import has_header, headed_lines

if TYPE_CHECKING:
    from spellchecker import SpellChecker

_HAN_OR_KANA = "\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WIDE = re.compile(f"[{_HAN_OR_KANA}\uff08-\uff5e，、「」『』（）：；]")
_GOES_ON = re.compile(f"[{_HAN_OR_KANA}，、（「『]$")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_BEGINS_WIDE = re.compile(f"[{_HAN_OR_KANA}（「『]")
_BEGINS_LATE = re.compile("[，。、；：！？）」』》】]")  # some programs put them on the next line
_BEGINS_ITEM = re.compile(
    r"第?[\d一二三四五六七八九十]+[.、）)章节条款]|[（(][\d一二三四五六七八九十]+[）)]|[•●■□☐☑▪◆○·-]"
)
_BROKEN_WORD = re.compile(f"([^\\W\\d_]+)[{HYPHEN}-]$")
_BROKEN_IN_CELL = re.compile(f"([^\\W\\d_]+){HYPHEN}([^\\W\\d_]+)")
_HYPHENATED = re.compile(f"\\w[{HYPHEN}-]$")
_SUSPENDS = re.compile(r"(?:and|or|to|und|oder|bis|et|ou|en|och|og|eller)\s")  # pre- and post-war
_FIRST_WORD = re.compile(r"[^\W\d_]+")
_WORDS = re.compile(r"[^\W\d_]{3,}")
_MIN_WIDE = 0.6  # of the line's characters, in running Chinese or Japanese
_FULL = 1.6  # character sizes to the end of the column
_INDENT = 1.3
_MIN_LINE = 8  # characters
_MIN_HANGUL = 14
_SAME_COLUMN = 3.0  # points


class Words:
    """The words that a document has used so far, and those of English."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def learn(self, text: str) -> None:
        self._seen.update(word.lower() for word in _WORDS.findall(text))

    def is_one_word(self, before: str, after: str) -> bool:
        """Whether a hyphen at a line's end broke a word, rather than stands in a compound such as low-temperature.

        The joined word occurs elsewhere or is English, or its parts are not.
        """
        if len(before) == 1 or (after[:1].isupper() and not before.isupper()):  # X-ray, e-mail
            return False
        joined = (before + after).lower()
        if joined in self._seen or self._is_english(joined):
            return True
        parts = (before.lower(), after.lower())
        return not all(len(part) > 1 and (self._is_english(part) or part in self._seen) for part in parts)

    def _is_english(self, word: str) -> bool:
        return bool(_english().known([word]))


@cache
def _english() -> SpellChecker:
    from spellchecker import SpellChecker  # loads a dictionary, which most documents do not need

    return SpellChecker(language="en")


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A ruled table that a page ends with: its header, and from where to where each column goes."""

    header: list[str]
    columns: tuple[tuple[float, float], ...]

    def goes_on(self, block: Sequence[Line]) -> bool:
        """Whether the table at the top of the next page has the same columns."""
        widest = max(block, key=lambda line: len(line.cells)).cells
        return len(widest) == len(self.columns) and all(
            abs(left - own_left) < _SAME_COLUMN and abs(right - own_right) < _SAME_COLUMN
            for (left, right), (own_left, own_right) in zip(widest, self.columns, strict=True)
        )


@dataclass(slots=True)
class Prose:
    """The text of a page, which of its lines are rows of tables, and where its lines stand."""

    pieces: list[str] = field(default_factory=list)
    length: int = 0
    open_table: OpenTable | None = None
    tables: list[TableRows] = field(default_factory=list)
    lines: list[LineBox] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces).replace(HYPHEN, "-")

    def append(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text)

    def drop_last(self) -> None:
        """Take the last character of the line that was added last away."""
        self.pieces[-1] = self.pieces[-1][:-1]
        self.length -= 1

    def add(self, line: Line) -> None:
        start = self.length
        self.append(line.text)
        self.place(line, start, self.length)

    def place(self, line: Line, start: int, end: int) -> None:
        """Note that `line` is the text from `start` to `end`."""
        if self.lines and self.lines[-1].end > start:  # its hyphen has gone
            self.lines[-1] = replace(self.lines[-1], end=start)
        if line.box:
            self.lines.append(LineBox(start, end, *line.box))


def join_lines(lines: Sequence[Line], words: Words, open_table: OpenTable | None = None) -> Prose:
    """The text of a page. Lines stay lines where they may be meant so.

    `open_table` is what the page before ends with: where the table goes on, its header is repeated.
    """
    lines = [replace(line, text=join_han(line.text)) for line in lines]
    words.learn("\n".join(line.text for line in lines if not _HYPHENATED.search(line.text)))
    prose = Prose()
    for (is_table, grid), group in groupby(lines, key=lambda line: (line.is_row, line.table)):
        block = list(group)
        prose.append("" if not prose.length else "\n\n" if block[0].has_gap_before else "\n")
        if is_table and (len(block) > 1 or grid):
            start = prose.length
            goes_on = bool(grid and open_table and not start and open_table.goes_on(block))
            prose.open_table = _add_rows(prose, block, words, open_table if goes_on else None)
            prose.tables.append(TableRows(start, prose.length))
        else:
            prose.open_table = None
            _add_lines(prose, block, words)
    return prose


def _add_rows(prose: Prose, block: Sequence[Line], words: Words, above: OpenTable | None) -> OpenTable | None:
    """The rows of a table, and its header if its columns are ruled. One that comes back stands where it first did."""
    rows = with_empty_cells(block)
    lines: list[Line | None] = list(block)
    if above and rows[0] != above.header:
        rows.insert(0, above.header)
        lines.insert(0, None)  # on another page
    placed = iter(zip(map("\t".join, rows), lines, strict=True))
    header, is_headed = "\t".join(rows[0]), has_header(rows)
    texts: list[str] = []
    start = prose.length
    for row in headed_lines(rows):
        text = _BROKEN_IN_CELL.sub(lambda match: _mended(match, words), row)
        is_repeated = bool(texts) and is_headed and row == header
        line = lines[0] if is_repeated else next(line for given, line in placed if given == row)
        if line:
            prose.place(line, start, start + len(text))
        texts.append(text)
        start += len(text) + 1
    prose.append("\n".join(texts))
    if not block[0].table or not (above or is_headed):
        return None
    return OpenTable(rows[0], max(block, key=lambda line: len(line.cells)).cells)


def _mended(match: re.Match[str], words: Words) -> str:
    before, after = match.groups()
    return f"{before}{'' if words.is_one_word(before, after) else '-'}{after}"


def _add_lines(prose: Prose, lines: Sequence[Line], words: Words) -> None:
    prose.add(lines[0])
    for before, line in pairwise(lines):
        if line.has_gap_before:
            prose.append("\n\n")
        elif _HYPHENATED.search(before.text) and _SUSPENDS.match(line.text):
            prose.append(" ")
        elif _HYPHENATED.search(before.text) and line.text[:1].isalnum():
            broken, first = _BROKEN_WORD.search(before.text), _FIRST_WORD.match(line.text)
            if broken and first and words.is_one_word(broken.group(1), first.group()):
                prose.drop_last()
        elif not _is_broken(before, line):
            prose.append("\n")
        prose.add(line)


def _is_broken(before: Line, line: Line) -> bool:
    """Whether the width of the column ended `before`, in a script that breaks lines inside of words."""
    is_full = before.right >= before.end - _FULL * before.size and line.left <= line.begin + _INDENT * line.size
    if not is_full or len(before.text) < _MIN_LINE or abs(before.size - line.size) > 0.1 * line.size:
        return False
    if _BEGINS_ITEM.match(line.text):
        return False
    if _BEGINS_LATE.match(line.text):
        return True
    if _HANGUL.match(before.text[-1:]) and _HANGUL.match(line.text):  # some break lines between words only
        return len(before.text) >= _MIN_HANGUL and before.right >= before.end - 0.7 * before.size
    is_prose = len(_WIDE.findall(before.text)) >= _MIN_WIDE * len(before.text.replace(" ", ""))
    return is_prose and bool(_GOES_ON.search(before.text) and _BEGINS_WIDE.match(line.text))
