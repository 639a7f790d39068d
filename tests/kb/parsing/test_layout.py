"""Places of characters on a page → lines in reading order, and broken words mended."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kb.parsing.layout.boilerplate import PageLines, RunningLines
from kb.parsing.layout.lines import Line, TextRun, read_lines, with_empty_cells
from kb.parsing.layout.prose import Words, join_lines
from kb.parsing.page_numbers import is_page_number


def run(text: str, left: float, baseline: float, size: float = 10, width: float = 5) -> TextRun:
    return TextRun(text, left, left + width * len(text) * size / 10, baseline, size)


def texts(runs: Sequence[TextRun]) -> list[str]:
    return [line.text for line in read_lines(list(runs))]


def test_cells_of_a_row_are_parted_by_tabs() -> None:
    rows = [("200.01", "1", "11"), ("400.01", "3", "22"), ("1600.01", "15", "88")]
    runs = [
        run(cell, 50 + 50 * column, 700 - 14 * row)
        for row, cells in enumerate(rows)
        for column, cell in enumerate(cells)
    ]
    assert texts(runs) == ["200.01\t1\t11", "400.01\t3\t22", "1600.01\t15\t88"]
    assert texts(runs[::-1]) == ["200.01\t1\t11", "400.01\t3\t22", "1600.01\t15\t88"]


def test_rows_show_their_empty_cells() -> None:
    rows = [("Item", "Note", "2023", "2022"), ("Sales", "3", "4512", "4100"), ("Profit", "", "2201", "1899")]
    runs = [
        run(cell, 50 + 60 * column, 700 - 14 * row)
        for row, cells in enumerate([*rows, ("Cash only", "", "", "7")])
        for column, cell in enumerate(cells)
        if cell
    ]
    lines = read_lines(runs)
    assert with_empty_cells(lines) == [*map(list, rows), ["Cash only", "", "", "7"]]
    wide = read_lines([*runs, run("over two of the columns", 50, 644), run("7", 230, 644)])
    assert with_empty_cells(wide)[-1] == ["over two of the columns", "7"]


def test_words_and_wide_characters() -> None:
    assert texts([run("one", 50, 700), run("two", 68, 700), run(".", 83.2, 700)]) == ["one two."]
    assert texts([run("高明", 50, 700, width=10), run("经理", 82, 700, width=10)]) == ["高明\t经理"]
    assert texts([run("高明", 50, 700, width=10), run("经理", 73, 700, width=10)]) == ["高明经理"]


@pytest.mark.parametrize(
    ("base", "mark", "shift", "text"),
    [
        ("4,512", "1", 4, "4,512 [1]"),
        ("10", "6", 4, "10^6"),
        ("25 m", "2", 4, "25 m²"),
        ("H", "2", -2, "H2"),
        ("V", "2", -5, "V2"),
    ],
)
def test_small_runs_are_raised_or_lowered(base: str, mark: str, shift: float, text: str) -> None:
    runs = [run(base, 50, 700), run(mark, 50 + 5 * len(base), 700 + shift, 6)]
    assert texts(runs) == [text]


SENTENCE = "The members may resign at any time by notice"


def test_columns_are_read_one_after_the_other() -> None:
    left, right = [f"left {n} {SENTENCE}" for n in range(6)], [f"right {n} {SENTENCE}" for n in range(6)]
    rows = [(50 + 280 * side, 700 - 12 * n, (left, right)[side][n]) for n in range(6) for side in (0, 1)]
    runs = [run("A title that goes over both of the columns, from the left to the right of the page", 50, 730)]
    runs += [run(text, x, y) for x, y, text in rows]
    runs.append(run("1", 325, 600))
    assert texts(runs) == [runs[0].text, *left, *right, "1"]


def test_three_columns_on_common_lines() -> None:
    columns = [[f"{name} {n} the members may resign" for n in range(6)] for name in ("one", "two", "six")]
    runs = [run(columns[side][n], 50 + 180 * side, 700 - 12 * n) for n in range(6) for side in range(3)]
    assert texts(runs) == [text for column in columns for text in column]


def test_columns_that_hold_tables_or_are_short() -> None:
    left, right = [f"left {n} {SENTENCE}" for n in range(16)], [f"right {n} {SENTENCE}" for n in range(16)]
    runs: list[TextRun] = []
    for n in range(16):
        cells = [run(text, 50 + 80 * k, 700 - 12 * n) for k, text in enumerate(("Size", str(n), "10.00"))]
        runs += cells if 5 < n < 10 else [run(left[n], 50, 700 - 12 * n)]
        runs.append(run(right[n], 325, 700 - 12 * n))
    read = texts(runs)
    assert read[:7] == [*left[:6], "Size\t6\t10.00"]
    assert read[-16:] == right
    short = [run(left[n], 50, 690 - 12 * n) for n in range(3)] + [run(right[n], 325, 696 - 12 * n) for n in range(2)]
    assert texts(short) == [*left[:3], *right[:2]]


def test_wide_gaps_of_justified_lines_are_no_cells() -> None:
    above, below = run("the rooms are kept as clean as", 50, 700), run("and no damage is done to them.", 50, 676)
    words = [run("before", 50, 688), run("by", 100, 688), run("him", 130, 688), run("whoever", 165, 688)]
    assert texts([above, *words, below])[1] == "before by him whoever"
    assert texts(words) == ["before\tby\thim\twhoever"]


def test_narrow_paragraphs_beside_wide_lines() -> None:
    text = (
        "保証期間を過ぎた製品の修理は有料となりますのでお買い上げの販売店にご相談くださいなお部品の保有期間は六年です"
    )
    runs = [run(text[n : n + 18], 50, 700 - 12 * n / 18, width=10) for n in range(0, len(text), 18)]
    wide = run("お問い合わせの窓口と受付時間についてのご案内はこちらから", 50, 600, width=10)
    assert join_lines(read_lines([*runs, wide]), Words()).text == f"{text}\n\n{wide.text}"
    names = [run("北京分公司财务部", 50, 700 - 12 * n, width=10) for n in range(3)]
    assert "\n" in join_lines(read_lines([*names, wide]), Words()).text


def test_items_of_lists_are_no_rows() -> None:
    lines = read_lines([run("•", 50, 700), run("first point", 80, 700), run("2.", 50, 688), run("second", 80, 688)])
    assert [(each.text, each.is_row) for each in lines] == [("• first point", False), ("2. second", False)]


def test_lines_of_a_wrapped_cell_are_joined() -> None:
    rows = [("Item", "Colour", "Price"), ("Door", "grey with a red", "80.00"), ("Hinge", "brass", "2.50")]
    places = [(50, 700), (50, 688), (50, 652)]
    runs = [run(cell, x + 100 * k, y) for (x, y), row in zip(places, rows, strict=True) for k, cell in enumerate(row)]
    runs += [run("line around", 150, 676), run("the edges", 150, 664)]
    assert texts(runs) == [
        "Item\tColour\tPrice",
        "Door\tgrey with a red line around the edges\t80.00",
        "Hinge\tbrass\t2.50",
    ]
    assert texts([*runs[:6], run("The table ends here.", 50, 676)])[-1] == "The table ends here."


def test_columns_whose_lines_do_not_meet() -> None:
    main = [run(f"main {n} {SENTENCE}", 50, 700 - 12 * n) for n in range(8)]
    aside = [run(text, 330, 695 - 17 * n) for n, text in enumerate(["Price", "5.65", "Rating", "good", "Market"])]
    assert texts(main + aside) == [each.text for each in main + aside]


def test_gap_between_paragraphs() -> None:
    lines = read_lines([run(f"line {y}", 50, y) for y in (700, 688, 676, 650, 638)])
    assert [line.has_gap_before for line in lines] == [True, False, False, True, False]


# --- lines that only the width broke ---


def line(text: str, right: float = 300, is_row: bool = False, has_gap_before: bool = False) -> Line:
    return Line(text, 50, right, 700, 10, 50, 300, is_row, has_gap_before)


def joined(*lines: Line | str) -> str:
    return join_lines([each if isinstance(each, Line) else line(each) for each in lines], Words()).text


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("an exam-", "ple of", "an example of"),
        ("in pre-", "and post-war times", "in pre- and post-war times"),
        ("kept in low-", "temperature rooms", "kept in low-temperature rooms"),
        ("long-", "term", "long-term"),
        ("the COVID-", "19 rules", "the COVID-19 rules"),
        ("INTRODUC-", "TION", "INTRODUCTION"),
        ("Herr Müller-", "Schmidt", "Herr Müller-Schmidt"),
        ("die Wartungs-", "arbeiten", "die Wartungsarbeiten"),
        ("a list -", "of things", "a list -\nof things"),
        ("seen in the X-", "ray and by e-", "seen in the X-ray and by e-"),
        ("同比\u2010", "64.9%", "同比-64.9%"),
        ("plain words", "go on", "plain words\ngo on"),
        ("保存期间内公司应当妥善保管重大", "遗漏的资料", "保存期间内公司应当妥善保管重大遗漏的资料"),
        ("スタンダードプランでは十二か月", "間です", "スタンダードプランでは十二か月間です"),
        (
            "보증 기간은 구입일부터 2년이며 무",
            "상수리를 받을 수 있습니다",
            "보증 기간은 구입일부터 2년이며 무상수리를 받을 수 있습니다",
        ),
        ("第一条 本办法适用于全体员工的", "（一）请假", "第一条 本办法适用于全体员工的\n（一）请假"),
        ("公司应当妥善保管资料。", "遗漏的", "公司应当妥善保管资料。\n遗漏的"),
    ],
)
def test_broken_lines(first: str, second: str, text: str) -> None:
    assert joined(first, second) == text


def test_short_lines_are_not_joined() -> None:
    assert joined(line("保存期间内公司应当妥善保管", right=200), "资料") == "保存期间内公司应当妥善保管\n资料"
    assert joined("姓名", "年龄") == "姓名\n年龄"


def test_word_that_occurs_elsewhere_is_joined() -> None:
    words = Words()
    assert join_lines([line("the cold-"), line("storage")], words).text == "the cold-storage"
    words.learn("coldstorage")
    assert join_lines([line("the cold-"), line("storage")], words).text == "the coldstorage"


def test_rows_are_marked() -> None:
    prose = join_lines(
        [line("Title"), line("a\t1", is_row=True), line("b\t2", is_row=True), line("End", has_gap_before=True)], Words()
    )
    assert prose.text == "Title\na\t1\nb\t2\n\nEnd"
    assert [prose.text[rows.start : rows.end] for rows in prose.tables] == ["a\t1\nb\t2"]


# --- running headers ---


@pytest.mark.parametrize(
    "text",
    [
        "3",
        "- 3 -",
        "Page 2 of 4",
        "page 7",
        "2/14",
        "第 3 页",
        "第3页 共9页",
        "共 9 页 第 3 页",
        "iv",
        "Seite 3 von 9",
        "Blad 2 van 6",
    ],
)
def test_page_numbers(text: str) -> None:
    assert is_page_number(text)


@pytest.mark.parametrize("text", ["3.5", "Chapter 3", "2024-05-01", "Total 3", "第三条", "A3"])
def test_no_page_numbers(text: str) -> None:
    assert not is_page_number(text)


def page(number: int, *lines: tuple[str, float]) -> PageLines:
    return PageLines(number, [Line(text, 50, 300, baseline, 10) for text, baseline in lines], 800)


def test_page_numbers_of_chapters_are_left_out() -> None:
    pages = [page(n, (f"B-{n + 4}", 30), (f"sentence {n * n}", 400)) for n in range(1, 5)]
    running = RunningLines()
    read = [running.split(each, pages[each.number : each.number + 2]) for each in pages]
    assert [[line.text for line in (*first, *own)] for first, own in read] == [
        [f"sentence {n * n}"] for n in range(1, 5)
    ]


def test_running_lines_are_kept_once() -> None:
    pages = [
        page(n, ("ACME manual rev. 7", 780), (f"Body of page {n}", 500), (f"Valid from 2024, p. {n}", 30), (f"{n}", 15))
        for n in (1, 2, 3, 4)
    ]
    running = RunningLines()
    found = [running.split(pages[index], pages[index + 1 : index + 3]) for index in range(4)]
    assert [[each.text for each in first] for first, _own in found] == [
        ["ACME manual rev. 7", "Valid from 2024, p. 1"],
        [],
        [],
        [],
    ]
    assert [[each.text for each in own] for _first, own in found] == [[f"Body of page {n}"] for n in (1, 2, 3, 4)]


def test_running_headers_with_cells_above_a_table() -> None:
    def rows(n: int) -> list[Line]:
        header = Line("Birch\tHandbook", 50, 300, 780, 10, is_row=True)
        return [header, *(Line(f"E{n}{k}\tlost", 50, 300, 760 - 20 * k, 10, is_row=True, table=1) for k in range(5))]

    pages = [PageLines(n, rows(n), 800) for n in (1, 2, 3)]
    running = RunningLines()
    found = [running.split(each, pages[each.number :]) for each in pages]
    assert [[line.text for line in first] for first, _own in found] == [["Birch\tHandbook"], [], []]
    assert [len(own) for _first, own in found] == [5, 5, 5]


def test_left_and_right_pages_have_headers_of_their_own() -> None:
    pages = [page(n, (("The book", "Chapter one")[n % 2], 780), (f"Body {n}", 500)) for n in (1, 2, 3, 4)]
    running = RunningLines()
    found = [running.split(pages[index], pages[index + 1 : index + 3]) for index in range(4)]
    assert [[each.text for each in [*first, *own]] for first, own in found] == [
        ["Chapter one", "Body 1"],
        ["The book", "Body 2"],
        ["Body 3"],
        ["Body 4"],
    ]


def test_text_of_the_body_may_repeat() -> None:
    pages = [page(n, ("See the notes.", 400), ("Note", 790 - 20 * n)) for n in (1, 2)]
    first, own = RunningLines().split(pages[0], pages[1:])
    assert (first, [each.text for each in own]) == ([], ["See the notes.", "Note"])


@pytest.mark.parametrize(
    "texts_of_pages",
    [
        ("V-51 16 bar", "V-101 31 bar", "V-151 46 bar"),
        ("Invoice 2024-118", "Invoice 2024-119", "Invoice 2024-120"),
        ("Ticket 4", "Ticket 5", "Ticket 6"),
        ("Certificate of attendance no. 4", "Certificate of attendance no. 5", "Certificate of attendance no. 6"),
        ("118", "17", "4"),
    ],
)
def test_figures_at_the_edges_of_pages_are_kept(texts_of_pages: Sequence[str]) -> None:
    pages = [page(n, (text, 780), (text, 30)) for n, text in enumerate(texts_of_pages, start=1)]
    running = RunningLines()
    found = [running.split(pages[index], pages[index + 1 :]) for index in range(3)]
    assert [(first, [each.text for each in own]) for first, own in found] == [([], [t, t]) for t in texts_of_pages]


@pytest.mark.parametrize(
    "text", ["Smith et al. 2019 {}", "{} ACME annual report", "QP-7\tPage {} of 9", "公司手册 第 {} 页"]
)
def test_headers_with_the_page_number_are_kept_once(text: str) -> None:
    pages = [page(n, (text.format(n + 10), 780), (f"Body {n}", 400)) for n in (1, 2, 3)]
    running = RunningLines()
    found = [running.split(pages[index], pages[index + 1 :]) for index in range(3)]
    assert [len(first) for first, _own in found] == [1, 0, 0]
    assert [len(own) for _first, own in found] == [1, 1, 1]


def test_rows_of_a_table_are_no_headers() -> None:
    pages = [page(n, *(("open\tyes", 780 - 14 * row) for row in range(5))) for n in (1, 2)]
    for each in pages:
        for row in each.lines:
            row.is_row = True
    first, own = RunningLines().split(pages[0], pages[1:])
    assert (len(first), len(own)) == (0, 5)
