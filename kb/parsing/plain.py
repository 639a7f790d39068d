"""Plain text in any encoding."""

from __future__ import annotations

from collections.abc import Iterator

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode


def parse(source: Source) -> Iterator[ParsedDocument]:
    """The text as it is, without headings."""
    builder = TextBuilder(source.name)
    builder.add(decode(source.path.read_bytes()))
    yield from builder.last_parts()
