"""Scanned pages: their text is read from the image, by the real models."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pypdfium2
import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter

from kb.errors import DamagedFile, KbError, PictureTooLarge, WrongFormat
from kb.models import ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing import Limits, ParserProcess, detect_media_type, joined, media_types, parse_file, parse_source
from kb.parsing.builder import Source
from kb.parsing.images import ocr
from kb.parsing.images.picture import _pixels
from kb.parsing.images.scans import MAX_PIXELS, render
from kb.parsing.media_types import JPEG, PNG, TIFF, WEBP
from tests.kb.parsing import parsing_samples as samples

LINES = [
    "租赁合同",
    "第三条租金为每月4,512元，于每月五日前支付。",
    "The rent is due on the fifth day of each month.",
    "楼层\t面积\tPrice",
    "2\t86.5\t1,250.00",
    "3\t102\t980.00",
]


def parse(folder: Path, *files: bytes) -> ParsedDocument:
    return parse_file(samples.write(folder, "a.pdf", joined_pdf(*files)), "a.pdf")


def joined_pdf(*files: bytes) -> bytes:
    writer = PdfWriter()
    for file in files:
        writer.append(PdfReader(io.BytesIO(file)))
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def lines(document: ParsedDocument) -> list[str]:
    return [line for line in document.text.splitlines() if line]


def test_scanned_pages_are_recognised_among_others(tmp_path: Path) -> None:
    document = parse(tmp_path, samples.make_pdf(["Contract"]), samples.make_scan(), samples.make_pdf([None, "Signed"]))
    assert lines(document) == ["Contract", *LINES, "Signed"]
    assert document.notes == (Note(NoteKind.RECOGNISED, 1, (2,)), Note(NoteKind.IMAGES_ONLY, 1, (3,)))
    assert document.text[: document.pages[2].start].rstrip().endswith("980.00")


@pytest.mark.parametrize("angle", [180, 270])
def test_turned_scans_are_read_upright(tmp_path: Path, angle: int) -> None:
    assert lines(parse(tmp_path, samples.make_scan(angle=angle))) == LINES


def test_crooked_scans_keep_their_rows(tmp_path: Path) -> None:
    assert lines(parse(tmp_path, samples.make_scan(angle=3)))[-2:] == LINES[-2:]


def test_text_on_a_scan_is_kept_once(tmp_path: Path) -> None:
    document = parse(tmp_path, samples.make_scan("Scanned on 4 May 2024"))
    assert document.text.count("Scanned on 4 May 2024") == 1
    assert set(LINES) < set(lines(document))
    assert document.notes == (Note(NoteKind.RECOGNISED, 1, (1,)),)


def test_a_page_that_takes_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "_MAX_CPU_SECONDS", 0)
    document = parse(tmp_path, samples.make_pdf(["Contract"]), samples.make_scan(), samples.make_pdf(["Signed"]))
    assert (lines(document), document.notes) == (["Contract", "Signed"], (Note(NoteKind.SKIPPED, 1, (2,)),))


def test_a_failure_of_the_library_leaves_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError

    monkeypatch.setattr(ocr, "import_rapidocr", fail)
    ocr._engine.cache_clear()
    document = parse(tmp_path, samples.make_pdf(["Contract"]), samples.make_scan())
    assert document.notes == (Note(NoteKind.IMAGES_ONLY, 1, (2,)),)


@pytest.mark.parametrize("name", ["a.pdf", "a.png"])
def test_no_page_is_recognised_twice(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = joined_pdf(samples.make_pdf(["Contract"]), samples.make_scan()) if name == "a.pdf" else picture("PNG")
    path = samples.write(tmp_path, name, content)
    source = Source(path, name, detect_media_type(path, name), recognised=tmp_path / "kept")
    first = joined(parse_source(source))
    assert set(LINES) <= set(lines(first))
    with (tmp_path / "kept").open("a") as file:
        file.write('\n{"page": 3, "lines": [')  # as a kill may leave it

    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(ocr, "read_image", fail)
    assert joined(parse_source(source)) == first


def test_pages_that_another_release_recognised_are_read_again(tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a.pdf", samples.make_scan())
    (tmp_path / "kept").write_text('{"by": "rapidocr 1.0, 1", "page": 1, "height": 1, "lines": []}')
    document = joined(parse_source(Source(path, "a.pdf", media_types.PDF, recognised=tmp_path / "kept")))
    assert lines(document) == LINES


def test_recognition_can_be_switched_off(tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a.pdf", joined_pdf(samples.make_pdf(["Contract"]), samples.make_scan()))
    document = joined(parse_source(Source(path, "a.pdf", media_types.PDF, reads_images=False)))
    assert (document.text, document.notes) == ("Contract", (Note(NoteKind.IMAGES_ONLY, 1, (2,)),))


def test_the_process_tells_of_progress_and_ends_afterwards(tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a.pdf", samples.make_scan())
    reports: list[tuple[int, int]] = []
    before = children()  # of other tests, too
    with ParserProcess(2048) as process:
        parts = process.parse(
            path,
            "a.pdf",
            detect_media_type(path, "a.pdf"),
            Limits(60, 60),
            lambda done, total: reports.append((done, total)),
            lambda: False,
        )
        assert lines(joined(parts)) == LINES
        assert reports.count((0, 1)) > len(LINES)
        assert children() <= before


def children() -> set[psutil.Process]:
    return {each for each in psutil.Process().children() if "kb.parsing.child" in each.cmdline()}


def picture(kind: str, mode: str = "L", **options: Any) -> bytes:
    buffer = io.BytesIO()
    with Image.open(samples.SCAN) as image:
        image.convert("L").convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def test_pictures_are_read(tmp_path: Path) -> None:
    document = parse_file(samples.write(tmp_path, "a", picture("PNG", "RGBA")), "a.JPG")
    assert lines(document) == LINES
    assert document.notes == (Note(NoteKind.RECOGNISED, 1, (1,)),)


def test_photos_are_turned_as_the_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(io.BytesIO(picture("PNG"))) as image:
        image.rotate(180).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as photo, Image.open(samples.SCAN) as scan:
        difference = np.asarray(scan.convert("L"), int) - _pixels(photo)[:, :, 0]
    assert np.abs(difference).mean() < 5


def test_pages_of_a_fax_are_pages(tmp_path: Path) -> None:
    with Image.open(samples.SCAN) as scan:
        fax, blank = scan.convert("1"), Image.new("1", scan.size, 1)
    fax.save(tmp_path / "a.tif", save_all=True, append_images=[blank, fax], compression="group4")
    document = parse_file(tmp_path / "a.tif", "a.tif")
    assert lines(document) == [*LINES, *LINES]
    assert [page.number for page in document.pages] == [1, 2, 3]
    assert document.notes == (Note(NoteKind.RECOGNISED, 2, (1, 3)), Note(NoteKind.IMAGES_ONLY, 1, (2,)))


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.png", picture("PNG")[:-2000], DamagedFile),
        ("a.jpg", b"\xff\xd8\xff" + 100 * b"\0", DamagedFile),
        ("a.png", b"Some text.", WrongFormat),
        ("a.webp", samples.make_pdf(["Text"]), WrongFormat),
    ],
)
def test_what_is_no_whole_picture_is_refused(tmp_path: Path, name: str, content: bytes, error: type[KbError]) -> None:
    with pytest.raises(error):
        parse_file(samples.write(tmp_path, name, content), name)


def test_huge_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.parsing.images.picture.MAX_DECODED_PIXELS", 1000)
    with pytest.raises(PictureTooLarge, match=r"Page 1 of “a\.png” is a picture of \d+ × \d+ pixels"):
        parse_file(samples.write(tmp_path, "a.png", picture("PNG")), "a.png")


def test_pictures_without_a_name_are_known(tmp_path: Path) -> None:
    for kind, mode, media_type in (("PNG", "P", PNG), ("JPEG", "L", JPEG), ("TIFF", "1", TIFF), ("WEBP", "RGB", WEBP)):
        assert detect_media_type(samples.write(tmp_path, "a", picture(kind, mode)), "a") == media_type
    with Image.open(io.BytesIO(picture("TIFF", "I;16"))) as image:
        assert _pixels(image).dtype == np.uint8


def test_images_of_large_pages_are_bounded() -> None:
    with pypdfium2.PdfDocument.new() as document:
        for size in ((14_400, 14_400), (200, 14_400), (612, 792)):
            image = render(document.new_page(*size)).image
            assert image.shape[0] * image.shape[1] <= 1.01 * MAX_PIXELS
    assert image.shape == pytest.approx((1650, 1275, 3), abs=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9,154,985, 000.00", "9,154,985,000.00"),
        ("1. 13%", "1.13%"),
        ("the sum of 4,568, 793, 000.00 yuan", "the sum of 4,568,793,000.00 yuan"),
        ("in 2019, 100 people", "in 2019, 100 people"),
        ("1, 2, 3", "1, 2, 3"),
        ("3. 4 items", "3. 4 items"),
    ],
)
def test_figures_hold_no_spaces(text: str, expected: str) -> None:
    assert ocr._joined(text) == expected
