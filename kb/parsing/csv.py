"""Comma- and tab-separated values."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from kb.errors import N_, DamagedFile
from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode
from kb.parsing.kinds import TAB_SEPARATED
from kb.parsing.tables import table_lines

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_MAX_FIELD = 10_000_000
_MAX_REPEATED = 20_000_000  # characters; a larger file has the header only once
_BATCH = 5_000  # rows


def parse(source: Source) -> Iterator[ParsedDocument]:
    """One line per row, with the header's names before the values."""
    text = clean(decode(source.path.read_bytes())).strip("\n")
    delimiter = "\t" if source.media_type == TAB_SEPARATED else _detect_delimiter(text)
    builder = TextBuilder(source.name)
    repeat = len(text) <= _MAX_REPEATED
    lines = table_lines(_read_rows(text, delimiter), repeat_header=repeat) if repeat else _piped(text, delimiter)
    try:
        while batch := list(islice(lines, _BATCH)):
            builder.add_clean("\n".join(batch))
            yield from builder.full_parts()
    except csv.Error as error:
        raise DamagedFile(name=source.name, detail=N_("a quotation mark is never closed")) from error
    yield from builder.last_parts()


def _piped(text: str, delimiter: str) -> Iterator[str]:
    return (" | ".join(row) for row in _read_rows(text, delimiter))


def _read_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_MAX_FIELD)
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _detect_delimiter(text: str) -> str:
    """The delimiter that most often gives the first rows the same number of cells."""
    return max(_DELIMITERS, key=lambda delimiter: _regularity(text[:100_000], delimiter))


def _regularity(sample: str, delimiter: str) -> tuple[float, int]:
    widths = Counter(len(row) for row in islice(_read_rows(sample, delimiter), _SAMPLE_ROWS) if row)
    if not widths:
        return 0.0, 0
    width, rows = widths.most_common(1)[0]
    return (rows / widths.total() if width > 1 else 0.0), width
