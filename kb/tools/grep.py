"""Finding exact text."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field, model_validator

from kb.access import Principal
from kb.reading import MOST_PATTERN_CHARACTERS, Match, Pattern
from kb.services import Services
from kb.tools.tool import Arguments, Result, Tool

MOST_BASES, MOST_DOCUMENTS, MOST_MATCHES = 50, 200, 50


class GrepWanted(Arguments):
    pattern: str = Field(min_length=1, max_length=MOST_PATTERN_CHARACTERS)
    knowledge_base_ids: list[UUID] = Field(default=[], max_length=MOST_BASES)
    document_ids: list[UUID] = Field(
        default=[], max_length=MOST_DOCUMENTS, description="Only these; empty: all of the knowledge bases."
    )
    regex: bool = Field(default=False, description="Whether the pattern is a regular expression, in RE2's syntax.")
    case_sensitive: bool = False
    limit: int = Field(default=20, ge=1, le=MOST_MATCHES, description="How many matches at most.")
    cursor: str = Field(
        default="", max_length=100, description="`next` of the result before, with the same arguments; empty: begin."
    )

    @model_validator(mode="after")
    def _says_where(self) -> GrepWanted:
        if not self.knowledge_base_ids and not self.document_ids:
            raise ValueError("name at least one of knowledge_base_ids or document_ids")
        return self


class Place(Result):
    document_id: UUID
    document: str
    page: int | None = Field(default=None, description="On which its chunk begins; absent: a format without pages.")
    chunk: int = Field(description="Its chunk's place in the document, from 0; see read_document.")
    heading: str
    match: str
    text: str = Field(description="The match with what stands around it.")

    @classmethod
    def of(cls, match: Match) -> Place:
        chunk = match.chunk
        return cls(
            document_id=match.of.document_id,
            document=match.of.name,
            page=chunk.page or None,
            chunk=chunk.ordinal,
            heading=chunk.heading,
            match=match.matched,
            text=match.text,
        )


class Places(Result):
    matches: list[Place]
    next: str | None = Field(
        default=None, description="There may be more: pass it as `cursor`. Absent: all was searched."
    )
    missing_chunks: int = Field(default=0, description="Parts of the documents that could not be searched.")


def _grep(services: Services, principal: Principal, given: GrepWanted) -> Places:
    pattern = Pattern.of(given.pattern, given.regex, given.case_sensitive)
    found = services.reader.grep(
        principal, pattern, given.knowledge_base_ids, given.document_ids, given.limit, given.cursor
    )
    matches = [Place.of(match) for match in found.matches]
    return Places(matches=matches, next=found.cursor or None, missing_chunks=found.missing)


GREP = Tool(
    name="grep",
    title="Find exact text",
    description=(
        "Every place where a text stands, word for word, in knowledge bases or in some documents, in the order of the "
        "documents' names. Use it for exact words, names, numbers and codes, to count or to be sure that nothing is "
        "missed; for questions and topics, use search. White space in a plain pattern matches any other, also line "
        "ends. With `regex`, RE2's syntax counts: no lookaround and no backreferences. A large knowledge base takes "
        "several calls: go on while there is a `next`, also after one without matches."
    ),
    arguments=GrepWanted,
    result=Places,
    run=_grep,
)
