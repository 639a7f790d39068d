"""PDF files, read by PDFium, or by pypdf if that fails."""

from __future__ import annotations

import ctypes
import re
import struct
import threading
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import pypdfium2
from pypdf import PdfReader
from pypdf.errors import DeprecationError, FileNotDecryptedError, PyPdfError, WrongPasswordError
from pypdfium2.raw import (
    FPDF_ANNOT_CARET,
    FPDF_ANNOT_CIRCLE,
    FPDF_ANNOT_FLAG_HIDDEN,
    FPDF_ANNOT_FREETEXT,
    FPDF_ANNOT_HIGHLIGHT,
    FPDF_ANNOT_INK,
    FPDF_ANNOT_LINE,
    FPDF_ANNOT_POLYGON,
    FPDF_ANNOT_POLYLINE,
    FPDF_ANNOT_SQUARE,
    FPDF_ANNOT_SQUIGGLY,
    FPDF_ANNOT_STAMP,
    FPDF_ANNOT_STRIKEOUT,
    FPDF_ANNOT_TEXT,
    FPDF_ANNOT_UNDERLINE,
    FPDF_ERR_PASSWORD,
    FPDF_WCHAR,
    FPDFAnnot_GetFlags,
    FPDFAnnot_GetStringValue,
    FPDFAnnot_GetSubtype,
    FPDFPage_CloseAnnot,
    FPDFPage_GetAnnot,
    FPDFPage_GetAnnotCount,
)

from kb.errors import N_, DamagedFile, GarbledText, PasswordProtected
from kb.models import ParsedDocument
from kb.normalizing import normalize
from kb.notes import NoteKind
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.images.recognised import RecognisedPages
from kb.parsing.images.scans import Scan, has_images, is_scan, read_scan, render
from kb.parsing.layout.boilerplate import PageLines, RunningLines
from kb.parsing.layout.prose import OpenTable, Prose, Words, join_lines
from kb.parsing.pdf.font_maps import looks_garbled
from kb.parsing.pdf.glyphs import read_page

