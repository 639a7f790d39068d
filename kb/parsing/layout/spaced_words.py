"""Letters that are set apart, as in titles and on forms → words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import median

from kb.parsing.layout.lines import TextRun

_HAN = "\u3400-\u9fff"
_FEWEST = 5  # letters
_FEWEST_HAN = 4
_LEAST_GAP, _WIDEST_GAP = 0.12, 1.2  # character sizes between letters
_WORD_GAP = 1.7  # of the gap between letters
_WIDEST = 4.0  # of it, between words
_LETTER_WIDTH = 0.6  # of the character size
_SPACED = re.compile(rf"[^\W\d_](?: [^\W\d_]){{{_FEWEST - 1},}}")
_SPACED_HAN = re.compile(f"(?<![^\\t])[{_HAN}](?:[ \u3000]+[{_HAN}]){{1,7}}(?![^\\t])")


def join_letters(runs: Iterable[TextRun]) -> Iterator[TextRun]:
    """The runs of a page in the file's order, with letters that stand apart from each other put together to words."""
    letters: list[TextRun] = []
    for run in runs:
        if letters and not _follows(letters[-1], run):
            yield from _words(letters)
            letters = []
        if len(run.text) == 1 and run.text.isalpha():
            letters.append(run)
        else:
            yield from _words(letters)
            letters = []
            yield _joined(run) if _SPACED.fullmatch(run.text) else run
    yield from _words(letters)


def join_han(text: str) -> str:
    """The text with the characters of cells such as `姓 名` put together."""
    return _SPACED_HAN.sub(lambda match: "".join(match.group().split()), text)


def _follows(before: TextRun, run: TextRun) -> bool:
    is_alike = abs(before.size - run.size) <= 0.05 * run.size and abs(before.baseline - run.baseline) < 0.06 * run.size
    return is_alike and 0 < run.left - before.right < _WIDEST * _WIDEST_GAP * run.size


def _words(letters: list[TextRun]) -> Iterator[TextRun]:
    gaps = [after.left - before.right for before, after in pairwise(letters)]
    usual = median(gaps) if gaps else 0.0
    is_han = all(re.match(f"[{_HAN}]", letter.text) for letter in letters)
    is_spaced = len(letters) >= (_FEWEST_HAN if is_han else _FEWEST) and max(gaps) <= _WIDEST * usual
    if not is_spaced or not _LEAST_GAP * letters[0].size <= usual <= _WIDEST_GAP * letters[0].size:
        yield from letters
        return
    text = letters[0].text
    for letter, gap in zip(letters[1:], gaps, strict=True):
        text += (" " if gap > _WORD_GAP * usual else "") + letter.text
    first, last = letters[0], letters[-1]
    yield TextRun(text, first.left, last.right, first.baseline, first.size, first.has_space_before, spacing=usual)


def _joined(run: TextRun) -> TextRun:
    text = run.text.replace(" ", "")
    spacing = max(0.0, (run.right - run.left) / len(text) - _LETTER_WIDTH * run.size)
    return TextRun(text, run.left, run.right, run.baseline, run.size, run.has_space_before, spacing=spacing)
