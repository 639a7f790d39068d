"""What a question finds on the web: passages of pages, what became of each page, and how far the search is. No I/O.

Kept as JSON with each answer, so every field but ids needs a default: see `kb.formats`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from urllib.parse import urlsplit

from kb.errors import KbError, from_code
from kb.models import Beginning, Passage, Retrieval, Trace


@dataclass(frozen=True, slots=True)
class WebPassage:
    """A passage of a web page. `passage.document_name` is the page's title.

    `is_snippet`: the page could not be read, and this is what the search engine says of it; `fetched_at` is then the
    moment of the search.
    """

    passage: Passage
    address: str = ""
    fetched_at: datetime | None = None  # UTC
    published: date | None = None
    is_snippet: bool = False

    @property
    def rank(self) -> int:
        return self.passage.rank

    @property
    def title(self) -> str:
        return self.passage.document_name

    @property
    def host(self) -> str:
        return host_of(self.address)

    @property
    def place(self) -> str:
        """The address, at the passage's page of a PDF."""
        page = self.passage.chunk.page
        return f"{self.address.partition('#')[0]}#page={page}" if page else self.address


@dataclass(frozen=True, slots=True)
class ReadPage:
    """A page that the engine found or the question names. If it could not be read, `error` is a code of `kb.errors`.

    `address` is the one after redirects. `chunks` of the page were searched; of a very long page (`is_cut`), those of
    its beginning.
    """

    address: str = ""
    title: str = ""
    fetched_at: datetime | None = None  # UTC
    published: date | None = None
    snippet: str = ""
    chunks: int = 0
    is_cut: bool = False
    error: str = ""
    error_values: dict[str, str] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        return not self.error

    @property
    def reason(self) -> KbError:
        """Why it could not be read."""
        return from_code(self.error, self.error_values)

    @property
    def host(self) -> str:
        return host_of(self.address)


@dataclass(frozen=True, slots=True)
class WebRetrieval:
    """The answer of `WebRetriever.retrieve`: the passages, the best first, all pages in the engine's order, the trace.

    `engine` is the id of the engine, `engine_label` its name in English (see `SearchEngine.label`); both are empty if
    the question names the pages. `nearest`, `widened` and `beginnings` are those of `Retrieval`.
    """

    question: str = ""
    engine: str = ""
    engine_label: str = ""
    searched_at: datetime | None = None  # UTC
    passages: tuple[WebPassage, ...] = ()
    pages: tuple[ReadPage, ...] = ()
    trace: Trace = field(default_factory=Trace)
    nearest: tuple[WebPassage, ...] = ()
    widened: int = 0
    beginnings: tuple[Beginning, ...] = ()

    @property
    def are_pages_named(self) -> bool:
        """Whether the question names the pages, so that no engine was asked."""
        return bool(self.pages) and not self.engine

    @property
    def unread(self) -> tuple[ReadPage, ...]:
        """The pages that could not be read."""
        return tuple(page for page in self.pages if not page.is_read)

    def as_retrieval(self) -> Retrieval:
        """The passages as those of a knowledge base, for what makes no difference between the two."""
        passages = tuple(each.passage for each in self.passages)
        return Retrieval(self.question, passages, self.trace, beginnings=self.beginnings)


class WebStage(StrEnum):
    SEARCHING = "searching"
    READING = "reading"
    RANKING = "ranking"


@dataclass(frozen=True, slots=True)
class WebProgress:
    """How far a search of the web is: `done` of `total` pages;

    `name` is the engine's label (empty where it is none of a single engine), or the host of the last page.
    """

    stage: WebStage
    done: int = 0
    total: int = 0
    name: str = ""


def host_of(address: str) -> str:
    """The host in an address, as people write it."""
    try:
        return (urlsplit(address).hostname or "").removeprefix("www.")
    except ValueError:
        return ""
