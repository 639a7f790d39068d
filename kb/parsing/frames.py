"""JSON messages over a pipe, each preceded by its length."""

from __future__ import annotations

import json
import struct
from dataclasses import astuple
from typing import IO, Any

from kb.models import Heading, LineBox, PageStart, ParsedDocument, TableRows
from kb.notes import Note

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


def part_frame(document: ParsedDocument) -> Frame:
    """A part of a document as a message."""
    return {
        "kind": "part",
        "text": document.text,
        "pages": [(page.start, page.number) for page in document.pages],
        "headings": [(heading.start, heading.level, heading.title) for heading in document.headings],
        "title": document.title,
        "whole": document.has_whole_pages,
        "notes": [(note.kind, note.count, note.pages, note.names) for note in document.notes],
        "tables": [(rows.start, rows.end) for rows in document.tables],
        "lines": [astuple(line) for line in document.lines],
    }


def read_part(frame: Frame) -> ParsedDocument:
    """The part in a message of `part_frame`."""
    pages = tuple(PageStart(start, number) for start, number in frame["pages"])
    headings = tuple(Heading(start, level, title) for start, level, title in frame["headings"])
    notes = tuple(Note(kind, count, tuple(pages), tuple(names)) for kind, count, pages, names in frame["notes"])
    tables = tuple(TableRows(start, end) for start, end in frame["tables"])
    lines = tuple(LineBox(*line) for line in frame["lines"])
    return ParsedDocument(frame["text"], pages, headings, frame["title"], frame["whole"], notes, tables, lines)
