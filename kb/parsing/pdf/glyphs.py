"""The characters that PDFium finds on a page → runs with their places, and the lines that these make."""

from __future__ import annotations

import ctypes
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from kb.parsing.layout.fractions import join_fractions
from kb.parsing.layout.grids import with_rows_of_tables
from kb.parsing.layout.lines import HYPHEN, Box, Line, TextRun, needs_space, read_lines
from kb.parsing.layout.places import Point, box_around, corners, quarter_turned, turned
from kb.parsing.layout.rulings import Rulings
from kb.parsing.layout.spaced_words import join_letters
from kb.parsing.pdf.drawings import read_rulings
from kb.parsing.symbols import is_symbol_font, read_symbols

_LINE_END = "\r\n"  # of PDFium
_HYPHENS = (0x2, 0xFFFE)  # PDFium's marks of a hyphen at the end of a line
SPACES = (0x20, 0xA0, 0x3000, 0x9, 0xD, 0xA)
# Called for each character: with addresses as numbers, ctypes takes a third of the time.
_get_unicode = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_int)(
    ctypes.cast(pdfium.FPDFText_GetUnicode, ctypes.c_void_p).value or 0
)
_get_text_object = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)(
    ctypes.cast(pdfium.FPDFText_GetTextObject, ctypes.c_void_p).value or 0
)
_get_box = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(
    ctypes.cast(pdfium.FPDFText_GetLooseCharBox, ctypes.c_void_p).value or 0
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_FONT_NAME_BYTES = 200
_MAX_GAP = 0.9  # character sizes inside a run
_INSIDE_GAP = 0.15
_OVERLAP = 0.2  # of letters, in fonts that say that they are wider
_SAMPLE, _MOSTLY_OVERLAPPING = 10, 0.6
_SPACE = 0.27  # between the shapes of letters; inside words it is about a tenth
_SPACE_OF_ADVANCE = 1.25  # of the average distance from one character to the next
_SAME_BASELINE = 0.06
_HALF_HEIGHT = 0.3  # of the character size
_LEVEL = 0.001  # radians
_SAME_ANGLE = math.radians(3)
_MOSTLY = 0.5


@dataclass(slots=True)
class _Style:
    """What all characters of one text object share. The angle is that of the line, in radians."""

    size: float
    angle: float
    font: str
    is_symbolic: bool
    is_level: bool
    y: float  # of the baseline, if it is level


@dataclass(slots=True)
class _Glyph:
    char: str
    style: _Style
    x: float  # of the origin, on the page
    y: float
    left: float
    right: float
    bottom: float
    top: float
    has_space_before: bool
    is_after_break: bool


def read_page(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage) -> tuple[list[Line], float]:
    """The lines of a page in reading order, and the page's height as it is read."""
    glyphs = list(_glyphs(page, textpage))
    left, bottom, right, top = page.get_bbox()
    if _is_read_otherwise(glyphs):
        return list(_lines_of_pdfium(page, textpage)), top - bottom
    groups: dict[int, list[_Glyph]] = {}
    for glyph in glyphs:
        groups.setdefault(round(glyph.style.angle / (2 * _SAME_ANGLE)), []).append(glyph)
    rulings = read_rulings(page)
    found: list[tuple[Line, float]] = []  # with the angle of its text
    for group in sorted(groups.values(), key=len):
        angle = group[0].style.angle
        of_group = _turned(rulings, angle)
        labels = [_label(line, other - angle) for line, other in found] if of_group else []
        runs = with_rows_of_tables([*join_fractions(join_letters(_runs(group, of_group)), of_group), *labels], of_group)
        left_over = {id(run) for run in runs}
        found = [each for each, label in zip(found, labels, strict=True) if id(label) in left_over] if labels else found
        runs = [run for run in runs if not any(run is label for label in labels)]
        found = [*((line, angle) for line in read_lines(runs, of_group)), *found]
    for line, angle in found:
        line.box = _box(page, line, angle)
        line.baseline -= min(
            y for _x, y in turned(((left, bottom), (right, top), (left, top), (right, bottom)), -angle)
        )
    angle = max(groups.values(), key=len)[0].style.angle if groups else 0.0
    is_turned = abs(math.sin(angle)) > _MOSTLY
    return [line for line, _angle in found], right - left if is_turned else top - bottom


def _label(line: Line, angle: float) -> TextRun:
    """A line of text as it stands beside text at another angle, where it may be in a cell of a table."""
    xs, ys = zip(*turned(corners(line), angle), strict=True)
    baseline = (min(ys) + max(ys)) / 2 - _HALF_HEIGHT * line.size
    return TextRun(line.text, min(xs), max(xs), baseline, line.size)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _box(page: pypdfium2.PdfPage, line: Line, angle: float) -> Box:
    """Where a line stands; `angle` is that of its text on the page as it is drawn."""
    return _shown(page, turned(corners(line), angle))


def _shown(page: pypdfium2.PdfPage, points: Iterable[Point]) -> Box:
    """The box around points of the page as it is drawn, on the page as viewers show it."""
    left, bottom, right, top = page.get_bbox()
    width, height = max(right - left, 1.0), max(top - bottom, 1.0)
    placed = [((x - left) / width, (top - y) / height) for x, y in points]
    return box_around(quarter_turned(placed, page.get_rotation() // 90))


def _turned(rulings: Rulings, angle: float) -> Rulings:
    """The lines as they are beside text that is turned upright; none beside text that is aslant."""
    if abs(angle) < _LEVEL:
        return rulings
    return rulings.turned(angle) if abs(math.sin(2 * angle)) < 2 * _LEVEL else Rulings()


def _lines_of_pdfium(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage) -> Iterator[Line]:
    """The lines as PDFium orders them: of scripts that run from right to left or from the top down."""
    boxes = dict(_boxes_of_pdfium(page, textpage))
    _left, bottom, _right, top = page.get_bbox()
    for number, text in enumerate(textpage.get_text_bounded().splitlines()):
        if text.strip():
            yield Line(text.strip(), 0, 0, (top - bottom) / 2 - number, 1, box=boxes.get(_letters(text)))


def _boxes_of_pdfium(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage) -> Iterator[tuple[str, Box]]:
    """The letters of the lines, and where each stands."""
    at = 0
    for text in textpage.get_text_range().split(_LINE_END):
        areas = [textpage.get_rect(index) for index in range(textpage.count_rects(at, len(text)))]
        points = [point for left, bottom, right, top in areas for point in ((left, bottom), (right, top))]
        if points:
            yield _letters(text), _shown(page, points)
        at += len(text) + len(_LINE_END)


def _is_read_otherwise(glyphs: list[_Glyph]) -> bool:
    """Whether the text runs from right to left, or from the top down."""
    if len(_RIGHT_TO_LEFT.findall("".join(glyph.char for glyph in glyphs))) > 0.2 * len(glyphs):
        return True
    downwards = total = 0
    for before, glyph in pairwise(glyphs):
        if before.style is glyph.style and _WIDE.match(before.char) and _WIDE.match(glyph.char):
            total += 1
            size = glyph.style.size
            downwards += abs(before.x - glyph.x) < 0.3 * size and 0.7 * size < before.y - glyph.y < 1.6 * size
    return total > 3 and downwards > _MOSTLY * total


def _runs(glyphs: list[_Glyph], rulings: Rulings) -> Iterator[TextRun]:
    """Neighbours on one baseline, on the page turned so that they are upright."""
    angle = glyphs[0].style.angle
    cos, sin = math.cos(angle), math.sin(angle)
    is_level = abs(sin) < 0.01 and cos > 0
    is_square = abs(sin) > 0.999 or abs(cos) > 0.999
    run: TextRun | None = None
    style: _Style | None = None  # of the glyph before
    for glyph in glyphs:
        size = glyph.style.size
        if is_level:
            left, right, baseline = glyph.left, glyph.right, glyph.y
        else:
            baseline = glyph.y * cos - glyph.x * sin
            left = glyph.x * cos + glyph.y * sin
            width = (glyph.top - glyph.bottom) if is_square and abs(sin) > 0.9 else glyph.right - glyph.left
            right = left + (width if is_square else min(width, size))
        gap = left - run.right if run else 0.0
        is_inside = glyph.style is style and gap < _INSIDE_GAP * size  # a word that a line of a drawing crosses
        style = glyph.style
        goes_on = (
            run is not None
            and not glyph.is_after_break
            and abs(run.baseline - baseline) <= _SAME_BASELINE * size
            and abs(run.size - size) <= 0.05 * size
            and -_MOSTLY * size <= gap <= max(_MAX_GAP * size, _widest_space(run))
            and not (rulings and not is_inside and gap > -0.1 * size and rulings.part(run.right, left, baseline))
        )
        if run is not None and goes_on:
            if glyph.has_space_before and not _is_inside_word(run.text, glyph.char, gap, size):
                run.text += " "
            elif gap > 0:
                run.spacing = max(run.spacing, gap)
            run.text += glyph.char
            run.right = max(run.right, right)
        else:
            if run is not None:
                yield run
            run = TextRun(glyph.char, left, right, baseline, size, glyph.has_space_before)
    if run is not None:
        yield run


def _widest_space(run: TextRun) -> float:
    """How wide a space may be after a run whose characters are wider than usual, as those of fonts without widths."""
    return 0.0 if _WIDE.match(run.text[-1:]) else _SPACE_OF_ADVANCE * (run.right - run.left) / len(run.text)


def _is_inside_word(before: str, after: str, gap: float, size: float) -> bool:
    """Whether a space is only the distance of two characters of a script that has no spaces."""
    is_wide = _WIDE.match(before[-1:]) and _WIDE.match(after)
    return bool(is_wide) and not needs_space(before, after, gap, size)


def _glyphs(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage) -> Iterator[_Glyph]:
    """The characters inside the page's bounds, without those that PDFium adds, which belong to no text object.

    Where a font says that its letters are wider than they are, PDFium sees no spaces: their shapes show them.
    """
    raw = ctypes.cast(textpage.raw, ctypes.c_void_p).value
    min_x, min_y, max_x, max_y = page.get_bbox()
    styles: dict[int, _Style] = {}
    box = pdfium.FS_RECTF()
    box_address = ctypes.byref(box)
    has_space, is_after_break = False, False
    before: _Glyph | None = None
    fonts: defaultdict[str, list[bool]] = defaultdict(list)  # whether letters overlap much, where they do
    for index in range(textpage.count_chars()):
        code, item = _get_unicode(raw, index), _get_text_object(raw, index)
        if not item or code in SPACES:
            is_break = code in (0xD, 0xA)
            has_space, is_after_break = has_space or not is_break, is_after_break or is_break
            continue
        if code < 0x20 and code not in _HYPHENS:
            continue
        _get_box(raw, index, box_address)
        left, right, bottom, top = box.left, box.right, box.bottom, box.top
        if not (min_x <= (left + right) / 2 <= max_x and min_y <= (bottom + top) / 2 <= max_y):
            continue
        style = styles.get(item)
        if style is None:
            style = styles[item] = _style(textpage.raw, index)
        char = HYPHEN if code in _HYPHENS else chr(code)
        if 0xF000 <= code <= 0xF0FF or (style.is_symbolic and not 0x7F <= code < 0xA0):
            char = read_symbols(char, style.font)
        if char:
            x, y = (left, style.y) if style.is_level else _origin(textpage.raw, index)
            glyph = _Glyph(char, style, x, y, left, right, bottom, top, has_space, is_after_break)
            overlaps = before is not None and before.right - left > _OVERLAP * style.size
            if before and (overlaps or style.font in fonts) and _are_in_word(before, glyph):
                fonts[style.font].append(overlaps)
                if sum(fonts[style.font][-_SAMPLE:]) > _MOSTLY_OVERLAPPING * _SAMPLE:
                    gap = _tight_box(textpage.raw, index)[0] - _tight_box(textpage.raw, index - 1)[1]
                    glyph.has_space_before |= gap > _SPACE * style.size
            yield glyph
            before = glyph
        has_space = is_after_break = False


def _style(raw: Any, index: int) -> _Style:
    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFText_GetMatrix(raw, index, matrix)
    size = pdfium.FPDFText_GetFontSize(raw, index) * math.hypot(matrix.c, matrix.d)
    angle = math.atan2(matrix.b, matrix.a)
    font = _font_name(pdfium.FPDFText_GetTextObject(raw, index))
    return _Style(size or 1.0, angle, font, is_symbol_font(font), abs(angle) < _LEVEL, _origin(raw, index)[1])


def _origin(raw: Any, index: int) -> tuple[float, float]:
    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(raw, index, x, y)
    return x.value, y.value


def _are_in_word(before: _Glyph, glyph: _Glyph) -> bool:
    is_next = before.left < glyph.left < before.right + _MOSTLY * glyph.style.size and abs(before.y - glyph.y) < 1
    text = before.char + glyph.char
    is_alike = glyph.style.is_level and before.style.font == glyph.style.font
    return is_next and is_alike and text.isascii() and text.isalnum() and not text.isdigit()


def _tight_box(raw: Any, index: int) -> tuple[float, float]:
    """From where to where the drawn shape of a character goes."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    pdfium.FPDFText_GetCharBox(raw, index, left, right, bottom, top)
    return left.value, right.value


def _font_name(item: Any) -> str:
    font = pdfium.FPDFTextObj_GetFont(item) if item else None
    if not font:
        return ""
    name = ctypes.create_string_buffer(_FONT_NAME_BYTES)
    pdfium.FPDFFont_GetBaseFontName(font, name, _FONT_NAME_BYTES)
    return name.value.decode("latin-1")
