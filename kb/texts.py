"""The text of chunks that follow one another, without repeating what two of them share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kb.models import Chunk


def own_texts(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, str]]:
    """The enabled chunks of a version, in order, each with the part of its text that the one before does not hold."""
    end = 0
    for chunk in chunks:
        if chunk.enabled:
            yield chunk, chunk.text[max(0, end - chunk.start) :]
            end = chunk.end
