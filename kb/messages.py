"""Messages: a tree of typed parts. No I/O.

Each part is kept as JSON of its own with the number of its format (`kb.formats`), so every field needs a default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeVar
from uuid import UUID

from kb.citations import count_dangling
from kb.models import NOWHERE, MessageState, Mode, NotSearched, Retrieval, Role, Scope, Unsearchable
from kb.web_search.passages import ReadPage, WebRetrieval

# --- parts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextPart:
    """What the message says, as Markdown; a question as it was typed."""

    kind: ClassVar[str] = "text"
    text: str = ""


@dataclass(frozen=True, slots=True)
class ReasoningPart:
    """What the model thought before its answer; no part of the history that models get."""

    kind: ClassVar[str] = "reasoning"
    text: str = ""
    thought_ms: float = 0.0  # how long the model thought; 0: not known


@dataclass(frozen=True, slots=True)
class PassagesPart:
    """The passages and the trace that the answer was given from, as they were then. Too bulky for lists of messages."""

    kind: ClassVar[str] = "passages"
    retrieval: Retrieval = field(default_factory=Retrieval)


@dataclass(frozen=True, slots=True)
class WebPart:
    """As `PassagesPart`, of an answer that was given from the web."""

    kind: ClassVar[str] = "web"
    retrieval: WebRetrieval = field(default_factory=WebRetrieval)


@dataclass(frozen=True, slots=True)
class Source:
    """A passage of an answer by its name, without its text and scores; `address` is that of a web page."""

    rank: int = 0
    document_name: str = ""
    page: int = 0
    address: str = ""
    heading: str = ""  # as `Chunk.heading`


@dataclass(frozen=True, slots=True)
class SourcesPart:
    """The passages by their names, for lists of messages; `widened` as in `Retrieval`."""

    kind: ClassVar[str] = "sources"
    passages: tuple[Source, ...] = ()
    milliseconds: float = 0.0  # that finding them took; 0: not known
    pages: int = 0  # web pages that the engine found, or that the question names
    pages_read: int = 0
    widened: int = 0
    unread: tuple[ReadPage, ...] = ()  # pages that the question names
    unsearchable: Unsearchable | None = None  # as in `Retrieval`
    not_searched: tuple[NotSearched, ...] = ()  # as in `Retrieval`
    unread_hosts: tuple[str, ...] = ()  # of pages that the engine found

    @classmethod
    def of(cls, retrieval: Retrieval) -> SourcesPart:
        sources = (
            Source(each.rank, each.document_name, each.chunk.page, heading=each.chunk.heading)
            for each in retrieval.passages
        )
        return cls(
            tuple(sources),
            round(retrieval.trace.milliseconds, 1),
            widened=retrieval.widened,
            unsearchable=retrieval.unsearchable,
            not_searched=retrieval.not_searched,
        )

    @classmethod
    def of_web(cls, retrieval: WebRetrieval) -> SourcesPart:
        sources = (Source(each.rank, each.title, each.passage.chunk.page, each.address) for each in retrieval.passages)
        pages = len(retrieval.pages)
        took = round(retrieval.trace.milliseconds, 1)
        is_named = retrieval.are_pages_named
        return cls(
            tuple(sources),
            took,
            pages,
            pages - len(retrieval.unread),
            retrieval.widened,
            retrieval.unread if is_named else (),
            unread_hosts=() if is_named else tuple(dict.fromkeys(page.host for page in retrieval.unread)),
        )


@dataclass(frozen=True, slots=True)
class WidenedPart:
    """As `SourcesPart.widened`, of an answer that ended before its search did."""

    kind: ClassVar[str] = "widened"
    times: int = 0


@dataclass(frozen=True, slots=True)
class SearchedForPart:
    """What a follow-up was taken to mean, and searched for."""

    kind: ClassVar[str] = "searched_for"
    question: str = ""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A sentence of the answer, as it stands there, and what of it does not stand in the passages that it cites."""

    sentence: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SupportPart:
    """The sentences of the answer that its passages do not support: see `kb.support`.

    And the state of a check by a model: it runs since `asked_at`, or failed with `code`.
    """

    kind: ClassVar[str] = "support"
    unsupported: tuple[Unsupported, ...] = ()
    checked_by: str = ""  # the model that judged them; empty: only their words were compared
    unjudged: int = 0  # sentences that the model said nothing about
    asked_at: float = 0.0  # seconds since the epoch
    code: str = ""  # of `kb.errors`, with its values
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsagePart:
    """The model that answered, its time, and its tokens as the server counted them (0: it did not say)."""

    kind: ClassVar[str] = "usage"
    model: str = ""
    first_token_ms: float = 0.0  # from the question to the first piece of the model's answer
    total_ms: float = 0.0  # from the question to the end
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ErrorPart:
    """Why the answer failed: a code of `kb.errors` and its values."""

    kind: ClassVar[str] = "error"
    code: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that came with a question. It may have been removed since."""

    document_id: str = ""
    name: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class AttachmentsPart:
    """The files that came with a question."""

    kind: ClassVar[str] = "attachments"
    files: tuple[Attached, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that an answer had to do without, and why: a code of `kb.errors` and its values."""

    name: str = ""
    code: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeftOutPart:
    """The files of the question that the answer had to do without."""

    kind: ClassVar[str] = "left_out"
    files: tuple[LeftOut, ...] = ()


