"""Files of Office 97–2003."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb.errors import DamagedFile, UnsupportedFormat, WrongFormat
from kb.models import ParsedDocument
from kb.parsing import detect_media_type, media_types, parse_file
from tests.kb.parsing import parsing_samples as samples


def parse(folder: Path, name: str, content: bytes | str) -> ParsedDocument:
    return parse_file(samples.write(folder, "stored", content), name)


def test_old_word_reads_like_word(tmp_path: Path) -> None:
    content = samples.make_doc("第一条 保修期为三十天。\nSecond line.\n")
    for name in ("a.doc", "a.wps", "contract"):
        assert parse(tmp_path, name, content).text == "第一条 保修期为三十天。\n\nSecond line."
    with pytest.raises(WrongFormat, match="old Word"):
        parse(tmp_path, "a.xlsx", content)


@pytest.mark.parametrize("name", ["a.xls", "a.xlsb"])
def test_old_excel_shows_numbers_as_people_see_them(tmp_path: Path, name: str) -> None:
    rows: list[list[str | float]] = [
        ["地区", "Share", "Zip", "Date", "Count"],
        ["一线城市", 0.1275, 1067, 45356, 3.0],
        ["", 0.5, 99, 45357, 2.5],
    ]
    make = samples.make_xls if name == "a.xls" else samples.make_xlsb
    content = make(rows, ["General", "0.00%", "00000", 'yyyy"年"m"月"d"日"', "General"], (1, 2, 0, 0))
    document = parse(tmp_path, name, content)
    assert document.text == (
        "Rates\n地区: 一线城市; Share: 12.75%; Zip: 01067; Date: 2024年3月5日; Count: 3\n"
        "地区: 一线城市; Share: 50.00%; Zip: 00099; Date: 2024年3月6日; Count: 2.5"
    )
    assert [page.number for page in document.pages] == [1]
    assert document.has_whole_pages


def test_a_stray_cell_of_old_excel_costs_nothing(tmp_path: Path) -> None:
    rows = [["Key", "Value"], ["alpha", 1.0], *[[]] * 60_000, ["", "stray"]]
    content = samples.make_xls(rows, ["General"] * 2)  # type: ignore[arg-type]
    assert parse(tmp_path, "a.xls", content).text == "Rates\nKey: alpha; Value: 1\n\nstray".replace("\n\n", "\n")


@pytest.mark.parametrize(
    ("name", "content", "media_type", "text"),
    [
        (
            "a.xls",
            "<html><table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>",
            "HTML",
            "A: 1; B: 2",
        ),
        ("a.xls", "A\tB\n1\t2\n", "COMMA_SEPARATED", "A: 1; B: 2"),
        ("a.xls", samples.make_xlsx({"S": [["A", "B"], [1, 2]]}), "EXCEL", "S\nA: 1; B: 2"),
        ("a.doc", "<!DOCTYPE html><p>Words</p>", "HTML", "Words"),
        ("a.doc", "Words", "PLAIN", "Words"),
        ("a.xls", "<?xml version='1.0'?><Workbook>1</Workbook>", "XML", "<?xml version='1.0'?><Workbook>1</Workbook>"),
    ],
)
def test_files_with_the_names_of_others_are_read(
    tmp_path: Path, name: str, content: bytes | str, media_type: str, text: str
) -> None:
    assert parse(tmp_path, name, content).text == text
    assert detect_media_type(tmp_path / "stored", name) == getattr(media_types, media_type)


def test_a_stray_cell_of_binary_excel_costs_nothing(tmp_path: Path) -> None:
    content = samples.make_xlsb([["Key", "Value"], ["a", True], *[[]] * 5_000, [*[""] * 16_383, "far"]], ["General"])
    assert parse(tmp_path, "a.xlsb", content).text == "Rates\nKey: a; Value: TRUE\nfar"
    assert detect_media_type(tmp_path / "stored", "sheet") == media_types.BINARY_EXCEL


def test_old_powerpoint_says_what_to_do(tmp_path: Path) -> None:
    content = samples.make_ole({"PowerPoint Document": bytes(5_000)})
    with pytest.raises(UnsupportedFormat, match=r"save it as \.pptx"):
        parse(tmp_path, "a.ppt", content)


@pytest.mark.parametrize("name", ["a.doc", "a.xls", "a.msg"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    main = {"a.doc": "WordDocument", "a.xls": "Workbook", "a.msg": "__properties_version1.0"}[name]
    whole = samples.make_ole({main: bytes(5_000)})
    if name != "a.msg":
        with pytest.raises(DamagedFile):
            parse(tmp_path, name, whole)
    with pytest.raises(DamagedFile):
        parse(tmp_path, name, whole[:1_200] + main.encode("utf-16-le") + b"\0\0")


def test_comments_of_binary_workbooks(tmp_path: Path) -> None:
    content = samples.make_xlsb([["Key", "Value"], ["a", 1.5], ["b", 2]], ["General"] * 2, comment="From July: 15")
    assert parse(tmp_path, "a.xlsb", content).text.split("\n")[1] == "Key: a; Value: 1.5 [comment: From July: 15]"
    alone = samples.make_xlsb([["Key"], ["a"]], ["General"], comment="Count again")
    assert parse(tmp_path, "a.xlsb", alone).text == "Rates\nKey\na\n[comment: Count again]"
