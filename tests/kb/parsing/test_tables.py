"""Rows of tables that can be understood alone."""

from __future__ import annotations

from itertools import count, islice

import pytest

from kb.columns import columns
from kb.parsing.tables import headed_lines, table_lines
from kb.parsing.tables.rows import SPANNED

S = SPANNED


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (
            [["Region", "2023", S, "2024", S], ["Region", "H1", "H2", "H1", "H2"], ["North", "10", "12", "14", "15"]],
            ["Region: North; 2023 H1: 10; 2023 H2: 12; 2024 H1: 14; 2024 H2: 15"],
        ),
        (
            [["Region", "2023", "", "2024", ""], ["", "H1", "H2", "H1", "H2"], ["North", "10", "12", "14", "15"]],
            ["Region: North; 2023 H1: 10; 2023 H2: 12; 2024 H1: 14; 2024 H2: 15"],
        ),
        ([["指标", "2021", "2022"], ["收入", "100", "200"]], ["指标: 收入; 2021: 100; 2022: 200"]),
        ([["", "2021年", "2022年"], ["收入", "100", "200"]], ["收入; 2021年: 100; 2022年: 200"]),
        ([["项目", "2023年收入", "2023 Plan"], ["甲", "5", "6"]], ["项目: 甲; 2023年收入: 5; 2023 Plan: 6"]),
        ([["员工", "2024-01", "2024-02"], ["张三", "3", "4"]], ["员工: 张三; 2024-01: 3; 2024-02: 4"]),
        (
            [["Stock list", "as of 2024-06-01"], ["By", "Kim"], ["SKU", "Name", "Qty"], ["A1", "Nut", "5"]],
            ["Stock list | as of 2024-06-01", "By | Kim", "SKU: A1; Name: Nut; Qty: 5"],
        ),
        (
            [["Sales 2024", S, S], ["Region", "H1", "H2"], ["North", "10", "12"]],
            ["Sales 2024", "Region: North; H1: 10; H2: 12"],
        ),
        ([["Name", "Score", "Score"], ["Ann", "3", "4"]], ["Name: Ann; Score (1): 3; Score (2): 4"]),
        (
            [["Part", "Weight", "Length"], ["", "kg", "mm"], ["A", "3", "4"], ["B", "5", "6"]],
            ["Part: A; Weight (kg): 3; Length (mm): 4", "Part: B; Weight (kg): 5; Length (mm): 6"],
        ),
        (
            [["Name", "Age", "", "City", "Pop"], ["Ann", "3", "", "Rome", "100"], ["Bob", "4", "", "Ulm", "7"]],
            ["Name: Ann; Age: 3", "Name: Bob; Age: 4", "City: Rome; Pop: 100", "City: Ulm; Pop: 7"],
        ),
        (
            [["a", "b", "", "", ""], ["1", "2", "", "c", "d"], ["3", "4", "", "5", "6"], ["7", "8", "", "9", "0"]],
            ["a: 1; b: 2", "a: 3; b: 4", "a: 7; b: 8", "c: 5; d: 6", "c: 9; d: 0"],
        ),
        (
            [["Name", "Anna", "Bob"], ["Age", "30", "25"], ["City", "Berlin", "Paris"]],
            ["Name: Anna; Age: 30; City: Berlin", "Name: Bob; Age: 25; City: Paris"],
        ),
        (
            [["Item", "Price", "Stock"], ["Fruit", S, S], ["Apple", "1.20", "5"]],
            ["Fruit", "Item: Apple; Price: 1.20; Stock: 5"],
        ),
        (
            [["Item", "2022", "2023"], ["Tea", "3", "4"], ["Item", "Price", "Stock"], ["Nut", "7", "8"]],
            ["Item: Tea; 2022: 3; 2023: 4", "Item: Nut; Price: 7; Stock: 8"],
        ),
        (
            [["", "2023", "", "", "", "2022"], ["", "In", "Out", "", "In", "Out"], ["North", "1", "2", "", "3", "4"]],
            ["North; 2023 In: 1; 2023 Out: 2; 2022 In: 3; 2022 Out: 4"],
        ),
        (
            [["EUR m", "2023"], ["", "Sales", "Loss"], [], ["North", "10", "(2)"], ["South", "12", "(1)"]],
            ["EUR m: North; 2023 Sales: 10; 2023 Loss: (2)", "EUR m: South; 2023 Sales: 12; 2023 Loss: (1)"],
        ),
        (
            [["Customer", "Kim"], [], ["A1", "Nut", "5"], ["A2", "Bolt", "7"]],
            ["Customer | Kim", "A1 | Nut | 5", "A2 | Bolt | 7"],
        ),
        (
            [["plant", "site", "bloom"], ["Rose", "Sun", "June"], ["Fern", "Shade", "None"]],
            ["plant: Rose; site: Sun; bloom: June", "plant: Fern; site: Shade; bloom: None"],
        ),
        (
            [["PLANT", "SITE", "BLOOM"], ["Rose", "sun", "June"], ["Fern", "shade", "none"]],
            ["PLANT: Rose; SITE: sun; BLOOM: June", "PLANT: Fern; SITE: shade; BLOOM: none"],
        ),
        ([["A1", "Nut", "5"], ["A2", "Bolt", "7"]], ["A1 | Nut | 5", "A2 | Bolt | 7"]),
        (
            [["Anna", "Berlin", "Engineer"], ["Bob", "Paris", "Lawyer"]],
            ["Anna | Berlin | Engineer", "Bob | Paris | Lawyer"],
        ),
        ([["负责人", "张三"], ["单位", "某公司"]], ["负责人 | 张三", "单位 | 某公司"]),
        ([["Name", "Anna"], ["Phone", "123"], ["Zip", "0123"]], ["Name | Anna", "Phone | 123", "Zip | 0123"]),
        (
            [["Programme", "2021", "2022"], ["Rail", "planned", "running"], ["Road", "running", "closed"]],
            ["Programme: Rail; 2021: planned; 2022: running", "Programme: Road; 2021: running; 2022: closed"],
        ),
        (
            [["姓名", "周一", "周二", "周三"], ["张三", "早班", "晚班", "休息"], ["李四", "休息", "早班", "晚班"]],
            ["姓名: 张三; 周一: 早班; 周二: 晚班; 周三: 休息", "姓名: 李四; 周一: 休息; 周二: 早班; 周三: 晚班"],
        ),
        (
            [["Ann", "2019", "2021"], ["Bob", "2018", "2020"], ["Eve", "2011", "2013"]],
            ["Ann | 2019 | 2021", "Bob | 2018 | 2020", "Eve | 2011 | 2013"],
        ),
        (
            [
                ["Prices", "", "", "valid from 2024-01-01"],
                ["Item", "Size", "Colour", "Price"],
                ["Hat", "M", "red", "5"],
            ],
            ["Prices |  |  | valid from 2024-01-01", "Item: Hat; Size: M; Colour: red; Price: 5"],
        ),
        (
            [["Pos.", "Item", "Qty."], ["1", "Nut", "5"], ["2", "Bolt", "7"], ["Total", "", "12"], ["Source: ERP"]],
            ["Pos.: 1; Item: Nut; Qty.: 5", "Pos.: 2; Item: Bolt; Qty.: 7", "Total; Qty.: 12", "Source: ERP"],
        ),
        (
            [["Feature", "Basic", "Pro"], ["Users", "1", "10"], ["Help", "email", "phone"], ["Price", "0", "9"]],
            [
                "Feature: Users; Basic: 1; Pro: 10",
                "Feature: Help; Basic: email; Pro: phone",
                "Feature: Price; Basic: 0; Pro: 9",
            ],
        ),
        ([["Name", "", "Date"], ["Dept", "", "Signature"]], ["Name |  | Date", "Dept |  | Signature"]),
        (
            [["姓名", *"123456"], ["姓名", *"五六日一二三"], ["张三", "8", "8", "√", "8", "假", "8"]],
            ["姓名: 张三; 1 五: 8; 2 六: 8; 3 日: √; 4 一: 8; 5 二: 假; 6 三: 8"],
        ),
        (
            [["Name", "3/1", "3/2", "3/3"], ["Ann", "late", "off", "early"], ["Bob", "off", "early", "late"]],
            ["Name: Ann; 3/1: late; 3/2: off; 3/3: early", "Name: Bob; 3/1: off; 3/2: early; 3/3: late"],
        ),
        (
            [["Name", "Q1 2023", "Q2 2023"], ["Ann", "3", "4"], ["Name", "Q1 2024", "Q2 2024"], ["Ann", "5", "6"]],
            ["Name: Ann; Q1 2023: 3; Q2 2023: 4", "Name: Ann; Q1 2024: 5; Q2 2024: 6"],
        ),
        ([["a", "1", "2", "3"], ["b", "2", "4", "6"]], ["a | 1 | 2 | 3", "b | 2 | 4 | 6"]),
        (
            [["Date", "Morning", "Noon"], ["2024-01-01", "closed", S], ["2024-01-02", "tea", "soup"]],
            ["Date: 2024-01-01; Morning / Noon: closed", "Date: 2024-01-02; Morning: tea; Noon: soup"],
        ),
        (
            [["年龄", "0-17", "18-59", "60+"], ["男", "5", "10", "3"], ["女", "4", "11", "4"]],
            ["年龄: 男; 0-17: 5; 18-59: 10; 60+: 3", "年龄: 女; 0-17: 4; 18-59: 11; 60+: 4"],
        ),
        (
            [
                ["Item", "Q1", "Q1", "Q2", "Q2"],
                ["Item", "Units", "Sales", "Units", "Sales"],
                ["Tea", "5", "50", "6", "60"],
            ],
            ["Item: Tea; Q1 Units: 5; Q1 Sales: 50; Q2 Units: 6; Q2 Sales: 60"],
        ),
        (
            [["Name", "Time", S, "Firm"], ["Ann", "2012", S, "Birch"], ["Bob", "2015", S, "Elm"]],
            ["Name: Ann; Time: 2012; Firm: Birch", "Name: Bob; Time: 2015; Firm: Elm"],
        ),
        ([["", "", "", "", "", "", "far"]], ["far"]),
        ([[S, S], ["", " "], []], []),
    ],
)
def test_header_is_found_by_what_the_cells_hold(rows: list[list[str]], lines: list[str]) -> None:
    assert list(table_lines(rows)) == lines