_PDFIUM = threading.Lock()  # PDFium is not thread-safe, not even across documents
# pypdf raises these for a broken file, besides its own errors.
_BROKEN = (
    *(PyPdfError, DeprecationError, ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError, struct.error, zlib.error),
)
_MAX_HEADINGS = 5_000
_MAX_FIELD_DEPTH = 20
_PASSWORD = 1 << 13  # flag of a text field
_RADIO, _PUSH_BUTTON = 1 << 15, 1 << 16
_OFF = "/Off"
_NOTES = (
    *(FPDF_ANNOT_TEXT, FPDF_ANNOT_HIGHLIGHT, FPDF_ANNOT_UNDERLINE, FPDF_ANNOT_STRIKEOUT, FPDF_ANNOT_SQUIGGLY),
    *(FPDF_ANNOT_CARET, FPDF_ANNOT_STAMP, FPDF_ANNOT_INK, FPDF_ANNOT_LINE, FPDF_ANNOT_SQUARE, FPDF_ANNOT_CIRCLE),
    *(FPDF_ANNOT_POLYGON, FPDF_ANNOT_POLYLINE),
)
_MAX_ANNOTATIONS = 1_000
_MAX_COMMENT_BYTES = 1_000_000
_CHARACTERS = ctypes.POINTER(FPDF_WCHAR)
_LOOK_AHEAD = 2  # pages: left and right ones have headers of their own
# Radicals and other duplicates of ordinary characters, without the full-width punctuation of Chinese text.
_DOUBLES = re.compile(
    "[\u2f00-\u2fdf\uf900-\ufaff\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0002f800-\U0002fa1f]"
)
# Dots that lead to the page numbers of a table of contents.
_LEADERS = re.compile("(?<![ \u00a0])[ \u00a0]*(?:[.·․‥…][ \u00a0]?){7,}[.·․‥…](?P<word>(?=\\S))?")
# Radicals without a Unicode equivalent, although fonts map everyday characters to them.
_RADICALS = str.maketrans(
    "⺁⺆⺌⺍⺎⺏⺒⺓⺗⺟⺠⺡⺣⺩⺪⺫⺬⺮⺲⺴⺶⺷⺼⺾⻁⻂⻃⻄⻅⻆⻇⻈⻉⻋⻌⻍⻎⻑⻓⻔⻕⻗⻘⻙⻚⻛⻜⻝⻞⻟⻠⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻲⻳",
    "厂冂小小尣尣巳幺心母民水火王疋网示竹网网羊羊肉艹虎衣西西见角角讠贝车辶辶辶長长门阝雨青韦页风飞食食飠饣马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜亀龟",
)


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Each page is a part; the entries of the outline are the headings."""
    document = _open(source)
    if document is None:
        yield from _parse_by_pypdf(source)
        return
    try:
        builder = yield from _parse_by_pdfium(document, source)
    finally:
        with _PDFIUM:
            document.close()
    if builder.length or source.first_page > 1:
        yield from builder.last_parts()
        return
    if builder.has_noted(NoteKind.GARBLED):
        raise GarbledText(name=source.name)
    # PDFium finds no text in this valid file: usually there is none, because the pages are images.
    try:
        yield from _parse_by_pypdf(source)
    except (DamagedFile, PasswordProtected):
        yield from builder.last_parts()


# --- PDFium ---


def _open(source: Source) -> pypdfium2.PdfDocument | None:
    """None if PDFium cannot open the file."""
    with _PDFIUM:
        try:
            return pypdfium2.PdfDocument(source.path)
        except pypdfium2.PdfiumError as error:
            if error.err_code == FPDF_ERR_PASSWORD:
                raise PasswordProtected(name=source.name) from error
            return None


def _parse_by_pdfium(document: pypdfium2.PdfDocument, source: Source) -> Generator[ParsedDocument, None, TextBuilder]:
    """Yield the pages; return the builder with what is left."""
    with _PDFIUM:
        total, headings = len(document), _headings(document)
        title = _text_of(lambda: document.get_metadata_value("Title"))
        filled_in = _filled_in(source) if document.get_formtype() else {}
    builder = TextBuilder(source.name, title=title, is_continued=source.first_page > 1)
    words, running, recognised = Words(), RunningLines(), RecognisedPages(source.recognised)
    open_table: OpenTable | None = None
    waiting: deque[PageLines] = deque()  # pages whose headers are known once those behind them are read
    source.report(source.first_page - 1, total)
    for number in range(source.first_page, total + 1):
        if number not in source.skipped:
            with _PDFIUM:
                is_known = source.reads_images and number in recognised
                page, scan = _read_page(document, number, source.reads_images and not is_known)
            has_more = scan or is_known
            waiting.append(_read_scan(page, scan, recognised, source, total) if has_more else page)
        source.report(number, total)
        while waiting and (len(waiting) > _LOOK_AHEAD or number == total):
            page = waiting.popleft()
            builder.start_page(page.number)
            if page.note:
                builder.note(page.note, page=page.number)
            first, own = running.split(page, waiting)
            prose = join_lines([*first, *own], words, open_table)
            open_table = prose.open_table
            _add_page(builder, prose, headings[page.number])
            builder.add("\n".join([*filled_in.get(page.number, ()), *page.comments]), gap=2)
            if builder.length:
                yield from builder.parts()
    return builder


def _read_page(document: pypdfium2.PdfDocument, number: int, reads_images: bool) -> tuple[PageLines, Scan | None]:
    """The lines of one page, and its image if that may hold more; no lines, with a note, if it cannot be loaded."""
    try:
        page = document[number - 1]
    except pypdfium2.PdfiumError:
        return PageLines(number, note=NoteKind.UNREADABLE), None
    try:
        textpage = page.get_textpage()
        is_garbled = looks_garbled(textpage)
        found, height = ([], 0.0) if is_garbled else read_page(page, textpage)
        textpage.close()
        lines = [replace(line, text=text) for line in found if (text := _clean_page(line.text))]
        comments = tuple(_comments(page))
        scan = render(page) if reads_images and (is_garbled or is_scan(page, lines)) else None
        if is_garbled:
            return PageLines(number, note=NoteKind.GARBLED, comments=comments), scan
        if not lines and not comments and has_images(page):
            return PageLines(number, note=NoteKind.IMAGES_ONLY), scan
        return PageLines(number, lines, height if lines else 0.0, comments=comments), scan
    except (pypdfium2.PdfiumError, *_BROKEN):  # the other pages are kept
        return PageLines(number, note=NoteKind.UNREADABLE), None
    finally:
        page.close()


def _read_scan(
    page: PageLines, scan: Scan | None, recognised: RecognisedPages, source: Source, total: int
) -> PageLines:
    page = read_scan(page, scan, recognised, lambda: source.report(page.number - 1, total))
    return replace(page, lines=[replace(line, text=text) for line in page.lines if (text := _clean_page(line.text))])


def _add_page(builder: TextBuilder, prose: Prose, headings: Iterable[tuple[int, str]]) -> None:
    text = prose.text
    if not text:
        return
    start = builder.add_clean(text, tables=prose.tables, lines=prose.lines)
    at = 0
    for level, title in headings:
        at = _find_line(text, title, at)
        builder.mark_heading(start + at, level, title)


def _headings(document: pypdfium2.PdfDocument) -> defaultdict[int, list[tuple[int, str]]]:
    """The level and title of each outline entry that points to a page, by page number."""
    headings: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for entry in islice(document.get_toc(), _MAX_HEADINGS):
        target = entry.get_dest()
        index = target.get_index() if target else None
        if index is not None:
            headings[index + 1].append((entry.level + 1, _text_of(entry.get_title)))
    return headings


def _text_of(get: Callable[[], str]) -> str:
    """A title; empty if it is invalid, for example cut in the middle of a character."""
    try:
        return _clean_page(get())
    except UnicodeDecodeError:
        return ""


# --- pypdf ---


def _parse_by_pypdf(source: Source) -> Iterator[ParsedDocument]:
    """The second try, without headings. Raises `DamagedFile` if pypdf fails, too."""
    try:
        reader = PdfReader(source.path)
    except _BROKEN as error:
        raise DamagedFile(name=source.name, detail=N_("it cannot be opened as a PDF")) from error
    try:
        title = reader.metadata.title if reader.metadata else ""
    except _BROKEN:
        title = ""
    builder = TextBuilder(source.name, title=_clean_page(title or ""), is_continued=source.first_page > 1)
    try:
        for number, page in enumerate(islice(reader.pages, source.first_page - 1, None), source.first_page):
            builder.start_page(number)
            builder.add_clean(_clean_page(page.extract_text()))
            yield from builder.full_parts()
            source.report(number, len(reader.pages))
    except (FileNotDecryptedError, WrongPasswordError) as error:
        raise PasswordProtected(name=source.name) from error
    except _BROKEN as error:
        raise DamagedFile(name=source.name, detail=N_("its pages cannot be read")) from error
    yield from builder.last_parts()


def _filled_in(source: Source) -> defaultdict[int, list[str]]:
    """The values of form fields as `name: value`, by page; the text of the page does not contain them."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    with suppress(*_BROKEN):  # keep what was read so far
        for number, page in enumerate(PdfReader(source.path).pages, start=1):
            for annotation in page.annotations or ():
                with suppress(*_BROKEN):
                    found[number] += _field(annotation.get_object())
    return found


