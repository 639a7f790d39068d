"""The straight lines that are drawn on a PDF page: as lines, as frames, or as thin boxes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import islice

import pypdfium2
import pypdfium2.raw as pdfium

from kb.parsing.layout.rulings import Ruling, Rulings

_FORM_DEPTH = 3
_MAX_PATHS = 3_000
_MAX_SEGMENTS = 3_000
_MAX_LINES = 10_000
_MIN_RULING = 6.0  # points
_MIN_BAR = 3.0  # of a fraction
_THIN = 2.5
_STRAIGHT = 1.0


def read_rulings(page: pypdfium2.PdfPage) -> Rulings:
    """The vertical and the horizontal lines on the page."""
    lines = list(islice(_lines(page), _MAX_LINES))
    return Rulings(
        [line for line, is_vertical in lines if is_vertical], [line for line, is_vertical in lines if not is_vertical]
    )


def _lines(page: pypdfium2.PdfPage) -> Iterator[tuple[Ruling, bool]]:
    """Each line, and whether it is vertical."""
    for item in islice(page.get_objects([pdfium.FPDF_PAGEOBJ_PATH], max_depth=_FORM_DEPTH), _MAX_PATHS):
        form = _form_matrix(item)
        left, bottom, right, top = form.on_rect(*item.get_bounds())
        width, height = right - left, top - bottom
        if height < _MIN_RULING and width < _MIN_BAR:
            continue
        if width <= _THIN and height >= _MIN_RULING:
            yield ((left + right) / 2, bottom, top), True
        elif height <= _THIN:
            yield ((bottom + top) / 2, left, right), False
        elif _is_stroked(item):
            yield from _sides(item, item.get_matrix().multiply(form))


def _form_matrix(item: pypdfium2.PdfObject) -> pypdfium2.PdfMatrix:
    """From the coordinates of the form that holds the object to those of the page."""
    matrix = pypdfium2.PdfMatrix()
    while item.container:
        item = item.container
        matrix = matrix.multiply(item.get_matrix())
    return matrix


def _is_stroked(item: pypdfium2.PdfObject) -> bool:
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(item.raw, mode, stroked)
    return bool(stroked.value)


def _sides(path: pypdfium2.PdfObject, matrix: pypdfium2.PdfMatrix) -> Iterator[tuple[Ruling, bool]]:
    """The upright and level ones among the lines that make a path."""
    x, y = ctypes.c_float(), ctypes.c_float()
    first = before = None
    for index in range(min(pdfium.FPDFPath_CountSegments(path.raw), _MAX_SEGMENTS)):
        segment = pdfium.FPDFPath_GetPathSegment(path.raw, index)
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        point = matrix.on_point(x.value, y.value)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if before and kind == pdfium.FPDF_SEGMENT_LINETO:
            yield from _line(before, point)
        elif kind == pdfium.FPDF_SEGMENT_MOVETO:
            first = point
        if first and pdfium.FPDFPathSegment_GetClose(segment):
            yield from _line(point, first)
        before = point


def _line(one: tuple[float, float], other: tuple[float, float]) -> Iterator[tuple[Ruling, bool]]:
    width, height = abs(one[0] - other[0]), abs(one[1] - other[1])
    if width < _STRAIGHT and height >= _MIN_RULING:
        yield (one[0], min(one[1], other[1]), max(one[1], other[1])), True
    elif height < _STRAIGHT and width >= _MIN_BAR:
        yield (one[1], min(one[0], other[0]), max(one[0], other[0])), False
