"""Whether marks hold the passages that they mark: `python -m benchmarks.citations PDF…` (files or folders).

Files are read and chunked as at an upload, and the boxes of each chunk's lines are found as for a citation. A chunk
counts as boxed if, of its words, at least 95 % are inside its boxes on the image of its page: each character that
PDFium knows of is looked up at the middle of its shape. `inside` tells how much of what is in a file's boxes belongs
to its chunks: marks that cover whole pages hold everything. Chunks of pages whose text was recognised in their images
cannot be judged so, and are counted apart. Prints one JSON line a file, then the totals.

The time to draw a page: `cold_ms` with the start of the process that draws, `warm_ms` while it runs, both medians and
without the images that are kept in memory.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from benchmarks.ingest import find_files
from kb.config import Settings, load_settings
from kb.errors import KbError
from kb.library import LineBoxWriter, lines_between
from kb.models import LineBox, ParsedDocument
from kb.notes import NoteKind
from kb.page_images import PageImages
from kb.parsing import Limits, ParserProcess, detect_media_type
from kb.parsing.media_types import PDF
from kb.ranges import read_ranges

HELD = 0.95
CANVAS = 10_000  # pixels, for places that are exact enough
WARM_PAGES = 3  # of each file
MIN_PART = 3  # letters
HAN = re.compile("([\u3040-\u30ff\u3400-\u9fff])")
WORD = re.compile(r"[^\W_]+")
LINE_HYPHENS = ("\x02", "\ufffe")  # PDFium's marks


@dataclass(frozen=True)
class Chunk:
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Page:
    """The characters of a page as PDFium orders them, and where the middle of each is on the page's image."""

    chars: list[str]
    places: NDArray[np.float64]

    def inside(self, boxes: Sequence[LineBox]) -> str:
        """What stands in the boxes; a gap wherever something is left out."""
        x, y = self.places[:, 0], self.places[:, 1]
        held = np.zeros(len(self.chars), bool)
        for box in boxes:
            held |= (box.left <= x) & (x <= box.right) & (box.top <= y) & (y <= box.bottom)
        return "".join(char if is_held else " " for char, is_held in zip(self.chars, held, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.citations", description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", metavar="PDF")
    parser.add_argument("--missing", action="store_true", help="print the chunks that are not boxed, too")
    arguments = parser.parse_args()
    settings = load_settings()
    total: Counter[str] = Counter()
    cold: list[float] = []
    warm: list[float] = []
    with ParserProcess(settings.parsing_memory_mb, reads_images=settings.ocr) as process:
        for path in find_files(arguments.paths):
            if detect_media_type(path, path.name) != PDF:
                continue
            found = measure(process, path, settings, cold, warm)
            total.update({name: found[name] for name in ("chunks", "boxed", "unjudged") if name in found})
            if not arguments.missing:
                found.pop("missing", None)
            print(json.dumps({"file": path.name, **found}, ensure_ascii=False), flush=True)
    print(
        json.dumps(
            {
                "chunks": total["chunks"],
                "boxed": total["boxed"],
                "share": round(total["boxed"] / max(total["chunks"], 1), 4),
                "cold_ms": round(median(cold or [0.0]), 1),
                "warm_ms": round(median(warm or [0.0]), 1),
                "unjudged": total["unjudged"],
            }
        )
    )


def measure(
    process: ParserProcess, path: Path, settings: Settings, cold: list[float], warm: list[float]
) -> dict[str, Any]:
    """One file's chunks: how many there are, how many are boxed, and what the others lack."""
    with tempfile.TemporaryDirectory() as folder:
        boxes = Path(folder, "file.lines")
        try:
            recognised: set[int] = set()
            chunks = list(read_chunks(process, path, settings, boxes, recognised))
            document = pypdfium2.PdfDocument(path)
        except (KbError, pypdfium2.PdfiumError) as error:
            return {"error": str(error)}
        with document:
            found = judge(document, chunks, boxes, recognised)
            draw(path, len(document), settings, cold, warm)
    return found


def read_chunks(
    process: ParserProcess, path: Path, settings: Settings, boxes: Path, recognised: set[int]
) -> Iterator[Chunk]:
    """The chunks of a file; adds the numbers of the pages whose text was recognised in images."""

    def noting(parts: Iterable[ParsedDocument]) -> Iterator[ParsedDocument]:
        for part in parts:
            recognised.update(page for note in part.notes if note.kind == NoteKind.RECOGNISED for page in note.pages)
            yield part

    limits = Limits(settings.parsing_timeout_seconds, settings.parsing_page_timeout_seconds)
    parts = process.parse(path, path.name, PDF, limits, None, is_cancelled=lambda: False)
    with LineBoxWriter(boxes) as writer:
        for stretch in read_ranges(noting(parts)):
            writer.add(stretch.document, stretch.start)
            for span in stretch.spans:
                text = stretch.document.text[span.start : span.end]
                yield Chunk(stretch.start + span.start, stretch.start + span.end, text)


def judge(
    document: pypdfium2.PdfDocument, chunks: Sequence[Chunk], boxes: Path, recognised: set[int]
) -> dict[str, Any]:
    pages: dict[int, Page] = {}
    found: Counter[str] = Counter(chunks=0, boxed=0, unjudged=0)
    in_boxes = of_chunks = 0
    missing: list[dict[str, Any]] = []
    for chunk in chunks:
        marked = lines_between(boxes, chunk.start, chunk.end) or {}
        for number in marked:
            pages.setdefault(number, read_page(document, number))
        if not recognised.isdisjoint(marked):
            found["unjudged"] += 1
            continue
        text = "\n".join(pages[number].inside(lines) for number, lines in marked.items())
        words, shown = words_of(chunk.text), words_of(text)
        lacking = list(lacking_words(words, shown))
        is_boxed = len(lacking) <= (1 - HELD) * len(words)
        found.update(chunks=1, boxed=int(is_boxed))
        in_boxes += len(shown)
        of_chunks += (Counter(shown) & Counter(words)).total()
        if not is_boxed:
            missing.append({"pages": list(marked), "lacking": lacking[:20], "words": len(words), "text": chunk.text})
    return {**found, "inside": round(of_chunks / max(in_boxes, 1), 3), "missing": missing}


def read_page(document: pypdfium2.PdfDocument, number: int) -> Page:
    page = document[number - 1]
    textpage = page.get_textpage()
    to_image = pypdfium2.PdfPosConv(page, (0, 0, CANVAS, CANVAS, 0)).to_bitmap
    chars: list[str] = []
    places: list[tuple[float, float]] = []
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    for index in range(textpage.count_chars()):
        char = chr(pdfium.FPDFText_GetUnicode(textpage, index))
        if pdfium.FPDFText_GetCharBox(textpage, index, left, right, bottom, top):
            x, y = to_image((left.value + right.value) / 2, (bottom.value + top.value) / 2)
        else:
            x = y = -CANVAS
        chars.append(char)
        places.append((x / CANVAS, y / CANVAS))
    textpage.close()
    page.close()
    return Page(chars, np.array(places).reshape(-1, 2))


def words_of(text: str) -> list[str]:
    """The words in their order, and Han and Kana one by one."""
    for mark in LINE_HYPHENS:
        text = re.sub(rf"{mark}\s*", "", text)
    return WORD.findall(HAN.sub(r" \1 ", unicodedata.normalize("NFKC", text)).casefold())


def lacking_words(words: Sequence[str], shown: Sequence[str]) -> Iterator[str]:
    """The words that are not shown, as often as they should be.

    Hyphens at the ends of lines join words, so a longer one may be part of what is shown. PDFium parts the letters of
    formulas otherwise than we do, so a short one is shown if its letters are, in no word that was found.
    """
    left, whole = Counter(shown), "".join(shown)
    missing: list[str] = []
    for word in words:
        if left[word] > 0:
            left[word] -= 1
        elif len(word) < MIN_PART or word not in whole:
            missing.append(word)
    letters = Counter("".join(left.elements()))
    for word in missing:
        needed = Counter(word)
        if len(word) < MIN_PART and needed <= letters:
            letters -= needed
        else:
            yield word


def draw(path: Path, pages: int, settings: Settings, cold: list[float], warm: list[float]) -> None:
    """Take the times of drawing some pages."""
    numbers = [1 + index * pages // (WARM_PAGES + 1) for index in range(WARM_PAGES + 1)]
    with PageImages(settings.parsing_memory_mb) as images:
        for place, number in enumerate(dict.fromkeys(numbers)):
            began = time.perf_counter()
            try:
                images.draw(path, path.name, PDF, number)
            except KbError:
                continue
            (warm if place else cold).append(1000 * (time.perf_counter() - began))


if __name__ == "__main__":
    main()
