"""Reading a document from one place to another."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field, model_validator

from kb.access import Principal
from kb.reading import Part
from kb.services import Services
from kb.tools.tool import MOST_TOKENS, Arguments, Result, Tool

MOST_CHUNKS = 100


class ReadWanted(Arguments):
    document_id: UUID
    first_page: int = Field(default=0, ge=0, le=1_000_000, description="From 1; 0: do not read by pages.")
    last_page: int = Field(default=0, ge=0, le=1_000_000, description="0: the same as `first_page`.")
    first_chunk: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="Begin here: a `chunk` of search or grep, or `next_chunk` of the result before (with its pages).",
    )
    chunks: int = Field(default=20, ge=1, le=MOST_CHUNKS, description="How many at most.")

    @model_validator(mode="after")
    def _goes_forward(self) -> ReadWanted:
        if 0 < self.last_page < self.first_page:
            raise ValueError("last_page is before first_page")
        return self


class ReadPart(Result):
    chunk: int
    page: int | None = Field(default=None, description="On which it begins; its end may stand on the next.")
    heading: str
    text: str = Field(description="Goes on where the part before it ends.")

    @classmethod
    def of(cls, part: Part) -> ReadPart:
        chunk = part.chunk
        return cls(chunk=chunk.ordinal, page=chunk.page or None, heading=chunk.heading, text=part.text)


class Read(Result):
    document_id: UUID
    document: str
    knowledge_base_id: UUID
    pages: int = Field(description="Of the whole document; 0: a format without pages.")
    total_chunks: int = Field(description="Of the whole document; the last has the number below this.")
    parts: list[ReadPart]
    next_chunk: int | None = Field(
        default=None, description="Pass it as `first_chunk` to read on; absent: this was all that you asked for."
    )
    missing_chunks: int = Field(default=0, description="Parts of this stretch that could not be read.")


def _read(services: Services, principal: Principal, given: ReadWanted) -> Read:
    first = given.first_page or (1 if given.last_page else 0)
    stretch = services.reader.read(
        principal,
        given.document_id,
        first_page=first,
        last_page=given.last_page or first,
        first_chunk=given.first_chunk,
        most_chunks=given.chunks,
        most_tokens=MOST_TOKENS,
    )
    return Read(
        document_id=stretch.of.document_id,
        document=stretch.of.name,
        knowledge_base_id=stretch.of.knowledge_base_id,
        pages=stretch.of.pages,
        total_chunks=stretch.of.chunks,
        parts=[ReadPart.of(part) for part in stretch.parts],
        next_chunk=stretch.next_chunk,
        missing_chunks=stretch.missing,
    )


READ_DOCUMENT = Tool(
    name="read_document",
    title="Read a document",
    description=(
        "The text of a document, in order: pages `first_page` to `last_page` where it has pages, else chunks (short "
        "stretches of text) from `first_chunk` on. For what stands around a passage of search or grep, begin one or "
        f"two chunks before it. A result holds about {MOST_TOKENS:,} tokens at most; `next_chunk` says where to go on."
    ),
    arguments=ReadWanted,
    result=Read,
    run=_read,
)
