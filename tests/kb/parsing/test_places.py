"""Each line's box is where people see the line on its page."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from numpy.typing import NDArray
from PIL import Image
from pypdf import PdfReader, PdfWriter

from kb.models import ParsedDocument
from kb.parsing import Limits, ParserProcess, detect_media_type, joined, parse_file
from kb.ranges import read_ranges
from tests.kb.parsing import parsing_samples as samples

_DARK = 128


def boxes(document: ParsedDocument) -> dict[str, tuple[float, float, float, float]]:
    return {
        document.text[line.start : line.end]: (line.left, line.top, line.right, line.bottom) for line in document.lines
    }


def ink(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The places of dark pixels, as fractions of width and height."""
    rows, columns = np.nonzero(image < _DARK)
    return np.stack([(columns + 0.5) / image.shape[1], (rows + 0.5) / image.shape[0]], axis=1)


def drawn(content: bytes) -> NDArray[np.float64]:
    with pypdfium2.PdfDocument(content) as document:
        return ink(np.asarray(document[0].render(scale=2).to_pil().convert("L")))


def inside(places: NDArray[np.float64], box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    left, top, right, bottom = box
    x, y = places[:, 0], places[:, 1]
    return (left <= x) & (x <= right) & (top <= y) & (y <= bottom)


def turned(content: bytes, angle: int) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(content)))
    writer.pages[0].rotate(angle)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_line_of_a_pdf_is_where_its_letters_are_drawn(angle: int, tmp_path: Path) -> None:
    content = turned(samples.make_pdf(["The contract"]), angle)
    document = parse_file(samples.write(tmp_path, "a.pdf", content), "a.pdf")
    (box,) = boxes(document).values()
    places = drawn(content)
    assert inside(places, box).all()
    margins = np.abs(np.array(box) - [*places.min(axis=0), *places.max(axis=0)])
    assert margins.max() < 0.02


@pytest.mark.parametrize("angle", [0, 3, 180, 270])
def test_a_recognised_line_is_where_it_stands_in_the_image(angle: int, tmp_path: Path) -> None:
    content = samples.make_scan(angle=angle)
    document = parse_file(samples.write(tmp_path, "a.pdf", content), "a.pdf")
    places = drawn(content)
    found = boxes(document)
    covered = np.any([inside(places, box) for box in found.values()], axis=0)
    if angle == 3:  # the corners of the sheet are dark
        covered = covered[np.abs(places - 0.5).max(axis=1) < 0.4]
    assert covered.mean() > 0.95
    with Image.open(samples.SCAN) as image:
        upright = ink(np.asarray(image.convert("L")))
    if angle == 0:
        assert inside(upright, found["租赁合同"]).any()


def test_boxes_follow_the_text_through_parts_and_ranges(tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a.pdf", samples.make_pdf([f"Page number {page} of the book" for page in range(3)]))
    whole = parse_file(path, "a.pdf")
    texts = [whole.text[line.start : line.end] for line in whole.lines]
    assert texts == [f"Page number {page} of the book" for page in range(3)]
    with ParserProcess(2048) as process:
        parts = process.parse(
            path, "a.pdf", detect_media_type(path, "a.pdf"), Limits(60, 60), None, is_cancelled=lambda: False
        )
        (stretch,) = read_ranges(parts)
    assert stretch.document.lines == whole.lines == joined([whole]).lines
