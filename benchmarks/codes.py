"""Codes and dates: `python -m benchmarks.codes [--model NAME]`.

Ingests 240 notes, each with a code and a date of its own: codes differ in one digit (A-1023/7, A-1023/9), dates in the
order of day and month (2024-01-02, 2024-02-01). 80 questions name a code, 80 a date, and 80 a code or date in
another notation than its note. Prints how many have their note in the first place, as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from calendar import month_abbr, month_name
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations, product
from uuid import UUID

from benchmarks.installation import Installation, report_failures, temporary_installation
from kb.models import KnowledgeBase, Scope

NOTES = 240
QUESTIONS = 80  # of each kind
INGESTION_SECONDS = 600.0
NUMERALS = ["〇", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"]

# The notes share their words, so that only the code and the date tell them apart.
ENGLISH = (
    "Order {code} was checked in hall {hall}. On {date} the board decided to {what}, and the workshop was told.",
    "The meeting of {date} was about {code}: the pump in hall {hall} had failed. It was decided to {what}.",
    "{date}: a customer complained about {code}. The team of hall {hall} decided to {what} and to report it.",
)
CHINESE = (
    "订单{code}在{hall}号车间检查。{date}，董事会决定{what}，并通知了车间。",
    "{date}的会议讨论了{code}：{hall}号车间的水泵出现故障，会议决定{what}。",
)
MEASURES = ("replace the valve", "stop the delivery", "lower the price", "repair the motor")
CHINESE_MEASURES = ("更换阀门", "停止发货", "降低价格", "修理电机")


@dataclass(frozen=True, slots=True)
class Note:
    """One of the files, and what a question can ask for."""

    name: str
    text: str
    code: str
    day: date
    notation: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codes", description=__doc__)
    parser.add_argument("--model", default="", help="another embedding model than the default one")
    arguments = parser.parse_args()
    with temporary_installation() as installation:
        knowledge_base = installation.create_knowledge_base("Codes and dates", arguments.model)
        try:
            result = run(installation, knowledge_base)
        finally:
            installation.clear(knowledge_base)
    print(json.dumps({"model": knowledge_base.embedding_model, "notes": NOTES, **result}, ensure_ascii=False))


def run(installation: Installation, knowledge_base: KnowledgeBase) -> dict[str, dict[str, object]]:
    """For each kind of question: how many were asked, and the share whose note came first."""
    notes = write_notes()
    files = ((note.name, io.BytesIO(note.text.encode())) for note in notes)
    documents = installation.upload(knowledge_base.id, files)
    done = installation.wait_until_done(knowledge_base.id, INGESTION_SECONDS)
    failed = report_failures(installation.list_documents(knowledge_base.id))
    if failed or not done:
        sys.exit(f"Some of {len(documents)} notes did not become searchable: {failed}")
    names = {document.id: note.name for document, note in zip(documents, notes, strict=True)}
    questions = {"codes": ask_codes(notes), "dates": ask_dates(notes), "other_notation": ask_otherwise(notes)}
    return {kind: measure(installation, knowledge_base, names, list(asked)) for kind, asked in questions.items()}


def measure(
    installation: Installation, knowledge_base: KnowledgeBase, names: dict[UUID, str], asked: Sequence[tuple[str, str]]
) -> dict[str, object]:
    right = 0
    for question, name in asked:
        passages = installation.services.retriever.retrieve(
            installation.principal, Scope((knowledge_base.id,)), question
        ).passages
        first = names[passages[0].chunk.document_id] if passages else "nothing"
        right += first == name
        if first != name:
            print(f"{question!r}: {first} instead of {name}", file=sys.stderr)
    return {"questions": len(asked), "right": right, "recall@1": round(right / len(asked), 4)}


def write_notes() -> list[Note]:
    codes = [f"A-{number}/{end}" for number, end in product(range(1000, 1000 + NOTES // 2), (7, 9))]
    notes = []
    for place, (code, day) in enumerate(zip(codes, _days(), strict=False)):
        is_english = place % 5 < len(ENGLISH)
        notation = place % (len(NOTATIONS) if is_english else len(NOTATIONS) - len(ENGLISH_NOTATIONS))
        pattern = ENGLISH[place % 5] if is_english else CHINESE[place % 5 - len(ENGLISH)]
        what = (MEASURES if is_english else CHINESE_MEASURES)[place % 4]
        written = NOTATIONS[notation](day)
        text = pattern.format(code=code, date=written, hall=place % 7 + 1, what=what)
        notes.append(Note(f"note {place:03}.txt", text, code, day, notation))
    return notes


def _days() -> Iterator[date]:
    """Days whose day and month can change places, each followed by the other one."""
    for year in (2023, 2024):
        for first, second in combinations(range(1, 13), 2):
            yield date(year, first, second)
            yield date(year, second, first)


def ask_codes(notes: Sequence[Note]) -> Iterator[tuple[str, str]]:
    """Questions with the name of the right note."""
    patterns = ("What happened with {}?", "{}", "{}怎么样了？", "Which hall had {}?")
    for place, note in enumerate(_chosen(notes, 0)):
        yield patterns[place % len(patterns)].format(note.code), note.name


def ask_dates(notes: Sequence[Note]) -> Iterator[tuple[str, str]]:
    for place, note in enumerate(_chosen(notes, 1)):
        yield _date_question(place, NOTATIONS[note.notation](note.day)), note.name


def ask_otherwise(notes: Sequence[Note]) -> Iterator[tuple[str, str]]:
    for place, note in enumerate(_chosen(notes, 2)):
        if place % 4:
            notation = (note.notation + 1 + place % (len(NOTATIONS) - 1)) % len(NOTATIONS)
            yield _date_question(place, NOTATIONS[notation](note.day)), note.name
        else:
            spelt = (
                note.code.lower(),
                note.code.replace("-", ""),
                note.code.replace("-", "‑"),
                note.code.replace("/", "-"),
            )
            yield f"What happened with {spelt[place // 4 % len(spelt)]}?", note.name


def _chosen(notes: Sequence[Note], part: int) -> list[Note]:
    """A third of the notes, evenly spaced."""
    return list(notes[part::3])[:QUESTIONS]


def _date_question(place: int, written: str) -> str:
    patterns = ("What was decided on {}?", "{}作出了什么决定？", "What happened on {}?", "{}")
    return patterns[place % len(patterns)].format(written)


def _in_numerals(day: date) -> str:
    year = "".join(NUMERALS[int(digit)] for digit in str(day.year))
    return f"{year}年{NUMERALS[day.month]}月{NUMERALS[day.day]}日"


ENGLISH_NOTATIONS: tuple[Callable[[date], str], ...] = (
    lambda day: f"{day.day} {month_name[day.month]} {day.year}",
    lambda day: f"{month_name[day.month]} {day.day}, {day.year}",
    lambda day: f"{month_abbr[day.month]}. {day.day} {day.year}",
)
NOTATIONS: tuple[Callable[[date], str], ...] = (
    lambda day: f"{day.year}-{day.month:02}-{day.day:02}",
    lambda day: f"{day.year}/{day.month}/{day.day}",
    lambda day: f"{day.year}年{day.month}月{day.day}日",
    _in_numerals,
    lambda day: f"{day.year}.{day.month}.{day.day}",
    lambda day: f"{day.day:02}.{day.month:02}.{day.year}",
    *ENGLISH_NOTATIONS,
)


if __name__ == "__main__":
    main()
