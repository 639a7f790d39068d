"""Unicode's normal forms in linear time. All code normalizes here, not with `unicodedata`."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

# As many as UAX 15 allows in its Stream-Safe Text Format. `unicodedata` sorts each run of marks by insertion: 300 kB of
# them took two minutes.
MOST_MARKS = 30
_LATE_MARKS = "\u0f73\u0f75\u0f81\uff9e\uff9f"  # normal forms make marks of them
# No other mark is \w. What stands in both parts would be tried in both: 30 of them, in 2 ** 30 ways.
_LONG_RUN = re.compile(rf"(?:[^\w\s\x00-\x7f]|(?=\w)[{_LATE_MARKS}]){{{MOST_MARKS + 1},}}")


def normalize(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """`text` in the normal form, without what goes beyond `MOST_MARKS` in a run of combining marks."""
    return text if text.isascii() else unicodedata.normalize(form, _LONG_RUN.sub(_cut, text))


def _cut(match: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for char in match.group():
        marks = marks + 1 if unicodedata.combining(char) or char in _LATE_MARKS else 0
        if marks <= MOST_MARKS:
            kept.append(char)
    return "".join(kept)
