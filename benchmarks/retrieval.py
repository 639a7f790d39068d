"""Retrieval quality and latency: `python -m benchmarks.retrieval DIR [--questions OTHER_DIR] [--limit N] [--script S]`.

DIR holds `corpus.jsonl` (id, title, text) and `queries.jsonl` (id, text, answers, relevant). Each row of the corpus is
uploaded as a text file named by its title and ingested by a real worker; the questions go through `Retriever.retrieve`.
A document's rank is that of its first passage. OTHER_DIR is the same set in another language, with the same ids: its
questions are asked instead of DIR's.

The rankings are measured whole, without the threshold; `kept` is the share of questions whose right article is above
the default one. `behind` is how far hybrid is under the better route on the worst measure.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.installation import Installation, report_failures, temporary_installation
from benchmarks.measures import Quality, percentile, quality
from benchmarks.question_sets import SCRIPTS, Article, Question, QuestionSet, in_script, read_question_set
from kb import lexical
from kb.embedding import EmbeddingModel
from kb.models import KnowledgeBase, RetrievalProfile, Route, Scope
from kb.retrieval.search import FOREIGN_SHARE

TIMED_QUESTIONS = 500
INGESTION_SECONDS = 3600.0
DEFAULT = RetrievalProfile()
# Enough passages to see ten different documents. Neighbours are off, since they do not change the ranks.
HYBRID = replace(DEFAULT, top_k=DEFAULT.candidates, neighbours=0, threshold=0.0)
DENSE = replace(HYBRID, dense_weight=1.0, lexical_weight=0.0)
LEXICAL = replace(HYBRID, dense_weight=0.0, lexical_weight=1.0)
THRESHOLD = replace(HYBRID, threshold=DEFAULT.threshold)


@dataclass(frozen=True, slots=True)
class Library:
    """An ingested question set: its knowledge base, and the article of each document."""

    installation: Installation
    knowledge_base: KnowledgeBase
    articles: dict[UUID, str]

    @property
    def model(self) -> EmbeddingModel:
        return self.installation.services.embeddings.get(self.knowledge_base.embedding_model)

    def rank(self, question: Question, profile: RetrievalProfile) -> list[str]:
        """Article ids, best first."""
        services, principal = self.installation.services, self.installation.principal
        found = services.retriever.retrieve(principal, Scope((self.knowledge_base.id,)), question.text, profile)
        return list(dict.fromkeys(self.articles[passage.chunk.document_id] for passage in found.passages))

    def keep(self, questions: Sequence[Question]) -> float:
        """The share of questions whose right article is above the default threshold."""
        kept = [not question.relevant.isdisjoint(self.rank(question, THRESHOLD)) for question in questions]
        return round(sum(kept) / len(kept), 4)

    def measure(self, questions: Sequence[Question], profile: RetrievalProfile) -> Quality:
        return quality((self.rank(question, profile), question.relevant) for question in questions)


def main() -> None:
    arguments = _arguments()
    question_set = read_question_set(arguments.folder, arguments.limit, arguments.questions)
    if not question_set.questions:
        sys.exit("No question has a relevant article in the corpus.")
    with temporary_installation() as installation:
        library = ingest(installation, question_set)
        try:
            result = run(library, question_set, arguments.script)
        finally:
            installation.clear(library.knowledge_base)
    print(json.dumps(result, ensure_ascii=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--questions", type=Path, metavar="OTHER_DIR", help="ask the questions of this set instead")
    parser.add_argument("--limit", type=int, help="ask only N questions, evenly spaced")
    parser.add_argument("--script", choices=SCRIPTS, help="ask again in this Chinese script and report the loss")
    return parser.parse_args()


def ingest(installation: Installation, question_set: QuestionSet) -> Library:
    """Upload every article, and wait until all are searchable."""
    knowledge_base = installation.create_knowledge_base(question_set.name)
    files = ((file_name(article), io.BytesIO(article.text.encode())) for article in question_set.articles)
    began = time.monotonic()
    documents = installation.upload(knowledge_base.id, files)
    done = installation.wait_until_done(knowledge_base.id, INGESTION_SECONDS)
    failed = report_failures(installation.list_documents(knowledge_base.id))
    if failed or not done:
        sys.exit(f"Some of {len(documents)} articles did not become searchable: {failed}")
    print(f"{len(documents)} articles became searchable in {time.monotonic() - began:.1f} s.", file=sys.stderr)
    ids = (article.id for article in question_set.articles)
    return Library(installation, knowledge_base, dict(zip((document.id for document in documents), ids, strict=True)))


def file_name(article: Article) -> str:
    """The title, since retrieval uses it, or else the id."""
    return f"{article.title.strip() or article.id}.txt"


def run(library: Library, question_set: QuestionSet, script: str | None) -> dict[str, Any]:
    questions = question_set.questions
    dense, lexical, hybrid = (library.measure(questions, profile) for profile in (DENSE, LEXICAL, HYBRID))
    result: dict[str, Any] = {
        "set": question_set.name,
        "passages": len(question_set.articles),
        "chunks": library.installation.services.vectors.count(library.knowledge_base.collection),
        "questions": len(questions),
        "model": library.model.name,
        "dense": dense,
        "lexical": lexical,
        "hybrid": hybrid,
        "kept": library.keep(questions),
        "behind": round(max(0.0, *(max(dense[name], lexical[name]) - hybrid[name] for name in hybrid)), 4),
    }
    timed = questions[:: max(1, len(questions) // TIMED_QUESTIONS)]
    result |= measure_times(library, timed)
    if script:
        result["script"] = measure_script(library, questions, script, result["hybrid"])
    return result


def measure_script(library: Library, questions: list[Question], script: str, before: Quality) -> dict[str, Any]:
    """Ask the same questions in the other script, and report the largest loss (a gain counts as 0)."""
    after = library.measure(in_script(questions, script), HYBRID)
    loss = max(max(0.0, before[name] - after[name]) for name in before)
    return {"to": script, "hybrid": after, "loss": round(loss, 4)}


def measure_times(library: Library, questions: Sequence[Question]) -> dict[str, Any]:
    """Time hybrid retrieval with the default profile and the plain Milvus search, question by question."""
    raw = dict(_bare_searches(library))
    route = Route.LEXICAL if all(_is_gated(library, question) for question in questions) else Route.DENSE
    whole_ms, raw_ms = [], []
    for question in questions:
        search = raw[route](question)
        raw_ms.append(_milliseconds(search))
        whole_ms.append(_milliseconds(partial(library.rank, question, DEFAULT)))
    return {
        "latency_ms": {"p50": round(percentile(whole_ms, 0.5), 1), "p95": round(percentile(whole_ms, 0.95), 1)},
        "raw_search_ms": {"p50": round(percentile(raw_ms, 0.5), 1), "route": route.value},
    }


def _is_gated(library: Library, question: Question) -> bool:
    """Whether retrieval skips the dense route because the model does not support the question's language."""
    scripts = library.model.scripts
    return lexical.foreign_share(question.text, scripts) >= FOREIGN_SHARE


def _bare_searches(library: Library) -> Iterator[tuple[Route, Callable[[Question], Callable[[], object]]]]:
    """For each route, a function that prepares a question's search by pymilvus alone."""
    from pymilvus import MilvusClient

    services, base = library.installation.services, library.knowledge_base
    settings = services.settings
    client = MilvusClient(uri=settings.milvus_uri, token=settings.milvus_token.get_secret_value())

    def search(field: str, data: object, parameters: dict[str, Any]) -> Callable[[], object]:
        return lambda: client.search(
            base.collection, data=[data], anns_field=field, limit=DEFAULT.candidates, search_params=parameters
        )

    dense = {"metric_type": base.index.metric, "params": {"ef": DEFAULT.ef}}
    yield Route.DENSE, lambda asked: search("dense", library.model.embed_question(asked.text).tolist(), dense)
    yield Route.LEXICAL, lambda asked: search("sparse", lexical.weighted_terms(asked.text), {"metric_type": "BM25"})


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
