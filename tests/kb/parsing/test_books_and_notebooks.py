"""E-books and notebooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kb.errors import DamagedFile, PasswordProtected
from kb.models import ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing import parse_file
from kb.parsing.text.notebook import _LONGEST_OUTPUT
from tests.kb.parsing import parsing_samples as samples


def parse(folder: Path, name: str, content: bytes | str) -> ParsedDocument:
    return parse_file(samples.write(folder, "stored", content), name)


def titles(document: ParsedDocument) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


# --- e-books ---


def test_chapters_of_a_book_come_in_order_with_their_titles(tmp_path: Path) -> None:
    chapters = {
        "z%20one.xhtml": "<html><head><title>x</title></head><body><p>Refunds take 14 days.</p></body></html>",
        "a.xhtml": '<?xml version="1.0" encoding="gb2312"?><html><body><h2>第二章</h2><p>Rent</p></body></html>',
        "b.xhtml": "<html><body><p>No title</p></body></html>",
    }
    document = parse(tmp_path, "a.epub", samples.make_epub(chapters, {"z%20one.xhtml": "第一章", "a.xhtml": "Second"}))
    assert document.title == "规章"
    assert document.text == "第一章\nRefunds take 14 days.\n\n第二章\nRent\n\nNo title".replace("章\n", "章\n\n")
    assert titles(document) == [(1, "第一章"), (2, "第二章")]


def test_sections_of_a_book_get_their_titles_from_its_contents(tmp_path: Path) -> None:
    chapters = {"a.xhtml": '<html><body><p>Pump.</p><p id="s">Oil it.</p></body></html>'}
    chapters["b.xhtml"] = '<html><body><p class="t">Care</p><p>Clean it.</p></body></html>'
    contents = {"a.xhtml": "Parts", "a.xhtml#s": "Oil", "b.xhtml": "Care"}
    document = parse(tmp_path, "a.epub", samples.make_epub(chapters, contents))
    assert document.text.split() == ["Parts", "Pump.", "Oil", "Oil", "it.", "Care", "Clean", "it."]
    assert [title for _level, title in titles(document)] == ["Parts", "Oil", "Care"]


def test_a_damaged_chapter_is_left_out(tmp_path: Path) -> None:
    chapters = {f"{name}.xhtml": f"<html><body><p>Chapter {name}</p></body></html>" for name in "abc"}
    content = bytearray(samples.make_epub(chapters, {}))
    start = content.index(b"Chapter b") if b"Chapter b" in content else content.index(b"OEBPS/b.xhtml") + 20
    content[start : start + 9] = b"\xff" * 9
    document = parse(tmp_path, "a.epub", bytes(content))
    assert document.text == "Chapter a\n\nChapter c"
    assert document.notes == (Note(NoteKind.DAMAGED_PARTS, 1, (), ("b.xhtml",)),)


def test_a_book_of_many_chapters(tmp_path: Path) -> None:
    chapters = {f"{number}.xhtml": f"<p>Text {number}</p>" for number in range(500)}
    document = parse(tmp_path, "a.epub", samples.make_epub(chapters, {name: name for name in chapters}))
    assert len(document.headings) == 500
    assert document.text.endswith("499.xhtml\n\nText 499")


@pytest.mark.parametrize(("locked", "is_read"), [("OEBPS/font.otf", True), ("OEBPS/a.xhtml", False)])
def test_a_book_whose_chapters_are_encrypted(tmp_path: Path, locked: str, is_read: bool) -> None:
    encryption = f'<encryption><EncryptedData><CipherReference URI="{locked}"/></EncryptedData></encryption>'
    content = samples.make_epub({"a.xhtml": "<p>Words</p>"}, {}, {"META-INF/encryption.xml": encryption})
    if is_read:
        assert parse(tmp_path, "a.epub", content).text == "Words"
    else:
        with pytest.raises(PasswordProtected):
            parse(tmp_path, "a.epub", content)


def test_a_book_without_contents_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile):
        parse(tmp_path, "a.epub", samples.make_zip({"mimetype": "application/epub+zip"}))


# --- notebooks ---


def notebook(*cells: dict[str, Any]) -> str:
    return json.dumps({"cells": list(cells), "nbformat": 4})


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": list(outputs)}


def test_outputs_that_only_a_browser_shows(tmp_path: Path) -> None:
    html = {"text/html": "<b>Loss</b> 0.35", "text/plain": "<IPython.core.display.HTML object>"}
    value = {"application/json": {"k": 8}, "text/plain": "<IPython.core.display.JSON object>"}
    text = notebook(code("a", {"data": html}, {"data": value}))
    assert parse(tmp_path, "a.ipynb", text).text.split("\n\n") == ["a", "Loss 0.35", '{"k": 8}']


def test_cells_of_a_notebook_with_their_outputs(tmp_path: Path) -> None:
    page = "<table><tr><th></th><th>EUR</th></tr><tr><th>May</th><td>990</td></tr></table>"
    text = notebook(
        {"cell_type": "markdown", "source": ["# Rent\n", "See ![a](data:image/png;base64," + "A" * 300 + ")"]},
        code("df = read()\ndf", {"data": {"text/html": [page], "text/plain": "     EUR\n0    990"}}),
        code("run()", {"output_type": "stream", "text": ["10%\r", "100%\n", "\x1b[32mdone\x1b[0m\n"]}),
        code("x", {"output_type": "error", "ename": "NameError", "evalue": "x", "traceback": ["\x1b[0m…"]}),
        code("plot()", {"data": {"image/png": "A" * 1_000, "text/plain": "<Figure>"}}),
    )
    document = parse(tmp_path, "a.ipynb", text)
    lines = [line for line in document.text.split("\n") if line]
    assert lines[0] == "# Rent"
    assert "AAAA" not in document.text
    assert lines[2:] == [
        *("df = read()", "df", "May; EUR: 990", "run()", "100%", "done"),
        *("x", "NameError: x", "plot()", "<Figure>"),
    ]
    assert titles(document) == [(1, "Rent")]


def test_long_outputs_are_cut_with_a_note(tmp_path: Path) -> None:
    output = {"output_type": "stream", "text": ["0.123456789\n"] * 50_000}
    document = parse(tmp_path, "a.ipynb", notebook(code("run()", output), code("again()", output)))
    assert 2 * _LONGEST_OUTPUT < len(document.text) < 2 * _LONGEST_OUTPUT + 100
    assert document.notes == (Note(NoteKind.CUT_OUTPUTS, 2),)


def test_a_notebook_of_format_3(tmp_path: Path) -> None:
    cells = [{"cell_type": "heading", "level": 2, "source": "Rent"}, {"cell_type": "code", "input": "a", "outputs": [
        {"output_type": "pyout", "text": "990"}]}]  # fmt: skip
    document = parse(tmp_path, "a.ipynb", json.dumps({"worksheets": [{"cells": cells}]}))
    assert (document.text, titles(document)) == ("Rent\n\na\n\n990", [(2, "Rent")])


@pytest.mark.parametrize("text", ['{"a": 1}', "[]", "no JSON", "[" * 100_000, '{"cells": 3}'])
def test_what_is_no_notebook(tmp_path: Path, text: str) -> None:
    with pytest.raises(DamagedFile):
        parse(tmp_path, "a.ipynb", text)
