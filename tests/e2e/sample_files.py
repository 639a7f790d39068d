"""Small real files, built on demand. Each states one fact that the others do not."""

from __future__ import annotations

import io
from collections.abc import Sequence

import docx
from playwright.sync_api import FilePayload

MARKDOWN = """\
# Lighthouses

## The keeper of Skerry Point

The keeper of Skerry Point polishes the brass lantern every Thursday before sunset.

## Fog

When fog comes, the horn sounds twice a minute until the lamp can be seen from the harbour.
"""
CHINESE = """\
青瓷的烧制

龙泉青瓷的釉色以粉青和梅子青最为有名。烧窑的老师傅每逢初七才开窑，因为他们相信初七的火最稳。
釉料里的铁在还原焰中变成青色，温度要保持在一千二百度左右。
"""
WORD = "The bakery on Mill Lane sells rye bread with caraway seeds on Saturdays only."
ENGLISH_PAGES = (
    "Observatory Hill telescope: a mirror of forty inches under a copper dome.",
    "The library keeps star charts drawn by hand.",
)
CHINESE_PAGES = ("北山天文台的圆顶每天黄昏由守夜人打开。", "藏书室里存有手绘的星图和一件龙泉青瓷。")
LOG = "thin clouds drift westward, nothing else."


def text_files() -> list[FilePayload]:
    """A file of each kind, and an empty one."""
    return [
        {"name": "lighthouses.md", "mimeType": "text/markdown", "buffer": MARKDOWN.encode()},
        {"name": "青瓷.txt", "mimeType": "text/plain", "buffer": CHINESE.encode("gb18030")},
        {"name": "bakery.docx", "mimeType": "application/octet-stream", "buffer": word_file(WORD)},
        {"name": "observatory.pdf", "mimeType": "application/pdf", "buffer": pdf_file(ENGLISH_PAGES, hours=12)},
        {"name": "天文台.pdf", "mimeType": "application/pdf", "buffer": pdf_file(CHINESE_PAGES)},
        {"name": "empty.txt", "mimeType": "text/plain", "buffer": b""},
    ]


def word_file(text: str) -> bytes:
    document = docx.Document()
    document.add_paragraph(text)
    content = io.BytesIO()
    document.save(content)
    return content.getvalue()


def pdf_file(pages: Sequence[str], hours: int = 0) -> bytes:
    """Build a PDF by hand. Each page holds that many lines of a night log, then the page's own line."""
    first = 4  # objects 1 to 3 are the catalogue, the pages and the font; then each page, followed by its content
    kids = " ".join(f"{first + 2 * index} 0 R" for index in range(len(pages)))
    bodies = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        # A Chinese font that PDF readers include; its texts are UTF-16.
        "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts ["
        "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light "
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> >>] >>",
    ]
    for index, text in enumerate(pages):
        lines = [f"Night {index + 1}, hour {hour}: {LOG}" for hour in range(1, hours + 1)] + [text]
        shown = " ".join(f"<{line.encode('utf-16-be').hex()}> Tj T*" for line in lines)
        drawing = f"BT /F1 8 Tf 12 TL 36 720 Td {shown} ET"
        bodies += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {first + 2 * index + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream",
        ]
    file, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(file))
        file += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(bodies) + 1
    tail = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer << /Size {size} /Root 1 0 R >>\n"
    return file + f"{tail}startxref\n{len(file)}\n%%EOF\n".encode()
