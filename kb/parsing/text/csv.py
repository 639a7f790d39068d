"""Comma- and tab-separated values."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode
from kb.parsing.media_types import TAB_SEPARATED
from kb.parsing.tables import table_lines
from kb.parsing.tables.far_columns import FarColumns

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_SAMPLE_CHARACTERS = 100_000
_MAX_FIELD = 10_000_000
_MAX_LINES = 200  # of one quoted cell; a quotation mark that is open for longer was never closed
_MAX_LABELLED = 150_000_000  # characters; a file that would be larger with names in each row has them only once
_HEADER_LINES = 10
_BATCH = 5_000  # rows
_DELIMITER_LINE = re.compile(r"sep=(.)\n", re.IGNORECASE)  # of Excel


def parse(source: Source) -> Iterator[ParsedDocument]:
    """One line per row, with the header's names before the values."""
    text = clean(decode(source.path.read_bytes())).strip("\n")
    said = _DELIMITER_LINE.match(text)
    if said:
        text, delimiter = text[said.end() :], said.group(1)
    else:
        delimiter = "\t" if source.media_type == TAB_SEPARATED else _detect_delimiter(text)
    rows = _without_double_spacing(text, _read_rows_in_apostrophes(text, delimiter) or _read_rows(text, delimiter))
    rows = map(FarColumns().squeeze, rows)
    names = max(map(len, text[:_SAMPLE_CHARACTERS].split("\n", _HEADER_LINES)[:_HEADER_LINES]))
    is_labelled = len(text) + text.count("\n") * names <= _MAX_LABELLED
    lines = table_lines(rows) if is_labelled else (" | ".join(row) for row in rows)
    builder = TextBuilder(source.name)
    while batch := list(islice(lines, _BATCH)):
        builder.add_rows(batch)
        yield from builder.full_parts()
    yield from builder.last_parts()


def _read_rows_in_apostrophes(text: str, delimiter: str) -> Iterator[list[str]] | None:
    """The cells of each row, where apostrophes are used for quotation marks; None where they are not."""
    if '"' in text:
        return None
    sample = text[:_SAMPLE_CHARACTERS]
    mark = re.escape(delimiter)
    quoted = re.findall(rf"(?:^|(?<={mark}))'(?:[^'\n]|'')*'(?={mark}|$)", sample, re.MULTILINE)
    if not any(delimiter in each for each in quoted) and 2 * len(quoted) < len(sample.split("\n")):
        return None
    rows = _read_rows(text.replace("'", '"'), delimiter)
    return ([cell.replace('"', "'") for cell in row] for row in rows)


def _without_double_spacing(text: str, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows, without the empty ones if there is one behind each row, as some programs write on Windows."""
    gaps = sum(1 for line in text[:_SAMPLE_CHARACTERS].split("\n")[1::2] if not line.strip())
    is_spaced = (
        2 * gaps >= text[:_SAMPLE_CHARACTERS].count("\n") and "\n\n\n" not in text[:_SAMPLE_CHARACTERS] and gaps > 1
    )
    return (row for row in rows if any(row)) if is_spaced else rows


def _read_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """The cells of each row. Where a quotation mark is never closed, it is read as any other character."""
    csv.field_size_limit(_MAX_FIELD)
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        count, row = _read_row(lines, at, delimiter)
        yield row
        at += count


def _read_row(lines: list[str], at: int, delimiter: str) -> tuple[int, list[str]]:
    """How many lines the row has that begins at line `at`, and its cells."""
    line = lines[at]
    if '"' not in line:
        return 1, line.split(delimiter)
    row: list[str] | None = None
    for count in range(1, min(_MAX_LINES, len(lines) - at) + 1):
        if count > 1 and '"' not in lines[at + count - 1]:
            continue  # it cannot end here
        try:
            row = next(csv.reader(["\n".join(lines[at : at + count])], delimiter=delimiter, strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error) or "newline inside" in str(error):
                continue
            break
        return count, row
    plain = [cell[1:] if cell.startswith('"') and cell.count('"') == 1 else cell for cell in line.split(delimiter)]
    try:
        cells = next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return 1, plain
    has_quoted_delimiter = 1 < len(cells) < len(plain) and line.count('"') % 2 == 0
    return 1, cells if has_quoted_delimiter else plain


def _detect_delimiter(text: str) -> str:
    """The delimiter that most often gives the first rows the same number of cells."""
    return max(_DELIMITERS, key=lambda delimiter: _regularity(text[:_SAMPLE_CHARACTERS], delimiter))


def _regularity(sample: str, delimiter: str) -> tuple[float, int]:
    widths = Counter(len(row) for row in islice(_read_rows(sample, delimiter), _SAMPLE_ROWS) if any(row))
    if not widths:
        return 0.0, 0
    width, rows = widths.most_common(1)[0]
    return (rows / widths.total() if width > 1 else 0.0), width
