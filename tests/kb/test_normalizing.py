"""Normal forms of hostile and of usual texts."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pytest

import kb
from kb.lexical import foreign_share, terms
from kb.names import clean_file_name, fold
from kb.normalizing import MOST_MARKS, normalize

ROOT = Path(kb.__file__).parents[1]
LONG_RUN = "\u0323\u0301" * 150_000  # unsorted: each mark moves past those before it


@pytest.mark.parametrize(
    "text", ["", "plain", "Zu\u0308rich", "ế", "한국어", "ﷺ", "e\u0301" * 100, "—" * 100, "a" + "\u0301" * 30]
)
def test_usual_texts_are_normalized_as_unicode_says(text: str) -> None:
    for form in ("NFC", "NFKC", "NFKD"):
        assert normalize(form, text) == unicodedata.normalize(form, text)


def test_long_runs_of_marks_are_cut() -> None:
    assert (
        normalize("NFC", "1" + "\u0323" * 500 + "2" + "\u0323" * 3) == "1" + "\u0323" * MOST_MARKS + "2" + "\u0323" * 3
    )


def test_every_character_that_becomes_marks_counts() -> None:
    characters = map(chr, range(sys.maxunicode + 1))
    marks = [char for char in characters if unicodedata.combining(unicodedata.normalize("NFKD", char)[0])]
    assert {"\u0301", "\u0f73", "\uff9e"} <= set(marks)
    assert not [mark for mark in marks if len(normalize("NFKD", mark * 100)) > 2 * MOST_MARKS]


@pytest.mark.timeout(30)  # two minutes and more otherwise
def test_long_runs_take_no_time() -> None:
    assert len(fold(LONG_RUN)) == MOST_MARKS
    assert len(clean_file_name(f"a{LONG_RUN}.md")) <= MOST_MARKS + 4
    assert terms(LONG_RUN) == ""
    assert foreign_share(LONG_RUN, frozenset({"latin"})) == 0


@pytest.mark.timeout(30)  # years otherwise
@pytest.mark.parametrize("mark", ["\u0f73", "\u0f75", "\u0f81", "\uff9e", "\u0301"])
def test_runs_that_are_not_too_long_take_no_time(mark: str) -> None:
    text = "a" + mark * MOST_MARKS + "b" * 100
    assert normalize("NFC", text) == unicodedata.normalize("NFC", text)


def test_nobody_normalizes_elsewhere() -> None:
    files = [path for folder in ("kb", "pages", "web", "workers") for path in (ROOT / folder).rglob("*.py")]
    users = {path.name for path in files if "unicodedata.normalize(" in path.read_text(encoding="utf-8")}
    assert users == {"normalizing.py"}
