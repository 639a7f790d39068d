"""Questions to begin with: ones that a knowledge base can answer, as its documents' names tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from kb.access import Principal
from kb.errors import N_
from kb.library import Documents
from kb.models import DocumentOrder, VersionState

MOST_SUGGESTIONS = 4
_LOOKED_AT = 20  # the newest documents; some names make no question
_LONGEST_NAME = 48  # characters; a longer question would not fit its button
_QUOTES = frozenset('“”"《》「」`')

# Each is read by `kb.retrieval.overview_questions` in every language of the pages: it asks for names or for whole
# files, so what it asks for is there. The files' names are quoted, because a name may hold words that ask for something
# else.
LIST_FILES = N_("Which files are there?")
_ABOUT_A_FILE = (N_("Summarize “{name}”"), N_("What is “{name}” about?"), N_("What are the main points of “{name}”?"))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A question: an English template, to be translated, and the document's name that fills it."""

    template: str
    name: str = ""


def suggest(documents: Documents, principal: Principal, knowledge_base_id: UUID) -> list[Suggestion]:
    """At most `MOST_SUGGESTIONS` questions about the newest documents; none if no document is ready.

    Reads one page of an index, however many documents there are. Errors: `NotFound`, `DatabaseUnavailable`.
    """
    newest = documents.list(
        principal, knowledge_base_id, limit=_LOOKED_AT, states=[VersionState.READY], order=DocumentOrder.NEWEST
    )
    if not newest:
        return []
    names = [document.name for document in newest if document.latest.chunks]
    about = [
        Suggestion(template, name) for template, name in zip(_ABOUT_A_FILE, dict.fromkeys(_usable(names)), strict=False)
    ]
    return [*about[: MOST_SUGGESTIONS - 1], Suggestion(LIST_FILES)]


def _usable(names: list[str]) -> Iterator[str]:
    """Names that can be quoted in a question."""
    return (name for name in names if len(name) <= _LONGEST_NAME and _QUOTES.isdisjoint(name))
