"""Pictures: scans, photos of pages and screenshots, whose text is recognised. Each page of a TIFF is a page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from kb.errors import N_, DamagedFile, FileTooLarge
from kb.models import ParsedDocument
from kb.notes import NoteKind
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.images.recognised import RecognisedPages
from kb.parsing.images.scans import MAX_PIXELS, SCALE, Scan, read_scan
from kb.parsing.layout.boilerplate import PageLines
from kb.parsing.layout.prose import Words, join_lines

MAX_DECODED_PIXELS = 300_000_000  # four bytes each, while it is read
READERS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")  # not those that run other programs
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
        size, limit = (f"{pixels // 1_000_000} MP" for pixels in (image.width * image.height, MAX_DECODED_PIXELS))
        raise FileTooLarge(name=source.name, size=size, limit=limit)
    page = PageLines(number, note=NoteKind.IMAGES_ONLY)
    if not source.reads_images:
        return page
    scan = Scan(_pixels(image), SCALE) if number not in recognised else None
    page = read_scan(page, scan, recognised, lambda: source.report(number - 1, total))
    return replace(page, lines=[replace(line, text=text) for line in page.lines if (text := clean(line.text))])


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """The picture as people see it, at most as large as its text needs; blue first."""
    return np.ascontiguousarray(np.asarray(as_seen(image, MAX_PIXELS))[:, :, ::-1])


def as_seen(image: Image.Image, max_pixels: int) -> Image.Image:
    """The picture as people see it: upright, on white, and no larger than `max_pixels`."""
    factor = math.sqrt(image.width * image.height / max_pixels)
    if factor > 1:
        image.draft("RGB", (round(image.width / factor), round(image.height / factor)))  # a JPEG is made smaller
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    has_colours = image.mode not in ("1", "L")
    image = image.convert("RGBA" if image.has_transparency_data else "RGB" if has_colours else "L")
    factor = math.sqrt(image.width * image.height / max_pixels)
    if factor > 1:
        size = max(1, round(image.width / factor)), max(1, round(image.height / factor))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
