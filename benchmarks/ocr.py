"""How well pages are read from their images: `python -m benchmarks.ocr PATH…` (PDF files or folders) prints JSON lines.

Pages that have text are rendered and read as if they were scans. `found` is the share of the characters of the text
layer that were read, `in_order` that of its pairs of neighbours, without spaces and rows of dots or dashes.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import psutil
import pypdfium2

from benchmarks.ingest import find_files
from kb.parsing.images.ocr import read_image
from kb.parsing.images.scans import render
from kb.parsing.layout.prose import Words, join_lines

MIN_CHARACTERS = 50
BYTES_PER_MB = 1 << 20
LEADERS = re.compile(r"([.…·_—–=*•-])\1{2,}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ocr", description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    parser.add_argument("--pages", type=int, default=3, help="of each file, at most")
    parser.add_argument("--text", action="store_true", help="print the texts, too")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    for path in find_files(arguments.paths):
        if path.suffix.lower() == ".pdf":
            for page in islice(read(path), arguments.pages):
                total.update(
                    {
                        name: page[name]
                        for name in ("characters", "read", "pairs", "pairs_read", "seconds", "cpu_seconds")
                    }
                )
                total["pages"] += 1
                if not arguments.text:
                    del page["text"], page["expected"]
                print(json.dumps(page, ensure_ascii=False), flush=True)
    if total["pages"]:
        print(
            json.dumps(
                {
                    "pages": total["pages"],
                    "characters": total["characters"],
                    "found": round(total["read"] / total["characters"], 4),
                    "in_order": round(total["pairs_read"] / total["pairs"], 4),
                    "seconds_per_page": round(total["seconds"] / total["pages"], 2),
                    "cpu_seconds_per_page": round(total["cpu_seconds"] / total["pages"], 2),
                    "rss_mb": psutil.Process().memory_info().rss // BYTES_PER_MB,
                }
            )
        )


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Each page that has text, read from its image."""
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError:
        return
    for number, page in enumerate(document, 1):
        expected = _characters(page.get_textpage().get_text_bounded())
        if len(expected) < MIN_CHARACTERS:
            continue
        began, cpu = time.perf_counter(), time.process_time()
        scan = render(page)
        lines, _height = read_image(scan.image, scan.scale, lambda: None)
        text = join_lines(lines, Words()).text
        found = _characters(text)
        pairs, found_pairs = Counter(pairwise(expected)), Counter(pairwise(found))
        yield {
            "file": path.name,
            "page": number,
            "characters": len(expected),
            "read": (Counter(expected) & Counter(found)).total(),
            "found": round((Counter(expected) & Counter(found)).total() / len(expected), 4),
            "pairs": pairs.total(),
            "pairs_read": (pairs & found_pairs).total(),
            "seconds": round(time.perf_counter() - began, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "rss_mb": psutil.Process().memory_info().rss // BYTES_PER_MB,
            "missing": (Counter(expected) - Counter(found)).most_common(5),
            "expected": page.get_textpage().get_text_bounded(),
            "text": text,
        }


def _characters(text: str) -> str:
    """The text without what nobody can see, or count."""
    text = "".join(each for each in unicodedata.normalize("NFKC", text) if not each.isspace() and each.isprintable())
    return LEADERS.sub("", text)


if __name__ == "__main__":
    main()
