"""Rich Text."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb.errors import BlankFile, WrongFormat
from kb.models import ParsedDocument
from kb.parsing import detect_media_type, media_types, parse_file
from tests.kb.parsing import parsing_samples as samples

HEAD = (
    r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset2 Symbol;}{\f2\fcharset134 SimSun;}}"
    r"{\colortbl;\red0\green0\blue0;}{\stylesheet{\s0 Normal;}{\s1\fs28 heading 1;}{\s5\outlinelevel1 Clause;}}"
    r"{\info{\title Rent}{\author Anna}}{\*\generator x;}" + "\n"
)


def parse(folder: Path, body: str, name: str = "a.rtf") -> ParsedDocument:
    return parse_file(samples.write(folder, "stored", HEAD + body + "}"), name)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"Caf\'e9 \u8364\'80 \u-10179?\u-8704? \{x\}\~y\_z \ldblquote q\rdblquote\par", "Café € 😀 {x} y-z “q”"),
        (r"{\f2 \'b1\'a3\'d0\'de}\uc2\u26399\'c6\'da a", "保修期 a"),
        (r"{\f1 a}5\u-3919 ?2 {\f1\'b0}C", "α5±2 °C"),
        (
            r"was 4,512{\super 1} million; 25 m{\super 2}, H{\sub 2}O, 10{\up6 6}",
            "was 4,512 [1] million; 25 m², H2O, 10^6",
        ),
        (r"Kept{\v hidden}{\deleted gone}{\pict\bin4 }}}} 00ff}{\*\unknown x}.", "Kept."),
        (
            r"See {\field{\*\fldinst HYPERLINK x}{\fldrslt here}}.{\footnote {\chftn} A note.}\par B",
            "See here. [1]\n\nB\n\n[1] A note.",
        ),
        (r"Cut to {\field{\*\fldinst { EQ \\f(3,4) }}{\fldrslt }} of it", "Cut to 3/4 of it"),
        (r"A{\*\annotation {\*\atnref 1}\pard Check.}\par", "A [comment: Check.]"),
        (r"{\header Doc QP-7\par}{\footer Owner\par Page 2\par}Text\par", "Doc QP-7\n\nText\n\nOwner"),
        (r"{\shp{\*\shpinst{\sp{\sn x}}{\shptxt In a box\par}}}Text", "In a box\n\nText"),
        ("a\\\nb\\par\r\nc\n d", "a\n\nb\n\nc d"),
    ],
)  # fmt: skip
def test_text_as_people_see_it(tmp_path: Path, body: str, text: str) -> None:
    assert parse(tmp_path, body).text == text


def test_headings_and_numbers_of_lists(tmp_path: Path) -> None:
    document = parse(
        tmp_path,
        r"\pard\s1 Scope\par\pard A\par\pard\s5{\listtext\pard\plain 2.2\tab}Checks\par\pard{\listtext\'b7\tab}Oil\par",
    )
    assert document.title == "Rent"
    assert document.text == "Scope\n\nA\n\n2.2 Checks\n\nOil"
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "Scope"), (2, "2.2 Checks")]


def test_tables_fill_merged_cells(tmp_path: Path) -> None:
    def row(first: str, *cells: str) -> str:
        texts = "".join(rf"\intbl {cell}\cell" for cell in cells)
        return rf"\trowd{first}\cellx1000\cellx2000\cellx3000\pard{texts}\row" + "\n"

    body = (
        r"\trowd\trhdr\cellx1000\cellx2000\cellx3000\pard\intbl Area\cell\intbl Grade\cell\intbl EUR\cell\row"
        + row(r"\clvmgf", "North", "Lead", "600") + row(r"\clvmrg", "", "Staff", "500")
        + r"\trowd\cellx2005\cellx3000\pard\intbl All areas\cell\intbl 1100\cell\row\pard After\par"
    )  # fmt: skip
    document = parse(tmp_path, body)
    assert document.text == (
        "Area: North; Grade: Lead; EUR: 600\nArea: North; Grade: Staff; EUR: 500\nArea: All areas; EUR: 1100\n\nAfter"
    )


def test_a_table_inside_of_a_cell(tmp_path: Path) -> None:
    inner = r"\itap2 Voltage\nestcell 230 V\nestcell{\*\nesttableprops\trowd\cellx1\nestrow}{\nonesttables\par}"
    body = rf"\trowd\cellx1000\cellx2000\pard\intbl Left\cell {inner}\itap1\cell\row\pard"
    assert parse(tmp_path, body).text == "Left | Voltage | 230 V"


def test_rich_text_under_other_names(tmp_path: Path) -> None:
    assert parse(tmp_path, "Words", "a.doc").text == "Words"
    assert detect_media_type(tmp_path / "stored", "letter") == media_types.RICH_TEXT
    with pytest.raises(BlankFile):
        parse(tmp_path, "")
    with pytest.raises(WrongFormat, match="Rich Text"):
        parse(tmp_path, "Words", "a.docx")


def test_unbalanced_and_endless_groups(tmp_path: Path) -> None:
    assert parse(tmp_path, "}}}}Words{{{").text == "Words"
    assert parse(tmp_path, "{" * 20_000 + r"Words\bin99999999 ").text == "Words"
