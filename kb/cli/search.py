"""`zhiwen search`: the passages that a question finds, with their scores."""

from __future__ import annotations

import argparse

from kb.cli.connecting import OpenQueue, connected, find_knowledge_base
from kb.cli.passages import complain_about_gaps, place_of, to_json
from kb.cli.printing import count, print_json
from kb.models import Passage, Retrieval, Scope
from kb.passages import gaps_of, scores_of
from kb.questions import check_question

TEXT_CHARACTERS = 400


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    """Errors: `QuestionTooLong`; those of `connected` and of the search."""
    check_question(asked.query)
    with connected(open_queue) as to:
        base = find_knowledge_base(to, asked.knowledge_base)
        profile = base.profile.with_top_k(asked.top_k) if asked.top_k else base.profile
        found = to.services.retriever.retrieve(to.principal, Scope.of(base.id), asked.query, profile)
    if asked.json:
        print_json(_to_json(found))
    else:
        _print(found)
    return 0


def _print(found: Retrieval) -> None:
    complain_about_gaps(found)
    for passage in found.passages:
        _print_passage(passage)
    if found.files:
        print(f"{count(found.files.total, 'file')}: {', '.join(found.files.names)}")
    if not (found.passages or found.files):
        print("Nothing relevant was found." if found.trace.documents else "No document is ready to be searched.")


def _print_passage(passage: Passage) -> None:
    scores = " · ".join(f"{name} {score:.2f}" for name, score in scores_of(passage).items() if score is not None)
    print(f"{passage.rank}. {place_of(passage)}\n   {scores}")
    text = " ".join(passage.chunk.text.split())
    print(f"   {text[:TEXT_CHARACTERS]}{'…' if len(text) > TEXT_CHARACTERS else ''}\n")


def _to_json(found: Retrieval) -> dict[str, object]:
    return {
        "question": found.question,
        "passages": [to_json(passage) for passage in found.passages],
        "nearest": [to_json(passage) for passage in found.nearest],
        "files": list(found.files.names) if found.files else [],
        "documents_searched": found.trace.documents,
        "milliseconds": round(found.trace.milliseconds, 1),
        "warnings": list(gaps_of(found)),
    }
