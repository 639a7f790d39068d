"""The process that draws pages: `python -m kb.page_images.child <parent's pid> <memory limit in MB>`.

It reads requests from stdin and writes images and errors to stdout until stdin ends.
"""

from __future__ import annotations

import base64
import io
import math
import sys
from pathlib import Path

import pypdfium2
from PIL import Image

from kb.errors import N_
from kb.parsing.child import begin
from kb.parsing.frames import Frame, read_frame, write_frame
from kb.parsing.media_types import PDF

_WIDTH = 1_300  # pixels: sharp in the drawer, also on a screen of twice as many
_MAX_PIXELS = 3_000_000
_MAX_SCALE = 4.0  # pixels per point, of a page that is smaller than a card
_QUALITY = 85


def main() -> None:
    answers, _memory_mb = begin()
    while request := read_frame(sys.stdin.buffer):
        write_frame(answers, _answer(request))


def _answer(request: Frame) -> Frame:
    try:
        page = _draw_pdf if request["media_type"] == PDF else _draw_picture
        image = page(Path(request["path"]), request["page"])
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)  # full colour: letters are often coloured
    except MemoryError:
        return {"kind": "failed", "detail": N_("it needs too much memory")}
    except Exception:  # noqa: BLE001 - the libraries raise all kinds of exceptions for a broken file
        return {"kind": "failed", "detail": N_("part of it is missing or invalid")}
    return {"kind": "drawn", "image": base64.b64encode(buffer.getvalue()).decode()}


def _draw_pdf(path: Path, number: int) -> Image.Image:
    """A page as viewers show it, with what is filled into its forms."""
    with pypdfium2.PdfDocument(path) as document:
        document.init_forms()
        page = document[number - 1]
        width, height = page.get_size()
        scale = min(_MAX_SCALE, _WIDTH / max(width, 1.0), math.sqrt(_MAX_PIXELS / max(width * height, 1.0)))
        image: Image.Image = page.render(scale=scale).to_pil()
        return image.convert("RGB")


def _draw_picture(path: Path, number: int) -> Image.Image:
    from kb.parsing.images.picture import MAX_DECODED_PIXELS, READERS  # takes long, and is seldom needed
    from kb.parsing.images.upright import as_seen

    with Image.open(path, formats=READERS) as image:
        image.seek(number - 1)
        if image.width * image.height > MAX_DECODED_PIXELS:
            raise MemoryError
        return as_seen(image, _MAX_PIXELS)


if __name__ == "__main__":
    main()
