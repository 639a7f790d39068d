"""Where lines of text stand on their page as it is shown: fractions of its width and height from the upper left."""

from __future__ import annotations

import math
from collections.abc import Iterable

from kb.parsing.layout.lines import Box, Line

Point = tuple[float, float]
_ASCENT, _DESCENT = 0.95, 0.28  # of the size of the characters


def corners(line: Line) -> tuple[Point, Point]:
    """The lower left and the upper right corner, in points on the page as its lines are read."""
    low = line.baseline - line.depth - _DESCENT * line.size
    return (line.left, low), (line.right, line.baseline + _ASCENT * line.size)


def turned(points: Iterable[Point], angle: float) -> list[Point]:
    """The points after a turn about the origin, in radians, against the clock if the second coordinate points up."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]


def quarter_turned(points: Iterable[Point], quarters: int) -> list[Point]:
    """Places on a page (in fractions) after so many quarter turns of the page, with the clock."""
    placed = list(points)
    for _ in range(quarters % 4):
        placed = [(1 - y, x) for x, y in placed]
    return placed


def box_around(points: Iterable[Point]) -> Box:
    """The smallest box around points on a page, as far as it is on the page; rounded, as it is kept for each line."""
    xs, ys = zip(*points, strict=True)
    left, top, right, bottom = (round(min(1.0, max(0.0, side)), 4) for side in (min(xs), min(ys), max(xs), max(ys)))
    return left, top, right, bottom
