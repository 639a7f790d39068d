"""JSON messages over a pipe, each preceded by its length."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

from kb.models import Heading, PageStart, ParsedDocument

_LENGTH = struct.Struct(">Q")
Frame = dict[str, Any]


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Send one message. Lone surrogates are allowed, because file names can contain them."""
    payload = json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogatepass")
    stream.write(_LENGTH.pack(len(payload)))
    stream.write(payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Frame | None:
    """The next message; None if the other side has gone."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    payload = stream.read(size)
    if len(payload) < size:
        return None
    frame: Frame = json.loads(payload.decode("utf-8", "surrogatepass"))
    return frame


def document_frame(document: ParsedDocument) -> Frame:
    """A parsed document as a message."""
    return {
        "kind": "document",
        "text": document.text,
        "pages": [(page.start, page.number) for page in document.pages],
        "headings": [(heading.start, heading.level, heading.title) for heading in document.headings],
        "title": document.title,
        "whole": document.has_whole_pages,
    }


def read_document(frame: Frame) -> ParsedDocument:
    """The document in a message of `document_frame`."""
    pages = tuple(PageStart(start, number) for start, number in frame["pages"])
    headings = tuple(Heading(start, level, title) for start, level, title in frame["headings"])
    return ParsedDocument(frame["text"], pages, headings, frame["title"], frame["whole"])
