"""Pages of a PDF whose text is in an image, or is drawn as outlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import pypdfium2
from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE, FPDF_PAGEOBJ_PATH

from kb.notes import NoteKind
from kb.parsing.images.recognised import RecognisedPages
from kb.parsing.layout.boilerplate import PageLines
from kb.parsing.layout.lines import Line

if TYPE_CHECKING:
    from kb.parsing.images.ocr import Image

SCALE = 150 / 72  # pixels per point: 150 dpi, enough for small print
MAX_PIXELS = 4_500_000  # of the image of a page, which may be 200 inches wide
_FORM_DEPTH = 3  # images inside form objects inside form objects
_MAX_OBJECTS = 1_000
_MIN_IMAGE_PIXELS = 1_000  # of what may hold a word
_MIN_OUTLINES = 100
_STAMP = 100  # characters: a page number, or what a program wrote on each scanned page
_COVERED = 0.6  # of the page, by an image under a stamp


@dataclass(frozen=True, slots=True)
class Scan:
    """The image of a page; `scale` is how many of its pixels make a point."""

    image: Image
    scale: float


def has_images(page: pypdfium2.PdfPage) -> bool:
    """Whether there is an image on the page, however small."""
    return any(True for _image in page.get_objects([FPDF_PAGEOBJ_IMAGE], max_depth=_FORM_DEPTH))


def is_scan(page: pypdfium2.PdfPage, lines: Sequence[Line]) -> bool:
    """Whether there may be text on the page besides its `lines`: it has none, or a few words on a large image."""
    if lines:
        width, height = page.get_size()
        is_stamp = sum(len(line.text) for line in lines) <= _STAMP
        return is_stamp and any(area >= _COVERED * width * height for area in _images(page))
    outlines = islice(page.get_objects([FPDF_PAGEOBJ_PATH], max_depth=_FORM_DEPTH), _MIN_OUTLINES)
    return any(True for _area in _images(page)) or sum(1 for _outline in outlines) == _MIN_OUTLINES


def _images(page: pypdfium2.PdfPage) -> Iterator[float]:
    """The areas of the images that may hold text, in square points."""
    for image in islice(page.get_objects([FPDF_PAGEOBJ_IMAGE], max_depth=_FORM_DEPTH), _MAX_OBJECTS):
        columns, rows = image.get_px_size()
        if columns * rows >= _MIN_IMAGE_PIXELS:
            left, bottom, right, top = image.get_bounds()
            yield (right - left) * (top - bottom)


def render(page: pypdfium2.PdfPage) -> Scan:
    """The image of a page, as large as its text needs."""
    width, height = page.get_size()
    scale = min(SCALE, math.sqrt(MAX_PIXELS / max(1.0, width * height)))
    return Scan(page.render(scale=scale).to_numpy().copy(), scale)


def read_scan(page: PageLines, scan: Scan | None, recognised: RecognisedPages, report: Callable[[], None]) -> PageLines:
    """The page with the lines that are in its image and not among its own; `report` is called while they are read.

    `scan` is None for a page that is `recognised` already. A page that cannot be read, or takes too long, stays as
    it is, with a note.
    """
    try:
        if scan:
            lines, height = _recognise(scan, report)
            recognised.keep(page.number, lines, height)
        else:
            lines, height = recognised[page.number]
    except (TimeoutError, MemoryError):
        return replace(page, note=NoteKind.SKIPPED)
    except Exception:  # noqa: BLE001 - the libraries raise all kinds of exceptions, and other pages are to be kept
        return page
    known = _squeezed("".join(line.text for line in page.lines))
    new = [line for line in lines if _squeezed(line.text) not in known]
    if not new:
        return page
    return replace(page, lines=[*page.lines, *new], height=page.height or height, note=NoteKind.RECOGNISED)


def _recognise(scan: Scan, report: Callable[[], None]) -> tuple[list[Line], float]:
    from kb.parsing.images.ocr import read_image  # takes a second and 60 MB, which most documents do not need

    return read_image(scan.image, scan.scale, report)


def _squeezed(text: str) -> str:
    return "".join(text.split())
