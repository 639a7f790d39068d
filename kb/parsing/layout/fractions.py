"""Fractions that are drawn with a bar: `3/4` from the runs above and below it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kb.parsing.layout.lines import TextRun
from kb.parsing.layout.rulings import Ruling, Rulings

_LONGEST = 16  # characters above or below the bar
_AROUND = 2.0  # points
_MAX_BARS = 300
# From the bar to a baseline, in character sizes.
_ABOVE = (0.08, 0.65)
_BELOW = (0.45, 1.1)
_MIDDLE = (0.1, 0.42)  # of the text that the fraction stands in
_NEAR = 1.6
_BESIDE = 1.0
_MARGIN = 0.1  # of the bar at either side
_IS_SIMPLE = re.compile(r"[\w.,]+")


def join_fractions(runs: Iterable[TextRun], rulings: Rulings) -> list[TextRun]:
    """The runs of a page, with those above and below a bar as one, on the line of the text beside it."""
    joined = list(runs)
    bars = rulings.bars()
    for bar in bars if len(bars) <= _MAX_BARS else ():
        fraction = _fraction(joined, bar)
        if fraction:
            above, below, run = fraction
            joined = [run if each is above else each for each in joined if each is not below]
    return joined


def _fraction(runs: list[TextRun], bar: Ruling) -> tuple[TextRun, TextRun, TextRun] | None:
    y, left, right = bar
    inside = [run for run in runs if left - _AROUND <= run.left and run.right <= right + _AROUND]
    near = [run for run in inside if abs(run.baseline - y) < _NEAR * run.size]  # a raised or lowered part, perhaps
    above = [run for run in inside if _is_within(run.baseline - y, _ABOVE, run.size)]
    below = [run for run in inside if _is_within(y - run.baseline, _BELOW, run.size)]
    if len(above) != 1 or len(below) != 1 or len(near) != 2 or max(len(above[0].text), len(below[0].text)) > _LONGEST:
        return None
    for run in runs:
        gap = max(left - run.right, run.left - right)
        if _is_within(y - run.baseline, _MIDDLE, run.size) and -_AROUND < gap < _BESIDE * run.size:
            text = "/".join(_in_brackets(each.text.strip()) for each in (above[0], below[0]))
            margin = _MARGIN * run.size
            return above[0], below[0], TextRun(text, left + margin, right - margin, run.baseline, run.size)
    return None


def _is_within(distance: float, limits: tuple[float, float], size: float) -> bool:
    return limits[0] * size < distance < limits[1] * size


def _in_brackets(text: str) -> str:
    return text if _IS_SIMPLE.fullmatch(text) else f"({text})"
