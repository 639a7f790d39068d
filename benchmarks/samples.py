"""A fixed set of files to ingest, in several formats and sizes, in Chinese and English."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from docx import Document as WordDocument
from pptx import Presentation

_ENGLISH = (
    "In {year} the {thing} of {place} {verb} about {number} {unit}, which the council had not expected.",
    "Reports on the {thing} say that {place} {verb} more than {number} {unit} before {year}.",
    "Whoever visits {place} should see the {thing}; it {verb} {number} {unit} since {year}.",
)
_CHINESE = (
    "{year}年，{place}的{thing}{verb}了大约{number}{unit}，这是议会没有料到的。",
    "关于{thing}的报告指出，{place}在{year}年以前{verb}了{number}多{unit}。",
    "到{place}的人都应当看看{thing}，自{year}年以来它{verb}了{number}{unit}。",
)
_WORDS = {
    "en": {
        "thing": ("harbour", "railway", "observatory", "paper mill", "reservoir", "market", "library", "power station"),
        "place": ("Aldersgate", "Port Verne", "Lindenau", "the northern valley", "Kirkby", "San Telmo"),
        "verb": ("produced", "lost", "carried", "recorded", "stored", "repaired"),
        "unit": ("tonnes of grain", "passengers", "measurements", "books", "letters", "machines"),
    },
    "zh": {
        "thing": ("港口", "铁路", "天文台", "造纸厂", "水库", "集市", "图书馆", "发电站"),
        "place": ("临江县", "北山镇", "青石桥", "南湖区", "云台", "长洲岛"),
        "verb": ("生产", "损失", "运送", "记录", "储存", "修理"),
        "unit": ("吨粮食", "名旅客", "次测量", "册图书", "封信件", "台机器"),
    },
}


_PAGE_PARAGRAPHS = 4


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    language: str  # "en" or "zh"
    paragraphs: int


# The first ones are long enough to be interrupted while they are parsed, embedded and indexed.
SAMPLES = (
    Sample("harbour archive.md", "en", 130),
    Sample("县志全文.txt", "zh", 160),
    Sample("survey of the valley.pdf", "en", 120),
    Sample("水利工程报告.docx", "zh", 140),
    Sample("railway minutes.html", "en", 30),
    Sample("图书馆目录.csv", "zh", 40),
    Sample("observations.csv", "en", 30),
    Sample("年度总结.pptx", "zh", 30),
    Sample("quarterly review.pptx", "en", 20),
    Sample("手册.md", "zh", 20),
    Sample("letters.txt", "en", 12),
    Sample("通知.html", "zh", 8),
    Sample("budget.docx", "en", 8),
    Sample("会议纪要.docx", "zh", 6),
    Sample("leaflet.pdf", "en", 5),
    Sample("告示.txt", "zh", 3),
    Sample("note.md", "en", 2),
    Sample("便条.md", "zh", 1),
    Sample("postcard.txt", "en", 1),
    Sample("题目.txt", "zh", 1),
)


def write_samples(folder: Path) -> list[Path]:
    """Write the files to `folder`."""
    paths = []
    for sample in SAMPLES:
        path = folder / sample.name
        path.write_bytes(_WRITERS[path.suffix](_paragraphs(sample)))
        paths.append(path)
    return paths


def long_pdf(pages: int) -> bytes:
    """An English PDF with so many pages."""
    return _pdf(_paragraphs(Sample("long.pdf", "en", _PAGE_PARAGRAPHS * pages)))


def long_text(pages: int) -> bytes:
    """A Chinese text without headings, as long as so many pages."""
    return _text(_paragraphs(Sample("long.txt", "zh", _PAGE_PARAGRAPHS * pages)))


def _paragraphs(sample: Sample) -> list[str]:
    chance = random.Random(sample.name)
    return [" ".join(_sentence(chance, sample.language) for _ in range(5)) for _ in range(sample.paragraphs)]


def _sentence(chance: random.Random, language: str) -> str:
    words = {kind: chance.choice(choices) for kind, choices in _WORDS[language].items()}
    pattern = chance.choice(_CHINESE if language == "zh" else _ENGLISH)
    return pattern.format(**words, year=chance.randrange(1850, 2020), number=chance.randrange(20, 90_000))


def _text(paragraphs: list[str]) -> bytes:
    return "\n\n".join(paragraphs).encode()


def _markdown(paragraphs: list[str]) -> bytes:
    return "\n\n".join(
        f"# {place}\n\n{paragraph}" if place % 20 == 0 else paragraph for place, paragraph in enumerate(paragraphs)
    ).encode()


def _html(paragraphs: list[str]) -> bytes:
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return f"<!doctype html><html><head><meta charset='utf-8'></head><body>{body}</body></html>".encode()


def _csv(paragraphs: list[str]) -> bytes:
    target = io.StringIO()
    csv.writer(target).writerows([("number", "text"), *enumerate(paragraphs)])
    return target.getvalue().encode()


def _docx(paragraphs: list[str]) -> bytes:
    document, target = WordDocument(), io.BytesIO()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.save(target)
    return target.getvalue()


def _pptx(paragraphs: list[str]) -> bytes:
    presentation, target = Presentation(), io.BytesIO()
    for paragraph in paragraphs:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.placeholders[1].text = paragraph
    presentation.save(target)
    return target.getvalue()


def _pdf(paragraphs: list[str]) -> bytes:
    """Write a PDF with four paragraphs per page, in Helvetica: ASCII only, since no font is embedded."""
    starts = range(0, len(paragraphs), _PAGE_PARAGRAPHS)
    pages = [paragraphs[start : start + _PAGE_PARAGRAPHS] for start in starts]
    kids = " ".join(f"{4 + 2 * place} 0 R" for place in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for place, page in enumerate(pages):
        stream = _page_stream(page)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * place} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    return _pdf_file(objects)


def _page_stream(paragraphs: list[str]) -> str:
    lines = ["BT /F1 9 Tf 40 800 Td 12 TL"]
    for paragraph in paragraphs:
        words = paragraph.split()
        lines += [f"({' '.join(words[first : first + 14])}) Tj T*" for first in range(0, len(words), 14)] + ["T*"]
    return "\n".join([*lines, "ET"])


def _pdf_file(objects: list[str]) -> bytes:
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(content)}\n%%EOF\n"
    return content + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


_WRITERS: dict[str, Callable[[list[str]], bytes]] = {
    ".md": _markdown,
    ".txt": _text,
    ".pdf": _pdf,
    ".docx": _docx,
    ".html": _html,
    ".csv": _csv,
    ".pptx": _pptx,
}
