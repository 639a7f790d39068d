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


def read_question_set(folder: Path, limit: int | None = None, questions: Path | None = None) -> QuestionSet:
    """Read all articles, and the questions with a relevant article: all, or `limit` of them, evenly spaced.

    `questions`: a folder to take the questions from instead, such as the same set in another language. What is relevant
    to them is looked up by id.
    """
    articles = [Article(row["id"], row.get("title", ""), row["text"]) for row in _rows(folder / "corpus.jsonl")]
    known = {article.id for article in articles}
    rows = _rows((questions or folder) / "queries.jsonl")
    asked = [Question(row["text"], frozenset(row["relevant"]) & known) for row in rows]
    asked = spaced([question for question in asked if question.relevant], limit)
    return QuestionSet(folder.resolve().name, articles, asked)


def spaced(questions: list[Question], limit: int | None) -> list[Question]:
    """All questions, or `limit` of them, evenly spaced."""
    if not limit or limit >= len(questions):
        return questions
    return [questions[place * len(questions) // limit] for place in range(limit)]


def in_script(questions: list[Question], script: str) -> list[Question]:
    """The questions in the other Chinese script: "traditional" or "simplified"."""
    converter = OpenCC(SCRIPTS[script])
    return [replace(question, text=converter.convert(question.text)) for question in questions]


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
