"""Pictures: scans, photos of pages and screenshots, whose text is recognised. Each page of a TIFF is a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kb.errors import N_, DamagedFile, PictureTooLarge
from kb.models import ParsedDocument
from kb.notes import NoteKind
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.images.recognised import RecognisedPages
from kb.parsing.images.scans import MAX_PIXELS, SCALE, Scan, read_scan
from kb.parsing.images.upright import as_seen
from kb.parsing.layout.boilerplate import PageLines
from kb.parsing.layout.prose import Words, join_lines

MAX_DECODED_PIXELS = 300_000_000  # four bytes each, while it is read
READERS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")  # not those that run other programs
Image.MAX_IMAGE_PIXELS = None  # the limit above instead, which is an error and no warning


def parse(source: Source) -> Iterator[ParsedDocument]:
    """The text of each page of the picture."""
    try:
        with Image.open(source.path, formats=READERS) as image:
            yield from _parse(image, source)
    except UnidentifiedImageError as error:
        raise DamagedFile(name=source.name, detail=N_("it cannot be opened as a picture")) from error


def _parse(image: Image.Image, source: Source) -> Iterator[ParsedDocument]:
    builder = TextBuilder(source.name, is_continued=source.first_page > 1)
    total = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    words, recognised = Words(), RecognisedPages(source.recognised)
    source.report(source.first_page - 1, total)
    for number in range(source.first_page, total + 1):
        if number not in source.skipped:
            page = _read_page(image, number, recognised, source, total)
            builder.start_page(number)
            if page.note:
                builder.note(page.note, page=number)
            if page.lines:
                prose = join_lines(page.lines, words)
                builder.add_clean(prose.text, tables=prose.tables, lines=prose.lines)
        source.report(number, total)
        if builder.length:
            yield from builder.parts()
    yield from builder.last_parts()


def _read_page(image: Image.Image, number: int, recognised: RecognisedPages, source: Source, total: int) -> PageLines:
    image.seek(number - 1)
    if image.width * image.height > MAX_DECODED_PIXELS:
        limit = MAX_DECODED_PIXELS // 1_000_000
        raise PictureTooLarge(name=source.name, page=number, width=image.width, height=image.height, limit=limit)
    page = PageLines(number, note=NoteKind.IMAGES_ONLY)
    if not source.reads_images:
        return page
    scan = Scan(_pixels(image), SCALE) if number not in recognised else None
    page = read_scan(page, scan, recognised, lambda: source.report(number - 1, total))
    return replace(page, lines=[replace(line, text=text) for line in page.lines if (text := clean(line.text))])


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """The picture as people see it, at most as large as its text needs; blue first."""
    return np.ascontiguousarray(np.asarray(as_seen(image, MAX_PIXELS))[:, :, ::-1])
