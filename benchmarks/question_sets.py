"""Question sets: a folder with `corpus.jsonl` and `queries.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opencc import OpenCC

SCRIPTS = {"traditional": "s2t", "simplified": "t2s"}


@dataclass(frozen=True, slots=True)
class Article:
    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    relevant: frozenset[str]  # ids of articles


@dataclass(frozen=True, slots=True)
class QuestionSet:
    name: str
    articles: list[Article]
    questions: list[Question]


def read_question_set(folder: Path, limit: int | None = None) -> QuestionSet:
    """Read all articles, and the questions with a relevant article: all, or `limit` of them, evenly spaced."""
    articles = [Article(row["id"], row.get("title", ""), row["text"]) for row in _rows(folder / "corpus.jsonl")]
    known = {article.id for article in articles}
    rows = _rows(folder / "queries.jsonl")
    questions = [Question(row["text"], frozenset(row["relevant"]) & known) for row in rows]
    questions = [question for question in questions if question.relevant]
    if limit and limit < len(questions):
        questions = [questions[place * len(questions) // limit] for place in range(limit)]
    return QuestionSet(folder.resolve().name, articles, questions)


def in_script(questions: list[Question], script: str) -> list[Question]:
    """The questions in the other Chinese script: "traditional" or "simplified"."""
    converter = OpenCC(SCRIPTS[script])
    return [replace(question, text=converter.convert(question.text)) for question in questions]


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
