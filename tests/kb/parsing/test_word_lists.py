"""The automatic numbers of lists."""

from __future__ import annotations

from typing import Any

import pytest
from docx.oxml import parse_xml

from kb.parsing.numerals import count
from kb.parsing.office.word_lists import WordNumbers

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


@pytest.mark.parametrize(
    ("style", "numbers", "texts"),
    [
        ("decimal", (1, 12), "1 12"),
        ("decimalZero", (1, 12), "01 12"),
        ("upperRoman", (4, 19, 1999), "IV XIX MCMXCIX"),
        ("lowerRoman", (3,), "iii"),
        ("lowerLetter", (1, 26, 27), "a z aa"),
        ("chineseCountingThousand", (3, 10, 12, 20, 105, 110), "三 十 十二 二十 一百零五 一百一十"),
        ("japaneseCounting", (11, 12345), "十一 一万二千三百四十五"),
        ("chineseLegalSimplified", (3, 12), "叁 壹拾贰"),
        ("ideographTraditional", (1, 3), "甲 丙"),
        ("decimalEnclosedCircle", (1, 21, 60), "① ㉑ 60"),
        ("decimalFullWidth", (15,), "１５"),
        ("ganada", (2,), "나"),
        ("ordinal", (1, 2, 3, 11, 22), "1st 2nd 3rd 11th 22nd"),
        ("ordinalText", (1, 12, 20, 45), "First Twelfth Twentieth Forty-fifth"),
        ("cardinalText", (7, 21), "Seven Twenty-one"),
        ("unheardOf", (5,), "5"),
        ("upperRoman", (0,), "0"),
    ],
)
def test_count(style: str, numbers: tuple[int, ...], texts: str) -> None:
    assert " ".join(count(number, style) for number in numbers) == texts


def level(index: int, text: str, style: str = "decimal", more: str = "") -> str:
    counted = f'<w:start w:val="1"/><w:numFmt w:val="{style}"/>{more}<w:lvlText w:val="{text}"/>'
    return f'<w:lvl w:ilvl="{index}">{counted}</w:lvl>'


def kind(*levels: str) -> str:
    return f'<w:abstractNum w:abstractNumId="0">{"".join(levels)}</w:abstractNum>'


def numbers(abstract: str, lists: str, styles: str = "") -> WordNumbers:
    numbering = parse_xml(f'<w:numbering xmlns:w="{_W}">{abstract}{lists}</w:numbering>')
    parsed = parse_xml(f'<w:styles xmlns:w="{_W}">{styles}</w:styles>')
    by_id: dict[str, Any] = {style.get(f"{{{_W}}}styleId"): style for style in parsed}
    return WordNumbers(numbering, by_id)


def paragraph(list_id: str = "", index: int = 0, style: str = "") -> Any:
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    own = f'<w:numPr><w:ilvl w:val="{index}"/><w:numId w:val="{list_id}"/></w:numPr>' if list_id else ""
    return parse_xml(f'<w:p xmlns:w="{_W}"><w:pPr>{named}{own}</w:pPr></w:p>')


def test_levels_count_under_each_other() -> None:
    abstract = kind(level(0, "第%1章", "chineseCounting"), level(1, "%1.%2", more="<w:isLgl/>"))
    found = numbers(abstract, '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>')
    places = (0, 1, 1, 0, 1)
    assert [found.next(paragraph("1", index)) for index in places] == ["第一章 ", "1.1 ", "1.2 ", "第二章 ", "2.1 "]


def test_lists_of_one_kind_continue_unless_they_start_anew() -> None:
    abstract = kind(level(0, "%1."))
    override = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride>'
    lists = "".join(
        f'<w:num w:numId="{n}"><w:abstractNumId w:val="0"/>{more}</w:num>'
        for n, more in ((1, ""), (2, ""), (3, override))
    )
    found = numbers(abstract, lists)
    assert [found.next(paragraph(each)) for each in "11233"] == ["1. ", "2. ", "3. ", "5. ", "6. "]


def test_number_of_a_style() -> None:
    named = '<w:pStyle w:val="Two"/>'
    abstract = kind(level(0, "%1"), level(1, "%1.%2", more=named))
    in_style = '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr>'
    styles = f'<w:style w:styleId="One">{in_style}</w:style><w:style w:styleId="Two">{in_style}</w:style>'
    styles += '<w:style w:styleId="Child"><w:basedOn w:val="One"/></w:style>'
    found = numbers(abstract, '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>', styles)
    assert [found.next(paragraph(style=style)) for style in ("One", "Two", "Child", "None")] == ["1 ", "1.1 ", "2 ", ""]
    assert found.next(paragraph("0", style="One")) == ""


def test_bullets_and_unknown_lists_have_no_number() -> None:
    abstract = kind(level(0, "•", "bullet"))
    found = numbers(abstract, '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>')
    assert [found.next(paragraph(each)) for each in ("1", "7", "")] == ["", "", ""]