def test_header_that_the_file_names() -> None:
    rows = [["Anna", "Berlin"], ["Bob", "Paris"]]
    assert list(table_lines(rows, header=1)) == ["Anna: Bob; Berlin: Paris"]
    assert list(table_lines([["Group", "Age"], ["A", "x"]], header=2)) == ["Group: A; Age: x"]


def test_tables_for_readers_have_headers() -> None:
    rows = [["Anna", "Berlin", "Engineer"], ["Bob", "Paris", "Lawyer"]]
    assert list(table_lines(rows, is_assumed=True)) == ["Anna: Bob; Berlin: Paris; Engineer: Lawyer"]


def test_long_rows_repeat_their_key() -> None:
    header = ["Employee", *(f"Question {n}" for n in range(60))]
    rows = [[name, *(f"{name} answers question {n}" for n in range(60))] for name in ("Anna", "Carl")]
    lines = list(table_lines([header, *rows]))
    assert len(lines) > 4
    assert all(line.startswith(("Employee: Anna; ", "Employee: Carl; ")) for line in lines)
    assert max(map(columns, lines)) < 850
    assert sum(line.count("Question 37: ") for line in lines) == 2


def test_long_cell_is_cut_after_sentences() -> None:
    lines = list(table_lines([["Name", "Note"], ["Anna", "She agreed. " * 200]], header=1))
    assert len(lines) > 2
    assert all(line.startswith("Name: Anna; Note: She agreed.") for line in lines)
    assert all(columns(line) < 850 for line in lines)


