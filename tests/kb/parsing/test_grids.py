"""Lines drawn around cells → rows of tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from kb.parsing.layout.grids import with_rows_of_tables
from kb.parsing.layout.lines import TextRun, read_lines
from kb.parsing.layout.prose import Words, join_lines
from kb.parsing.layout.rulings import Rulings

SIZE, PITCH, TOP = 10, 12, 700
Place = tuple[int, int, int, int]  # the first row and column of a cell, and how many it takes of each


class Table:
    """Cells at places, with a line around each: `sides` leaves out those that a style of tables has not."""

    def __init__(self, columns: Sequence[float], heights: Sequence[int], sides: str = "lrtb") -> None:
        self._x = [50 + sum(columns[:n]) for n in range(len(columns) + 1)]
        self._y = [TOP - PITCH * sum(heights[:n]) - 4 * n for n in range(len(heights) + 1)]
        self._sides = sides
        self.runs: list[TextRun] = []
        self.vertical: list[tuple[float, float, float]] = []
        self.horizontal: list[tuple[float, float, float]] = []

    def add(self, place: Place, *lines: str, width: float = 5) -> None:
        row, column, rows, columns = place
        left, right = self._x[column], self._x[column + columns]
        top, bottom = self._y[row], self._y[row + rows]
        begin = (top + bottom + PITCH * len(lines)) / 2 - 9  # in the middle
        for n, text in enumerate(lines):
            end = left + 4 + width * len(text)
            self.runs.append(TextRun(text, left + 4, end, begin - PITCH * n, SIZE, order=len(self.runs)))
        for side, x in (("l", left), ("r", right)):
            self.vertical += [(x, bottom, top)] if side in self._sides else []
        for side, y in (("t", top), ("b", bottom)):
            self.horizontal += [(y, left, right)] if side in self._sides else []

    def fill(self, rows: Sequence[Sequence[str]]) -> None:
        for row, cells in enumerate(rows):
            for column, text in enumerate(cells):
                self.add((row, column, 1, 1), *text.split("\n"))

    def read(self, rulings: Rulings | None = None) -> list[str]:
        rulings = rulings or Rulings(self.vertical, self.horizontal)
        return join_lines(read_lines(with_rows_of_tables(self.runs, rulings), rulings), Words()).text.split("\n")


ROWS = [
    ["Check", "How it is done", "Limit"],
    ["Leakage", "Fill with dry nitro-\ngen, then wait", "0.2 bar"],
    ["Noise of\nthe unit", "Measure at 1 m", "68 dB"],
]
READ = ["Check\tHow it is done\tLimit", "Leakage\tFill with dry nitrogen, then wait\t0.2 bar"]
READ.append("Noise of the unit\tMeasure at 1 m\t68 dB")


def test_lines_of_a_cell_are_joined() -> None:
    table = Table([60, 110, 50], [1, 2, 2])
    table.fill(ROWS)
    assert table.read() == READ


def test_a_row_reaches_down_to_the_last_line_of_its_cells() -> None:
    table = Table([60, 110, 50], [1, 2, 2])
    table.fill(ROWS)
    rulings = Rulings(table.vertical, table.horizontal)
    lines = read_lines(with_rows_of_tables(table.runs, rulings), rulings)
    assert [line.depth for line in lines] == [0, PITCH, PITCH]


def test_tables_without_lines_at_their_sides() -> None:
    rows_only = Table([60, 110, 50], [1, 2, 2], sides="tb")
    rows_only.fill(ROWS)
    assert rows_only.read() == READ
    inner = Table([60, 110, 50], [1, 2, 2])
    inner.fill(ROWS)
    inner.vertical = [line for line in inner.vertical if line[0] not in (50, 270)]
    assert inner.read() == READ


def test_tables_on_turned_pages() -> None:
    table = Table([60, 110, 50], [1, 2, 2])
    table.fill(ROWS)
    upwards = Rulings(
        [(-y, left, right) for y, left, right in table.horizontal], [(x, -top, -low) for x, low, top in table.vertical]
    )
    assert table.read(upwards.turned(math.pi / 2)) == READ


def test_merged_cells_are_in_each_of_their_rows() -> None:
    table = Table([60, 60, 60], [1] * 5)
    table.fill([["地区", "职级", "标准"]])
    table.add((1, 0, 2, 1), "一线城市")
    table.add((3, 0, 2, 1), "其他城市")
    for row, (rank, amount) in enumerate([("主管", "500"), ("员工", "400"), ("主管", "400"), ("员工", "300")], start=1):
        table.add((row, 1, 1, 1), rank)
        table.add((row, 2, 1, 1), amount)
    assert table.read() == [
        *("地区\t职级\t标准", "一线城市\t主管\t500", "一线城市\t员工\t400"),
        *("其他城市\t主管\t400", "其他城市\t员工\t300"),
    ]


def test_columns_have_the_names_of_their_groups() -> None:
    table = Table([50, 40, 40, 40, 40], [1] * 4)
    table.add((0, 0, 2, 1), "Region")
    for column, year in ((1, "2023"), (3, "2024")):
        table.add((0, column, 1, 2), year)
        table.add((1, column, 1, 1), "H1")
        table.add((1, column + 1, 1, 1), "H2")
    for row, cells in enumerate([["North", "10", "12", "14", "15"], ["South", "20", "22", "24", "25"]], start=2):
        for column, text in enumerate(cells):
            table.add((row, column, 1, 1), text)
    assert table.read()[0] == "Region\t2023 H1\t2023 H2\t2024 H1\t2024 H2"
    assert table.read()[1:] == ["North\t10\t12\t14\t15", "South\t20\t22\t24\t25"]


def test_rows_and_columns_that_nothing_parts() -> None:
    table = Table([60, 120], [1, 4])
    table.fill([["Part", "Weight and price"], ["A-1\nA-2\nA-3\nA-4"]])
    table.add((1, 1, 1, 1), "12", "14", "9", "11")
    for run in table.runs[-4:]:
        table.runs.append(TextRun("8.50", 170, 190, run.baseline, SIZE, order=len(table.runs)))
    assert table.read() == ["Part\tWeight and price", *(f"A-{n}\t{w}\t8.50" for n, w in enumerate([12, 14, 9, 11], 1))]


@pytest.mark.parametrize("is_centred", [False, True])
def test_wrapped_cells_of_rows_that_nothing_parts(is_centred: bool) -> None:
    table = Table([70, 110, 50], [1, 6])
    table.fill([["Check", "How it is done", "Limit"]])
    table.add((1, 0, 1, 1), "Leakage of the", "housing", "", "Noise", "", "")
    table.add(
        (1, 1, 1, 1), "Fill with nitrogen,", "wait and read the", "gauge again", "At 1 m", "ISO 10816 on", "the frame"
    )
    limits = (1, 3, 4.5) if is_centred else (0, 3, 4)
    first = table.runs[-6].baseline
    table.runs = [run for run in table.runs if run.text]
    for text, at in zip(("0.2 bar", "68 dB", "3 mm/s"), limits, strict=True):
        table.runs.append(TextRun(text, 234, 264, first - PITCH * at, SIZE))
    table.runs.append(TextRun("Shaking", 54, 89, first - PITCH * limits[2], SIZE))
    table.add((1, 2, 1, 1))
    assert table.read()[1:] == [
        "Leakage of the housing\tFill with nitrogen, wait and read the gauge again\t0.2 bar",
        *("Noise\tAt 1 m\t68 dB", "Shaking\tISO 10816 on the frame\t3 mm/s"),
    ]


def test_cells_over_several_columns_keep_the_others_in_place() -> None:
    table = Table([40, 50, 50, 50], [1] * 3)
    table.fill([["Time", "Mon", "Tue", "Wed"], [], ["10", "Sport", "Art", "Music"]])
    for place, text in (((1, 0, 1, 1), "9"), ((1, 1, 1, 2), "Maths"), ((1, 3, 1, 1), "English")):
        table.add(place, text)
    assert table.read() == ["Time\tMon\tTue\tWed", "9\tMaths\t\tEnglish", "10\tSport\tArt\tMusic"]


def test_narrower_table_right_below_another() -> None:
    wide, narrow = Table([10, 60, 70], [1, 1, 1]), Table([10, 60, 60], [1] * 5)
    wide.add((0, 0, 1, 2), "Seller")
    wide.add((0, 2, 1, 1), "Invoice")
    for row, cells in enumerate([("Item", "Price"), ("Hinge", "2.50"), ("Bolt", "4.10")], start=1):
        for column, text in enumerate(cells, start=1):
            narrow.add((row, column, 1, 1), text)
    for each in ("runs", "vertical", "horizontal"):
        getattr(wide, each).extend(getattr(narrow, each))
    assert wide.read() == ["Seller\tInvoice", "Item\tPrice", "Hinge\t2.50", "Bolt\t4.10"]


def test_tables_that_go_on_over_the_page_keep_their_header() -> None:
    pages = []
    for rows in (
        [["Code", "Meaning"], ["E1", "no answer"], ["E2", "wrong answer"]],
        [["E3", "too late"], ["E4", "lost"]],
    ):
        table = Table([50, 90], [1] * len(rows))
        table.fill(rows)
        rulings = Rulings(table.vertical, table.horizontal)
        pages.append(read_lines(with_rows_of_tables(table.runs, rulings), rulings))
    first = join_lines(pages[0], Words())
    assert join_lines(pages[1], Words(), first.open_table).text == "Code\tMeaning\nE3\ttoo late\nE4\tlost"
    below = replace(pages[1][0], text="Other text", is_row=False, table=0)
    assert "Code" not in join_lines([below, *pages[1]], Words(), first.open_table).text
    assert join_lines([*pages[0], below], Words()).open_table is None


def test_titles_and_long_cells_are_no_rows() -> None:
    sides = [[f"{side} {n} of the long text" for n in range(8)] for side in ("left", "right")]
    table = Table([140, 140], [1, 8])
    table.add((0, 0, 1, 2), "A title")
    for column, lines in enumerate(sides):
        table.add((1, column, 1, 1), *lines)
    assert [text for text in table.read() if text] == ["A title", *sides[0], *sides[1]]


def test_charts_and_drawings_are_no_tables() -> None:
    lines = [(50.0 + 20 * n, 500.0, 700.0) for n in range(12)]
    chart = Rulings(lines, [(y, x, x + 10) for x, y, _top in lines])
    assert with_rows_of_tables(runs := list(_labels()), chart) == runs
    assert Rulings([(n, 0, 900) for n in range(0, 9000, 5)], [(n, 0, 9000) for n in range(0, 900, 5)]).grids() == []


def _labels() -> Iterator[TextRun]:
    for n in range(3):
        yield TextRun("Peak of the sales in autumn", 60, 190, 680 - 50 * n, SIZE, order=n)
