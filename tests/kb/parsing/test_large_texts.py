"""Small files that say a lot: what is too large is named, before it takes the memory of the machine."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import pytest
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.table import _Cell

from kb.errors import TableTooLarge, TooMuchText, TooMuchTextInPart
from kb.parsing import parse_file
from kb.parsing.builder import TextBuilder
from tests.kb.parsing.parsing_samples import make_xlsx

_ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
)
_CELL = '<table:table-cell table:number-columns-repeated="40"><text:p>x</text:p></table:table-cell>'


def make_open_document(kind: str, body: str, rows: str) -> bytes:
    file = io.BytesIO()
    content = f'<office:{body}><table:table table:name="Plan">{rows}</table:table></office:{body}>'
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
        archive.writestr(
            "content.xml",
            f"<office:document-content {_ODF}><office:body>{content}</office:body></office:document-content>",
        )
    return file.getvalue()


def repeating(rows: int) -> Callable[[str, str], bytes]:
    row = f'<table:table-row table:number-rows-repeated="{rows}">{_CELL}</table:table-row>'
    return lambda kind, body: make_open_document(kind, body, row)


def make_docx(prepare: Callable[[_Cell], None]) -> bytes:
    """Two tables; the second one says that its cells are large."""
    document, file = docx.Document(), io.BytesIO()
    document.add_table(1, 1).cell(0, 0).text = "small"
    table = document.add_table(3, 1)
    for row in table.rows:
        row.cells[0].text = "x"
        prepare(row.cells[0])
    document.save(file)
    return file.getvalue()


def span(cell: _Cell) -> None:
    cell._tc.grid_span = 40


def stand_apart(cell: _Cell) -> None:
    before = OxmlElement("w:gridBefore")
    before.set(qn("w:val"), "40")
    cell._tc.getparent().get_or_add_trPr().append(before)


LARGE = {
    "a.ods": (repeating(3)("spreadsheet", "spreadsheet"), "Plan"),
    "a.odt": (repeating(3)("text", "text"), "Plan"),
    "spans.docx": (make_docx(span), "#2"),
    "gaps.docx": (make_docx(stand_apart), "#2"),
}


@pytest.mark.parametrize("name", LARGE)
def test_table_of_many_copies_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, table = LARGE[name]
    path = tmp_path / name
    path.write_bytes(content)
    monkeypatch.setattr("kb.parsing.tables.budget.MAX_COPIES", 120)
    assert "x" in parse_file(path, name).text
    monkeypatch.setattr("kb.parsing.tables.budget.MAX_COPIES", 100)
    with pytest.raises(TableTooLarge, match=f"its table “{table}” repeats or merges more than"):
        parse_file(path, name)


def test_cells_that_are_written_out_are_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = "<table:table-row>" + 5 * "<table:table-cell><text:p>x</text:p></table:table-cell>" + "</table:table-row>"
    path = tmp_path / "a.ods"
    path.write_bytes(make_open_document("spreadsheet", "spreadsheet", row * 5))
    monkeypatch.setattr("kb.parsing.tables.budget.MAX_COPIES", 0)
    assert parse_file(path, "a.ods").text.count("x") >= 25


def test_too_much_text_names_its_largest_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.parsing.builder.MAX_CHARACTERS", 1_500)
    path = tmp_path / "a.xlsx"
    path.write_bytes(make_xlsx({"Small": [["a"]], "Log": [["line " * 20]] * 9, "Other": [["line " * 20]] * 8}))
    with pytest.raises(TooMuchTextInPart) as caught:
        parse_file(path, "a.xlsx")
    assert caught.value.values["part"] == "Log"
    assert 800 < int(caught.value.values["count"]) < 1_100
    assert "Its largest part, “Log”, has " in str(caught.value)


def test_too_much_text_without_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.parsing.builder.MAX_CHARACTERS", 10)
    builder = TextBuilder("a.txt")
    with pytest.raises(TooMuchText) as caught:
        builder.add("x" * 11)
    assert type(caught.value) is TooMuchText


def test_the_part_in_hand_may_be_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.parsing.builder.MAX_CHARACTERS", 10_000)
    builder = TextBuilder("a.md")
    builder.mark_heading(builder.add("# One"), 1, "One")
    builder.add("x" * 2_000)
    builder.mark_heading(builder.add("# Two"), 1, "Two")
    with pytest.raises(TooMuchTextInPart, match="“Two”"):
        builder.add("x" * 9_000)