Part = (
    TextPart
    | ReasoningPart
    | PassagesPart
    | WebPart
    | SourcesPart
    | WidenedPart
    | SearchedForPart
    | SupportPart
    | AttachmentsPart
    | LeftOutPart
    | UsagePart
    | ErrorPart
)
PARTS: dict[str, type[Part]] = {
    part.kind: part
    for part in (
        TextPart,
        ReasoningPart,
        PassagesPart,
        WebPart,
        SourcesPart,
        WidenedPart,
        SearchedForPart,
        SupportPart,
        AttachmentsPart,
        LeftOutPart,
        UsagePart,
        ErrorPart,
    )
}
P = TypeVar("P", bound=Part)


# --- messages --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rating:
    """What the user thinks of an answer: `value` is 1 (good), -1 (bad) or 0 (not said), `reason` why it is bad."""

    value: int = 0
    reason: str = ""


UNRATED = Rating()


@dataclass(frozen=True, slots=True)
class Message:
    """A message. Its children are what followed it; of several, one is on the branch that the conversation shows.

    `ordinal` counts the conversation's messages in the order in which they came, so it grows along each branch.
    """

    id: UUID
    conversation_id: UUID
    ordinal: int
    role: Role
    state: MessageState
    mode: Mode
    created_at: datetime
    parts: tuple[Part, ...] = ()
    parent_id: UUID | None = None
    run_id: UUID | None = None  # of an answer: the run that writes it, or wrote it last
    scope: Scope = NOWHERE
    rating: Rating = UNRATED
    siblings: tuple[UUID, ...] = ()  # in lists: all that may stand in this place, itself among them, the oldest first
    has_lost_passages: bool = False  # a release that cannot be understood here stored them
    began_at: datetime | None = None  # of an answer: its last run. None if an earlier release wrote it
    finished_at: datetime | None = None  # likewise, and None while it runs

    def part(self, kind: type[P]) -> P | None:
        return next((part for part in self.parts if isinstance(part, kind)), None)

    @property
    def content(self) -> str:
        return _text_of(self.part(TextPart))

    @property
    def reasoning(self) -> str:
        return _text_of(self.part(ReasoningPart))

    @property
    def thought_ms(self) -> float:
        """How long the model thought; 0 if that is not known."""
        part = self.part(ReasoningPart)
        return part.thought_ms if part else 0.0

    @property
    def retrieval(self) -> Retrieval | None:
        """None in lists of messages, too: see `sources`."""
        found = self.part(PassagesPart)
        return found.retrieval if found else None

    @property
    def web(self) -> WebRetrieval | None:
        """What it was given from on the web; None in lists of messages, too."""
        found = self.part(WebPart)
        return found.retrieval if found else None

    @property
    def sources(self) -> SourcesPart | None:
        return self.part(SourcesPart)

    @property
    def dangling_citations(self) -> int:
        """How many citations of the model point to no passage, and are left out wherever the answer is read."""
        return count_dangling(self.content, self.sources) if self.model else 0

    @property
    def widened(self) -> int:
        """How often its search was made wider than the profile."""
        asked = self.part(WidenedPart)
        return self.sources.widened if self.sources else asked.times if asked else 0

    @property
    def searched_for(self) -> str:
        """What a follow-up was taken to mean; empty if it was searched for as it is."""
        found = self.part(SearchedForPart)
        return found.question if found else ""

    @property
    def support(self) -> SupportPart:
        return self.part(SupportPart) or SupportPart()

    @property
    def unsupported(self) -> tuple[Unsupported, ...]:
        return self.support.unsupported

    @property
    def attached(self) -> tuple[Attached, ...]:
        """The files that came with a question."""
        found = self.part(AttachmentsPart)
        return found.files if found else ()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The files that an answer had to do without."""
        found = self.part(LeftOutPart)
        return found.files if found else ()

    @property
    def usage(self) -> UsagePart:
        return self.part(UsagePart) or UsagePart()

    @property
    def model(self) -> str:
        """The model that answered; empty if none did."""
        return self.usage.model

    @property
    def took_ms(self) -> float | None:
        """How long the last run of an answer took, whether or not a model was asked; None if that is not known."""
        if self.began_at and self.finished_at:
            return max(0.0, (self.finished_at - self.began_at) / timedelta(milliseconds=1))
        return self.usage.total_ms or None

    @property
    def error(self) -> ErrorPart:
        """Why it failed; without a code if it did not."""
        return self.part(ErrorPart) or ErrorPart()


def _text_of(part: TextPart | ReasoningPart | None) -> str:
    return part.text if part else ""


def message_of(role: Role, text: str, ordinal: int) -> Message:
    """A message of a conversation that is kept elsewhere, to ask with as history."""
    moment = datetime.now(UTC)
    return Message(UUID(int=0), UUID(int=0), ordinal, role, MessageState.DONE, Mode.LLM, moment, (TextPart(text),))


def given_from(retrieval: Retrieval | WebRetrieval) -> Sequence[Part]:
    """The parts that tell what an answer was given from."""
    if isinstance(retrieval, WebRetrieval):
        return SourcesPart.of_web(retrieval), WebPart(retrieval)
    return SourcesPart.of(retrieval), PassagesPart(retrieval)
