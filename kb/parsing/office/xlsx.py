"""Excel: each sheet is a page with a heading, each row a line that names its columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from kb.models import ParsedDocument
from kb.notes import NoteKind
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.office.open_package import OpenPackage
from kb.parsing.office.workbook import Workbook
from kb.parsing.tables import table_lines

_BATCH = 1_000  # rows


def parse(source: Source) -> Iterator[ParsedDocument]:
    with OpenPackage(source.path) as package:
        yield from write_sheets(source, Workbook(package))


class Sheets(Protocol):
    """An open workbook of any format."""

    unstored_formulas: int  # in the rows that were read

    @property
    def sheet_names(self) -> list[str]: ...

    def rows(self, index: int) -> Iterator[list[str]]: ...

    def box_texts(self, index: int) -> Iterator[str]: ...


def write_sheets(source: Source, workbook: Sheets) -> Iterator[ParsedDocument]:
    """Sheets in order. A sheet without cells, for example with only a chart, is a page without text."""
    builder = TextBuilder(source.name, has_whole_pages=True)
    names = workbook.sheet_names
    for index, name in enumerate(names):
        builder.start_page(index + 1)
        lines = table_lines(workbook.rows(index))
        first = next(lines, None)
        if first is not None:
            builder.add_heading(1, name)
            builder.add_rows([first])
        while batch := list(islice(lines, _BATCH)):
            builder.add_rows(batch)
            yield from builder.full_parts()
        for text in filter(None, workbook.box_texts(index)):
            if first is None:
                builder.add_heading(1, name)
                first = text
            builder.add(text, gap=2)
        if workbook.unstored_formulas:
            builder.note(NoteKind.UNSTORED_FORMULAS, name=name, count=workbook.unstored_formulas)
            workbook.unstored_formulas = 0
        yield from builder.parts()
        source.report(index + 1, len(names))
    yield from builder.last_parts()
