"""Jupyter notebooks: the cells in order, with their outputs as far as these are text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kb.errors import N_, DamagedFile
from kb.models import ParsedDocument
from kb.notes import NoteKind
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode
from kb.parsing.text.markdown import add_markdown
from kb.parsing.web.html import add_page

_REPORTED = 100  # cells
_LONGEST_OUTPUT = 10_000  # characters
_OVERWRITTEN = re.compile(r"^[^\n]*\r(?!\n)", re.MULTILINE)  # of a progress bar, up to its last state
_STAND_IN = re.compile(r"<IPython\.core\.display\.\w+(?: object)?>")  # for what only a browser shows
_MOST_OUTPUT = 2_000_000  # of all outputs

Json = Any  # what the file holds need not be what the format says


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Long outputs are cut, with a note; pictures are left out."""
    try:
        notebook = json.loads(decode(source.path.read_bytes()))
        cells = list(_cells(notebook))
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise DamagedFile(name=source.name, detail=N_("it is no notebook")) from error
    builder = TextBuilder(source.name)
    writer = _Writer(builder)
    del notebook
    for number, cell in enumerate(cells, start=1):
        writer.add(cell)
        cells[number - 1] = None  # its outputs may be large
        yield from builder.full_parts()
        if number % _REPORTED == 0:
            source.report(number, len(cells))
    yield from builder.last_parts()


def _cells(notebook: Json) -> Iterator[Json]:
    """The cells, also of format 3, which has them on worksheets."""
    sheets = [notebook] if "cells" in notebook else notebook.get("worksheets", [])
    if not sheets:
        raise ValueError("no cells")
    for sheet in sheets:
        yield from (cell for cell in sheet["cells"] if isinstance(cell, dict))


class _Writer:
    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._left = _MOST_OUTPUT

    def add(self, cell: dict[str, Json]) -> None:
        kind, text = cell.get("cell_type"), _text(cell.get("source", cell.get("input")))
        self._builder.break_paragraph()
        if kind == "markdown":
            add_markdown(self._builder, text)
        elif kind == "heading":  # of format 3
            level = cell.get("level")
            self._builder.add_heading(level if isinstance(level, int) and 0 < level < 7 else 1, text)
        else:
            self._builder.add(text, gap=2)
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            if isinstance(output, dict):
                self._builder.break_paragraph()
                self._add_output(output)

    def _add_output(self, output: dict[str, Json]) -> None:
        found = output.get("data")
        data: dict[str, Json] = found if isinstance(found, dict) else output
        page = _text(data.get("text/html", data.get("html")))
        text = _text(data.get("text/plain", data.get("text")))
        is_stand_in = not text or bool(_STAND_IN.fullmatch(text.strip()))
        if ("<table" in page or (page and is_stand_in)) and len(page) <= min(_LONGEST_OUTPUT * 10, self._left):
            self._left -= len(page)
            add_page(self._builder, page)
            return
        if markdown := _text(data.get("text/markdown")):
            add_markdown(self._builder, self._cut(markdown))
            return
        if is_stand_in:
            value = data.get("application/json")
            text = _text(data.get("text/latex")) or (json.dumps(value, ensure_ascii=False) if value else text)
        if output.get("output_type") in ("error", "pyerr"):
            text = f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
        self._builder.add(self._cut(_OVERWRITTEN.sub("", text)))

    def _cut(self, text: str) -> str:
        limit = min(_LONGEST_OUTPUT, self._left)
        self._left -= min(len(text), limit)
        if len(text) <= limit:
            return text
        self._builder.note(NoteKind.CUT_OUTPUTS)
        return f"{text[:limit]} …" if limit else ""


def _text(value: Json) -> str:
    """A text, or the lines of one."""
    if isinstance(value, list):
        return "".join(each for each in value if isinstance(each, str))
    return value if isinstance(value, str) else ""