def test_first_row_that_may_be_a_header_comes_back_in_a_long_table() -> None:
    syllables = ["ba", "de", "gi", "ko", "lu", "ma", "ne"]
    words = [f"{a}{b}{c}" for a in syllables for b in syllables for c in syllables]
    rows = [["sonst", "nirgends", "benannt"], *map(list, zip(words[:-2:3], words[1:-1:3], words[2::3], strict=True))]
    lines = list(table_lines(rows))
    assert lines[:2] == ["sonst | nirgends | benannt", "bababa | babade | babagi"]
    assert lines.count(lines[0]) > 1
    assert sorted(set(lines)) == sorted(" | ".join(row) for row in rows)


def test_endless_tables_side_by_side_are_read_as_one() -> None:
    rows = (["Name", "Age", "", "City", "Pop"] if n == 0 else ["Ann", "3", "", "Rome", "1"] for n in count())
    assert list(islice(table_lines(rows), 2)) == ["Name: Ann; Age: 3; City: Rome; Pop: 1"] * 2


def test_names_of_empty_columns_are_kept() -> None:
    assert list(table_lines([["Name", "Date", "Signature"], ["Anna"], ["Bob"]], header=1)) == [
        "Name: Anna",
        "Name: Bob",
        "Date | Signature",
    ]


def test_rows_that_are_alike_are_all_kept() -> None:
    assert list(table_lines([["x", "x", "x"]] * 500)) == ["x | x | x"] * 500


