"""What the default threshold keeps and drops: `python -m benchmarks.relevance DIR OTHER_DIR [--limit N]`.

DIR is ingested as in `benchmarks.retrieval`, and the questions of both sets are asked with the default profile. A
question of DIR is kept if it finds anything (`kept`), and at best the right article (`kept_right`). A question of
OTHER_DIR is dropped if it finds nothing.

Where OTHER_DIR is DIR in another language (the ids are the same), its questions do have an answer in DIR. Articles with
the title of the right one then do not count: dropped is a question that finds nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.installation import temporary_installation
from benchmarks.question_sets import Article, Question, read_question_set
from benchmarks.retrieval import THRESHOLD, Library, ingest


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relevance", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("other", type=Path, metavar="OTHER_DIR")
    parser.add_argument("--limit", type=int, help="ask only N questions of each set, evenly spaced")
    arguments = parser.parse_args()
    own = read_question_set(arguments.folder, arguments.limit)
    other = read_question_set(arguments.other, arguments.limit)
    with temporary_installation() as installation:
        library = ingest(installation, own)
        try:
            result = {"set": own.name, "other": other.name, "model": library.model.name}
            print(json.dumps(result | run(library, own.articles, own.questions, other.questions), ensure_ascii=False))
        finally:
            installation.clear(library.knowledge_base)


def run(
    library: Library, articles: Sequence[Article], own: Sequence[Question], other: Sequence[Question]
) -> dict[str, Any]:
    """Ask all questions of both sets."""
    ranked = [(question, library.rank(question, THRESHOLD)) for question in own]
    titles = {article.id: article.title or article.id for article in articles}
    found = [_unrelated(titles, question, library.rank(question, THRESHOLD)) for question in other]
    return {
        "threshold": THRESHOLD.threshold,
        "questions": len(own),
        "kept": _share([bool(ranking) for _, ranking in ranked]),
        "kept_right": _share([not question.relevant.isdisjoint(ranking) for question, ranking in ranked]),
        "other_questions": len(other),
        "parallel": any(not question.relevant.isdisjoint(titles) for question in other),
        "dropped": _share([not ranking for ranking in found]),
    }


def _unrelated(titles: dict[str, str], question: Question, ranking: Sequence[str]) -> list[str]:
    """The articles found that cannot answer the question."""
    right = {titles[article] for article in question.relevant if article in titles}
    return [article for article in ranking if titles[article] not in right]


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


if __name__ == "__main__":
    main()
