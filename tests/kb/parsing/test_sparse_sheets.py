"""Sheets stay sparse: cells far to the right of many rows cost as much as cells beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kb.parsing import parse_file
from kb.parsing.tables.far_columns import NEAR, FarColumns
from kb.parsing.tables.rows import trim_cells
from tests.kb.parsing import parsing_samples as samples

FAR = 16_383  # the last column, XFD
ROWS = 30


def make_xlsx(at: int) -> bytes:
    name = "XFD" if at == FAR else "B"
    cell = '<c r="{0}" t="inlineStr"><is><t>{1}</t></is></c>'
    rows = (
        f'<row r="{n}">{cell.format(f"A{n}", f"k{n}")}{cell.format(f"{name}{n}", f"v{n}")}</row>'
        for n in range(1, ROWS + 1)
    )
    return samples.make_sheet("".join(rows))


def make_xlsb(at: int) -> bytes:
    return samples.make_xlsb([[f"k{n}", *[""] * (at - 1), f"v{n}"] for n in range(1, ROWS + 1)], ["General"])


def make_ods(at: int) -> bytes:
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    gap = f'<table:table-cell table:number-columns-repeated="{at - 1}"/>' if at > 1 else ""
    rows = (
        f"<table:table-row>{cell.format(f'k{n}')}{gap}{cell.format(f'v{n}')}</table:table-row>"
        for n in range(1, ROWS + 1)
    )
    return samples.make_odf("spreadsheet", f'<table:table table:name="S">{"".join(rows)}</table:table>')


def make_xml(at: int) -> bytes:
    cell = '<Cell ss:Index="{}"><Data ss:Type="String">{}</Data></Cell>'
    rows = "".join(f"<Row>{cell.format(1, f'k{n}')}{cell.format(at + 1, f'v{n}')}</Row>" for n in range(1, ROWS + 1))
    spaces = (
        'xmlns="urn:schemas-microsoft-com:office:spreadsheet" xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet"'
    )
    sheet = f'<Worksheet ss:Name="S"><Table>{rows}</Table></Worksheet>'
    return f"<?xml version='1.0'?><Workbook {spaces}>{sheet}</Workbook>".encode()


def make_csv(at: int) -> bytes:
    return "".join(f"k{n}{',' * at}v{n}\n" for n in range(1, ROWS + 1)).encode()


@pytest.mark.parametrize(
    ("name", "make"),
    [("a.xlsx", make_xlsx), ("a.xlsb", make_xlsb), ("a.ods", make_ods), ("a.xml", make_xml), ("a.csv", make_csv)],
)
def test_rows_are_as_short_as_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[int], bytes]
) -> None:
    widths: list[int] = []

    def trim_and_note(row: Sequence[str]) -> list[str]:
        widths.append(len(row))
        return trim_cells(row)

    beside = parse_file(samples.write(tmp_path, "beside", make(1)), name)
    monkeypatch.setattr("kb.parsing.tables.trim_cells", trim_and_note)
    far = parse_file(samples.write(tmp_path, "far", make(FAR)), name)
    assert max(widths) <= NEAR + 2
    assert far.text == beside.text


def test_far_columns_keep_their_order_and_their_gaps() -> None:
    columns = FarColumns()
    row: list[str] = []
    for column in (0, NEAR - 1, NEAR, NEAR + 1, 9_000, 9_001):
        columns.put(row, column, str(column))
    assert row[0] == "0"
    assert row[NEAR - 1 :] == [str(NEAR - 1), str(NEAR), str(NEAR + 1), "", "9000", "9001"]
    other: list[str] = []
    columns.put(other, 9_000, "below")
    assert other.index("below") == row.index("9000")
    assert columns.find(8_000) is None


def test_whole_rows_are_squeezed_alike() -> None:
    columns = FarColumns()
    assert columns.squeeze(["a", "b"]) == ["a", "b"]
    row = ["a", *[""] * 99_998, "b"]
    assert columns.squeeze(row) == ["a", *[""] * NEAR, "b"]
    wide = [str(n) for n in range(2 * NEAR)]
    assert FarColumns().squeeze(wide) == wide


def test_rows_stop_growing_where_each_uses_another_column() -> None:
    """They took quadratic time and memory: 8,000 rows of one cell each took 8 s."""
    columns, most = FarColumns(), 0
    for n in range(10_000):
        row: list[str] = []
        columns.put(row, NEAR + 2 * n, f"a{n}")
        columns.put(row, NEAR + 30_000 + n, f"b{n}")
        assert [cell for cell in row if cell] in ([f"a{n}", f"b{n}"], [f"b{n}", f"a{n}"])
        most = max(most, len(row))
    assert most < 4 * NEAR


def test_wide_table_keeps_the_columns_of_its_header() -> None:
    """Also where few of its cells have a text."""
    columns, wide = FarColumns(), 6 * NEAR
    header = columns.squeeze([f"h{n}" for n in range(wide)])
    for n in range(2_000):
        at = NEAR + n % (wide - NEAR)
        row = columns.squeeze([*[""] * at, f"v{n}"])
        assert header[len(row) - 1] == f"h{at}"


def test_styled_cells_without_text_take_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Sequence[str]] = []

    def trim_and_note(row: Sequence[str]) -> list[str]:
        rows.append(row)
        return trim_cells(row)

    monkeypatch.setattr("kb.parsing.tables.trim_cells", trim_and_note)
    sheet = samples.make_sheet('<row r="1"><c r="A1"><v>7</v></c><c r="XFD1" s="0"/></row>')
    parse_file(samples.write(tmp_path, "a", sheet), "a.xlsx")
    assert rows == [["7"]]


def test_merged_cells_far_to_the_right_are_filled_downwards(tmp_path: Path) -> None:
    cell = '<c r="{0}" t="inlineStr"><is><t>{1}</t></is></c>'
    first, second = cell.format("A1", "a") + cell.format("XFA1", "both"), cell.format("A2", "b")
    sheet = samples.make_sheet(f'<row r="1">{first}</row><row r="2">{second}</row>', merged=["XFA1:XFD2"])
    assert parse_file(samples.write(tmp_path, "a", sheet), "a.xlsx").text == "S\na | both\nb | both"
