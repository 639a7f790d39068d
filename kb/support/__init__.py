"""Which sentences of an answer say what the passages that they cite do not: by overlap, without a model.

A sentence is marked if a figure, date, name or quotation of it does not stand in them. False alarms would make people
ignore the marks, so what may be said in other words, or in another language, counts as supported. A sentence that cites
nothing is compared with all passages. Code, headings, lead-ins, questions, and sentences that say that nothing was
found claim nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kb import lexical
from kb.lexical import script_share
from kb.models import Retrieval
from kb.support.claims import missing_figures, missing_names
from kb.support.sentences import Sentence, sentences_of
from kb.support.sources import LEAST_SHARE, Sources, Text
from kb.web_search.passages import WebRetrieval

_LEAST_TERMS = 6  # of a sentence that shares no term at all with the passages that it cites
_MOST_MISSING = 5  # told of a sentence
MOST_CHARACTERS = 100_000  # of an answer are looked at: half a second to two seconds


@dataclass(frozen=True, slots=True)
class Span:
    """A sentence at characters `start` to `end` of the answer, and what of it does not stand in the passages."""

    start: int
    end: int
    missing: tuple[str, ...]


def unsupported(answer: str, passages: Mapping[int, str], given: str = "") -> tuple[Span, ...]:
    """The sentences of `answer`, which is Markdown, that the `passages` do not support, in order.

    `passages` are whole texts by rank: see `source_texts`. `given` is what else the answer may repeat: the question
    and the conversation. Without any passages nothing is marked, for there is nothing to compare with. Takes time in
    proportion to the length of the answer, and of the passages; only the first `MOST_CHARACTERS` of the answer are
    looked at, which is more than any answer that somebody reads sentence by sentence.
    """
    if not passages:
        return ()
    texts = {rank: Text(text) for rank, text in passages.items()}
    beside = Text(given)
    marked: list[Span] = []
    for sentence in sentences_of(answer[:MOST_CHARACTERS], passages.keys()):
        cited = [texts[rank] for rank in sentence.ranks] or list(texts.values())
        if missing := _missing(sentence, Sources([*cited, beside], has_citation=bool(sentence.ranks))):
            marked.append(Span(sentence.start, sentence.end, missing))
    return tuple(marked)


def source_texts(found: Retrieval | WebRetrieval | None) -> dict[int, str]:
    """What each passage that an answer was given from says, by rank.

    That is its text with its neighbours', and the names of the places where it stands. None for a list of files: names
    are no passages.
    """
    retrieval = found.as_retrieval() if isinstance(found, WebRetrieval) else found
    texts: dict[int, str] = {}
    if retrieval is None or retrieval.files:
        return texts
    for passage in retrieval.passages:
        places = [f"{place.document_name} {place.heading}" for place in (passage.place, *passage.also_in)]
        page = f"page {passage.chunk.page}" if passage.chunk.page else ""
        texts[passage.rank] = "\n".join([*places, page, passage.chunk.text, passage.context])
    return texts


def _missing(sentence: Sentence, sources: Sources) -> tuple[str, ...]:
    """What `sentence` claims and the sources do not say."""
    found = dict.fromkeys([*missing_figures(sentence.text, sources), *missing_names(sentence.text, sources)])
    if not found and sources.has_citation and _shares_nothing(sentence.text, sources):
        return (sentence.text,)
    return tuple(found)[:_MOST_MISSING]


def _shares_nothing(text: str, sources: Sources) -> bool:
    """Whether no word of a longer sentence stands in passages of the same script."""
    is_han = script_share(text, "han") >= 0.5
    if (sources.han if is_han else sources.latin) < LEAST_SHARE:
        return False
    forms = [forms for forms in lexical.question_forms(text) if not forms[0][0].isdigit()]
    return len(forms) >= _LEAST_TERMS * (2 if is_han else 1) and not any(map(sources.hold_form, forms))