def test_long_table_of_a_page_repeats_its_header() -> None:
    rows = [["Valve", "Pressure"], *([f"V-{n}", f"{n} bar"] for n in range(200))]
    lines = list(headed_lines(rows))
    assert lines[:2] == ["Valve\tPressure", "V-0\t0 bar"]
    assert lines.count("Valve\tPressure") > 2
    assert list(headed_lines([["1", "2"], ["3", "4"], ["5", "6"]])) == ["1\t2", "3\t4", "5\t6"]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (
            [
                ["员工登记表", S, S, S],
                ["姓名", "王芳", "性别", "女"],
                ["出生日期", "1990-03-07", "部门", "研发部"],
                ["地址", "上海", S, S],
            ],
            ["员工登记表", "姓名: 王芳; 性别: 女", "出生日期: 1990-03-07; 部门: 研发部", "地址: 上海"],
        ),
        (
            [["Company:", "Birch", "", "Contact:", "Ann"], ["Phone:", "555-1", "", "Fax:", ""]],
            ["Company: Birch; Contact: Ann", "Phone: 555-1; Fax:"],
        ),
        (
            [
                ["Name", "Ann", "City", "Rome"],
                ["Phone", "5", "Email", "a@b.c"],
                ["Item", "Qty", "Price"],
                ["Nut", "5", "7"],
            ],
            ["Name: Ann; City: Rome", "Phone: 5; Email: a@b.c", "Item: Nut; Qty: 5; Price: 7"],
        ),
    ],
)
def test_form_names_each_field(rows: list[list[str]], lines: list[str]) -> None:
    assert list(table_lines(rows)) == lines


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (
            [
                ["甲方：", "某公司", "乙方：", "张三"],
                ["代表：", "李四", "证号：", "310"],
                ["日期：", "5月1日", "日期：", "5月2日"],
            ],
            ["甲方: 某公司; 代表: 李四; 日期: 5月1日", "乙方: 张三; 证号: 310; 日期: 5月2日"],
        ),
        (
            [["Seal:", "", "Seal:"], ["Signed:", "", "Signed:"]],
            ["Seal:; Signed:", "Seal:; Signed:"],
        ),
        (
            [["Employer", "Employee"], ["Name: Jane", "Name: John"], ["Date: 3 May", "Date: 4 May"]],
            ["Employer; Name: Jane; Date: 3 May", "Employee; Name: John; Date: 4 May"],
        ),
        ([["Name: Ann", "Full time"], ["Address", "1 Elm St"]], ["Name: Ann | Full time", "Address | 1 Elm St"]),
        (
            [["Invoice No.", "24-118", "Date", "2024-06-01"], ["Terms", "30 days net", "Currency", "EUR"]],
            ["Invoice No.: 24-118; Date: 2024-06-01", "Terms: 30 days net; Currency: EUR"],
        ),
    ],
)
def test_what_two_parties_fill_in_is_kept_apart(rows: list[list[str]], lines: list[str]) -> None:
    assert list(table_lines(rows, is_assumed=True)) == lines


@pytest.mark.parametrize(
    "rows",
    [
        [["Name", "Dept", "City", "Phone"], ["Ann", "HR", "Rome", "5551"], ["Bob", "IT", "Bonn", "5552"]],
        [["Category", "Gold", "Silver", "Bronze"], ["Status", "active", "idle", "none"], ["Price", "10", "5", "1"]],
    ],
)
def test_tables_of_four_columns_are_no_forms(rows: list[list[str]]) -> None:
    assert f"{rows[0][0]}: {rows[0][1]}; {rows[0][2]}: {rows[0][3]}" not in list(table_lines(rows))


def test_totals_do_not_take_the_name_of_a_column() -> None:
    rows = [["Item", "Unit price", "Amount"], ["Nut", "3", "30"], ["", "Subtotal", "30"], ["", "VAT 19%", "5.7"]]
    assert list(table_lines(rows)) == [
        "Item: Nut; Unit price: 3; Amount: 30",
        "Subtotal; Amount: 30",
        "VAT 19%; Amount: 5.7",
    ]


def test_tables_below_each_other_have_their_own_headers() -> None:
    rows = [
        *(["Pumps"], ["Model", "Flow", "Price"], ["P1", "10", "100"], ["P2", "20", "200"]),
        *(["Motors"], ["Model", "Power (kW)", "Price"], ["M1", "1.5", "150"], ["M2", "2.2", "190"]),
    ]
    assert list(table_lines(rows)) == [
        *("Pumps", "Model: P1; Flow: 10; Price: 100", "Model: P2; Flow: 20; Price: 200"),
        *("Motors", "Model: M1; Power (kW): 1.5; Price: 150", "Model: M2; Power (kW): 2.2; Price: 190"),
    ]


def test_header_longer_than_a_chunk_is_not_repeated() -> None:
    rows = [["a", *["b"] * 3_000], ["c", *["d"] * 3_000]]  # each piece of the second row had the whole first one above
    assert sum(map(len, table_lines(rows))) < 40_000
