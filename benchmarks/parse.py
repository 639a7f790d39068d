"""What is read of files: `python -m benchmarks.parse PATH…` (files or folders) prints one JSON line for each file.

The files go through the product's parsers, in their child process, and through chunking with the default settings.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.ingest import find_files
from kb.config import load_settings
from kb.errors import KbError, NoText
from kb.models import Heading, ParsedDocument
from kb.notes import Note, merge_notes
from kb.parsing import Limits, ParserProcess, detect_media_type
from kb.parsing.memory import peak_memory_mb
from kb.ranges import read_ranges

RESET_PEAK = "5"  # see proc(5), clear_refs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parse", description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    settings = load_settings()
    limits = Limits(settings.parsing_timeout_seconds, settings.parsing_page_timeout_seconds)
    with ParserProcess(settings.parsing_memory_mb, reads_images=settings.ocr) as process:
        for path in find_files(parser.parse_args().paths):
            print(json.dumps(read(process, path, limits), ensure_ascii=False), flush=True)


def read(process: ParserProcess, path: Path, limits: Limits) -> dict[str, Any]:
    """One file's text and chunks, or the error that its owner would see."""
    process.start()
    _reset_peaks()
    began = time.perf_counter()
    peak = 0  # so far: the parser may end after its last page

    def note_peak(done: int, total: int) -> None:
        nonlocal peak
        peak = max([peak, *_peaks()])

    found: dict[str, Any] = {"state": "ready", "error": None, "text": "", "pages": 0}
    found |= {"headings": [], "chunks": [], "notes": []}
    try:
        media_type = detect_media_type(path, path.name)
        notes: list[Note] = []
        parts = process.parse(path, path.name, media_type, limits, note_peak, lambda: False)
        for stretch in read_ranges(_noting_headings(parts, found["headings"])):
            text = stretch.document.text
            found["text"] += text
            found["pages"] += stretch.new_pages
            found["chunks"] += [
                {"text": text[chunk.start : chunk.end], "page": chunk.page, "heading": chunk.heading}
                for chunk in stretch.spans
            ]
            notes += stretch.notes
        found["notes"] = [asdict(note) for note in merge_notes(notes)]
        if not found["chunks"]:
            raise NoText(name=path.name)
    except KbError as error:
        found |= {"state": "failed", "error": str(error)}
    seconds = round(time.perf_counter() - began, 3)
    return {"file": str(path), **found, "seconds": seconds, "peak_mb": max([peak, *_peaks()])}


def _noting_headings(parts: Iterable[ParsedDocument], headings: list[dict[str, Any]]) -> Iterator[ParsedDocument]:
    above: list[Heading] = []
    for part in parts:
        for heading in part.headings:
            above = [each for each in above if each.level < heading.level] + [heading]
            path = " > ".join(each.title for each in above)
            headings.append({"level": heading.level, "title": heading.title, "path": path})
        yield part


def _parsers() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


def _reset_peaks() -> None:
    for pid in _parsers():
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def _peaks() -> Iterator[int]:
    """The peak memory of each parser in MB, on Linux; a parser that crashed has none."""
    return filter(None, map(peak_memory_mb, _parsers()))


if __name__ == "__main__":
    main()
