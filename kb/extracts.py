"""Sentences of a passage that match a question: the answer without a language model, and the marks in every passage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from kb import lexical
from kb.models import Passage, Retrieval

# Within a line of text: after a full stop of either kind. A line's end is looked at in `_line_ends_sentence`.
_STOP = re.compile(r"(?<=[。！？；!?])|(?<=[.;])\s+")
_SHORT_LINE = 0.6
ANSWER_PASSAGES = 3
ANSWER_SENTENCES = 2
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:])")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, where it begins in its text, and how many of the question's terms it holds."""

    start: int
    text: str
    matches: int


def split_sentences(text: str, terms: Sequence[str]) -> list[Sentence]:
    """The sentences of `text`, Chinese or English, with their matches."""
    wanted = set(terms)
    sentences, start = [], 0
    for end in _sentence_ends(text):
        piece = text[start:end]
        if piece.strip():
            sentences.append(Sentence(start, piece, len(wanted.intersection(lexical.analyze(piece)))))
        start = end
    return sentences


def _sentence_ends(text: str) -> list[int]:
    """Where sentences end, the last one at the end of `text`."""
    lines = text.splitlines(keepends=True)
    usual = median(len(line) for line in lines) if lines else 0.0
    ends: set[int] = set()
    start = 0
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        ends.update(start + match.end() for match in _STOP.finditer(line))
        start += len(line)
        if _line_ends_sentence(line.strip(), following.strip(), usual):
            ends.add(start)
    return sorted(ends | {len(text)})


def _line_ends_sentence(line: str, following: str, usual: float) -> bool:
    """Whether a line's end is more than a wrap: a heading, a short line, a blank one, or rows that begin alike."""
    return line.startswith("#") or len(line) < _SHORT_LINE * usual or not following or line[:4] == following[:4]


def matching_sentences(text: str, terms: Sequence[str], limit: int = ANSWER_SENTENCES) -> list[Sentence]:
    """The `limit` sentences that match best (at least half as well as the best one), in order of the text."""
    found = sorted(split_sentences(text, terms), key=lambda sentence: -sentence.matches)
    if not found or not found[0].matches:
        return []
    chosen = [sentence for sentence in found[:limit] if sentence.matches * 2 >= found[0].matches]
    return sorted(chosen, key=lambda sentence: sentence.start)


def extract_answer(retrieval: Retrieval) -> str:
    """The best passages' matching sentences as Markdown, each with its citation."""
    return "\n\n".join(_quote(passage, retrieval.trace.terms) for passage in retrieval.passages[:ANSWER_PASSAGES])


def _quote(passage: Passage, terms: Sequence[str]) -> str:
    sentences = matching_sentences(passage.chunk.text, terms)
    if sentences:
        text = " … ".join(f"**{escape_markdown(' '.join(sentence.text.split()))}**" for sentence in sentences)
    else:
        text = escape_markdown(" ".join(passage.chunk.text[:200].split())) + " …"
    return f"> {text} [{passage.rank}]"


def escape_markdown(text: str) -> str:
    """`text` such that Markdown shows it as it is."""
    return _MARKDOWN.sub(r"\\\1", text)