def _field(widget: Any) -> list[str]:
    """The line of a text field, a choice, a check box or a chosen radio button; empty for passwords and buttons."""
    if widget.get("/Subtype") != "/Widget":
        return []
    nodes = [widget]
    while "/Parent" in nodes[-1] and len(nodes) < _MAX_FIELD_DEPTH:
        nodes.append(nodes[-1]["/Parent"].get_object())
    kind, value, flags, label, name = (
        next((node[key] for node in nodes if key in node), None) for key in ("/FT", "/V", "/Ff", "/TU", "/T")
    )
    if kind == "/Btn":
        return _button(f"{label or name or ''}", widget, int(flags or 0), value)
    if kind == "/Ch":
        value = _chosen(value, next((node["/Opt"] for node in nodes if "/Opt" in node), ()))
    if kind not in ("/Tx", "/Ch") or not isinstance(value, str) or not value.strip() or int(flags or 0) & _PASSWORD:
        return []
    return [f"{label or name or ''}: {value}"]


def _chosen(value: Any, options: Any) -> str:
    """What a person sees of the options that are chosen, which may be several."""
    shown = {str(option[0]): str(option[1]) for option in options if isinstance(option, list) and len(option) > 1}
    values = map(str, value) if isinstance(value, list) else [str(value or "")]
    return ", ".join(shown.get(each, each) for each in values)


def _button(label: str, widget: Any, flags: int, value: Any) -> list[str]:
    state = str(widget.get("/AS", value or _OFF))
    if flags & _PUSH_BUTTON:
        return []
    if flags & _RADIO:
        return [f"{label}: {state.lstrip('/')}"] if state != _OFF else []
    return [f"{label}: {'☐' if state == _OFF else '☒'}"]


def _comments(page: pypdfium2.PdfPage) -> Iterator[str]:
    """What reviewers have written on a page: texts, and notes that open at a click."""
    for index in range(min(FPDFPage_GetAnnotCount(page), _MAX_ANNOTATIONS)):
        annotation = FPDFPage_GetAnnot(page, index)
        kind = FPDFAnnot_GetSubtype(annotation)
        if FPDFAnnot_GetFlags(annotation) & FPDF_ANNOT_FLAG_HIDDEN:
            kind = None
        if kind == FPDF_ANNOT_FREETEXT or kind in _NOTES:
            size = min(FPDFAnnot_GetStringValue(annotation, b"Contents", None, 0), _MAX_COMMENT_BYTES)
            buffer = ctypes.create_string_buffer(size)
            FPDFAnnot_GetStringValue(annotation, b"Contents", ctypes.cast(buffer, _CHARACTERS), size)
            if text := buffer.raw.decode("utf-16-le", "replace").strip("\0\r\n "):
                yield text if kind == FPDF_ANNOT_FREETEXT else f"[comment: {text}]"
        FPDFPage_CloseAnnot(annotation)


# --- text ---


def _find_line(text: str, title: str, begin: int) -> int:
    """Where the line with the heading begins, ignoring spaces; `begin` if it is not found after `begin`."""
    words = title.split()
    if not words:
        return begin
    wanted = "".join(words)[:100]
    found = text.find(words[0], begin)
    while found >= 0:
        if "".join(text[found : found + 4 * len(wanted)].split()).startswith(wanted):
            return text.rfind("\n", 0, found) + 1
        found = text.find(words[0], found + 1)
    return begin


def _clean_page(text: str) -> str:
    """The text as a person would type it."""
    text = clean(text).translate(_RADICALS)
    text = _LEADERS.sub(lambda match: " …" if match["word"] is None else " … ", text)
    return _DOUBLES.sub(lambda match: normalize("NFKC", match.group()), text).strip("\n")
