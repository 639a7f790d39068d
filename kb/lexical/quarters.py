"""Quarters of a year: Q3, 2024Q3, third quarter, 第三季度 → q3, the term that Q3 gives anyway."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kb.lexical.words import word_forms

_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "1st": 1, "2nd": 2, "3rd": 3, "4th": 4}
_WORDS = re.compile(rf"(?<![A-Za-z\d])({'|'.join(_ORDINALS)})[\s-]quarter(?![A-Za-z\d])", re.IGNORECASE)
_QUARTER = r"[Qq][1-4]"
_YEAR = r"(?:19|20)\d\d"
_AFTER_YEAR = re.compile(r"(?<=\d{4})年(?=第? ?[1-4]季度)")
_ASKED = re.compile(
    rf"(?<![A-Za-z\d])(?:(?P<year>{_YEAR})[-/]?(?P<quarter>{_QUARTER})|(?P<first>{_QUARTER})[-/](?P<last>{_YEAR}))"
    r"(?![A-Za-z\d])"
    rf"|{_WORDS.pattern}",
    re.IGNORECASE,
)


def quarter_terms(text: str) -> list[str]:
    """The terms of the quarters that a folded text writes in English words."""
    if "quarter" not in text and "Quarter" not in text:
        return []
    return [f"q{_ORDINALS[name.lower()]}" for name in _WORDS.findall(text)]


def split_quarters(text: str) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """A folded question in pieces: what stands before each quarter, and what the quarter asks for (`word_forms`)."""
    text = _AFTER_YEAR.sub(", ", text)
    end = 0
    for match in _ASKED.finditer(text):
        yield text[end : match.start()], _forms(match)
        end = match.end()
    yield text[end:], []


def _forms(match: re.Match[str]) -> list[tuple[str, ...]]:
    quarter = (match["quarter"] or match["first"] or "").lower()
    if quarter:
        year = match["year"] or match["last"]
        return [(year,), (quarter, f"{year}{quarter}", f"{quarter}_{year}")]
    term = f"q{_ORDINALS[match.group(match.lastindex or 0).lower()]}"
    return [(*forms, term) for forms in word_forms(match.group().replace("-", " "))]
