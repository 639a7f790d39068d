"""Several knowledge bases in one question: `python -m benchmarks.merge DATA [--limit N]`.

DATA holds the question sets cmrc2018, xquad_en and xquad_zh (see `benchmarks.retrieval`). Each pair below is two
knowledge bases of different embedding models, and every question has its article in exactly one of them. The rankings
of both are merged by each rule and compared with `alone`, which asks the right knowledge base only.

`languages`: Chinese and English texts. `chinese`: texts of the same language about other things. `halves`: the same
articles cut in two, so that the other knowledge base knows much about each question. `crossed`: the same halves, of
which one is in Chinese; all questions are in English.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from benchmarks.installation import Installation, report_failures, temporary_installation
from benchmarks.measures import Quality, quality
from benchmarks.question_sets import Article, Question, read_question_set, spaced
from benchmarks.retrieval import DEFAULT, INGESTION_SECONDS, file_name
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM
from kb.models import KnowledgeBase, Passage, Scope
from kb.retrieval.ranking import merge_indexes

PROFILE = replace(DEFAULT, top_k=10, neighbours=0)  # with the default threshold, as the chat asks
QUESTIONS = 150  # of each knowledge base

Found = Sequence[Sequence[Passage]]  # of each knowledge base, the best first
Rule = Callable[[Found], list[Passage]]


@dataclass(frozen=True, slots=True)
class Part:
    """One knowledge base of a pair, and the questions whose articles it holds."""

    model: str
    articles: Sequence[Article]
    questions: Sequence[Question]


@dataclass(frozen=True, slots=True)
class Base:
    knowledge_base: KnowledgeBase
    articles: dict[UUID, str]  # by their documents


@dataclass(frozen=True, slots=True)
class Answer:
    """What the knowledge bases of a pair have found, and which of them (by its place) holds the right article."""

    found: Found
    right: int
    relevant: frozenset[str]


# --- rules -----------------------------------------------------------------------------------------------------


def _by(score: Callable[[Sequence[Passage], int], float]) -> Rule:
    """Order by a score, given an index's passages and a place among them; of equal ones, the higher places first."""

    def merge(found: Found) -> list[Passage]:
        scored = [
            (score(passages, place), place, passage) for passages in found for place, passage in enumerate(passages)
        ]
        return [passage for _score, _place, passage in sorted(scored, key=lambda each: (-each[0], each[1]))]

    return merge


def _best_overlap(passages: Sequence[Passage]) -> float:
    return max(passage.relevance + 0.3 * passage.overlap for passage in passages)


def _best(passages: Sequence[Passage]) -> float:
    return max(passage.relevance for passage in passages)


RULES: dict[str, Rule] = {
    "the product's": merge_indexes,
    "min-max alone": _by(lambda passages, place: passages[place].fused),
    "ranks (RRF)": _by(lambda passages, place: 1 / (60 + place)),
    "relevance": _by(lambda passages, place: passages[place].relevance),
    "min-max × own relevance": _by(lambda passages, place: passages[place].fused * passages[place].relevance),
    "min-max × best relevance": _by(lambda passages, place: passages[place].fused * _best(passages)),
    "min-max × (best relevance + .3 × overlap)": _by(
        lambda passages, place: passages[place].fused * _best_overlap(passages)
    ),
}


# --- the measurement -------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA")
    parser.add_argument("--limit", type=int, default=QUESTIONS, help="ask N questions of each knowledge base")
    arguments = parser.parse_args()
    with temporary_installation() as installation:
        for name, parts in pairs(arguments.folder, arguments.limit).items():
            answers = list(ask(installation, parts))
            print(json.dumps({"pair": name, "questions": len(answers), **measure(answers)}, ensure_ascii=False))


def pairs(folder: Path, limit: int) -> dict[str, tuple[Part, Part]]:
    cmrc, english, chinese = (read_question_set(folder / name) for name in ("cmrc2018", "xquad_en", "xquad_zh"))
    even = {article.id for article in english.articles[::2]}  # ids are the same in both languages
    odd = {article.id for article in english.articles[1::2]}

    def part(
        model: str, articles: Sequence[Article], asked: Sequence[Question], ids: Iterable[str] | None = None
    ) -> Part:
        known = {article.id for article in articles} if ids is None else set(ids)
        questions = [question for question in asked if question.relevant <= known]
        return Part(model, [article for article in articles if article.id in known], spaced(questions, limit))

    return {
        "languages": (
            part(E5.name, cmrc.articles, cmrc.questions),
            part(MINILM.name, english.articles, english.questions),
        ),
        "chinese": (
            part(E5.name, cmrc.articles, cmrc.questions),
            part(MINILM.name, chinese.articles, chinese.questions),
        ),
        "halves": (
            part(E5.name, english.articles, english.questions, even),
            part(MINILM.name, english.articles, english.questions, odd),
        ),
        "crossed": (
            part(E5.name, chinese.articles, english.questions, even),
            part(MINILM.name, english.articles, english.questions, odd),
        ),
    }


def ask(installation: Installation, parts: tuple[Part, Part]) -> Iterable[Answer]:
    """Ask each knowledge base every question, as `Retriever` does before it merges."""
    bases = [ingest(installation, part) for part in parts]
    try:
        for right, part in enumerate(parts):
            for question in part.questions:
                yield Answer([passages(installation, base, question) for base in bases], right, question.relevant)
    finally:
        for base in bases:
            installation.clear(base.knowledge_base)


def ingest(installation: Installation, part: Part) -> Base:
    knowledge_base = installation.create_knowledge_base(part.model, part.model)
    files = ((file_name(article), io.BytesIO(article.text.encode())) for article in part.articles)
    documents = installation.upload(knowledge_base.id, files)
    done = installation.wait_until_done(knowledge_base.id, INGESTION_SECONDS)
    failed = report_failures(installation.list_documents(knowledge_base.id))
    if failed or not done:
        sys.exit(f"Some of {len(documents)} articles did not become searchable: {failed}")
    ids = (article.id for article in part.articles)
    return Base(knowledge_base, dict(zip((document.id for document in documents), ids, strict=True)))


def passages(installation: Installation, base: Base, question: Question) -> list[Passage]:
    """The best of one knowledge base, each with the id of its article as the document's name."""
    scope = Scope.of(base.knowledge_base.id)
    found = installation.services.retriever.retrieve(installation.principal, scope, question.text, PROFILE)
    return [replace(each, document_name=base.articles[each.chunk.document_id]) for each in found.passages]


def measure(answers: Sequence[Answer]) -> dict[str, Quality]:
    alone = quality((_articles(answer.found[answer.right]), answer.relevant) for answer in answers)
    merged = {
        name: quality((_articles(rule(answer.found)), answer.relevant) for answer in answers)
        for name, rule in RULES.items()
    }
    return {"alone": alone, **merged}


def _articles(passages: Iterable[Passage]) -> list[str]:
    return list(dict.fromkeys(passage.document_name for passage in passages))


if __name__ == "__main__":
    main()
