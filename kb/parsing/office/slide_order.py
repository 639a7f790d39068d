"""The order in which people read what is placed on a slide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_MAX_SHAPES = 500  # of a slide, to look for cards among them
_BESIDE = 0.5  # shapes that overlap in height by this share of the higher one stand side by side
_SAME_EDGE = 0.2  # of a shape's width
_MUCH_LONGER = 2

Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True)
class Box:
    """Where a shape is, in any unit, counted from the upper left corner of the slide."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def area(self) -> float:
        return (self.bottom - self.top) * (self.right - self.left)

    def lies_on(self, card: Box) -> bool:
        """Whether its middle is on the `card`, which is larger."""
        middle, centre = (self.top + self.bottom) / 2, (self.left + self.right) / 2
        return card.top <= middle <= card.bottom and card.left <= centre <= card.right and self.area < card.area

    def is_beside(self, other: Box) -> bool:
        common = min(self.bottom, other.bottom) - max(self.top, other.top)
        return self.top == other.top or common > _BESIDE * max(self.bottom - self.top, other.bottom - other.top)

    def is_right_above(self, other: Box) -> bool:
        """Whether the other one begins close below, at the same left edge or around the same middle."""
        is_near = other.top - self.bottom <= other.bottom - other.top
        shifts = (self.left - other.left, (self.left + self.right - other.left - other.right) / 2)
        return is_near and min(map(abs, shifts)) <= _SAME_EDGE * (other.right - other.left)


@dataclass(frozen=True, slots=True)
class Placed(Generic[Shape]):
    """A shape, or several that belong together, with their text. Other shapes may lie on a plate, which has no text."""

    box: Box
    shapes: Sequence[Shape]
    text: str
    is_plate: bool = False


def in_reading_order(placed: Sequence[Placed[Shape]]) -> Iterator[Shape]:
    """From the top to the bottom and from left to right, though some begin a little higher.

    What lies on one plate (a card) stays together, and a short text that heads the one below stays above it.
    """
    for each in _arranged(placed):
        yield from each.shapes


def _arranged(placed: Sequence[Placed[Shape]]) -> Iterator[Placed[Shape]]:
    left = [card for _place, card in sorted(_cards(placed), key=lambda each: (each[1].box.top, each[0]))]
    rows: list[list[Placed[Shape]]] = []
    while left:
        first = left[0].box
        rows.append(sorted((each for each in left if first.is_beside(each.box)), key=lambda each: each.box.left))
        left = [each for each in left if not first.is_beside(each.box)]
    while rows:
        row, *rows = rows
        if rows and _are_heads(row, rows[0]):
            for pair in zip(row, rows.pop(0), strict=True):
                yield from pair
        else:
            yield from row


def _cards(placed: Sequence[Placed[Shape]]) -> Iterator[tuple[int, Placed[Shape]]]:
    """The shapes with their places in the file; those on one plate are one."""
    loose = sorted(enumerate(placed), key=lambda each: each[1].box.area)
    while loose:
        place, card = loose.pop()
        may_hold = card.is_plate and len(placed) <= _MAX_SHAPES
        inside = [each for each in loose if each[1].box.lies_on(card.box)] if may_hold else []
        if 1 < len(inside) < len(placed) - 1:  # one that holds all others is the background
            places = {place for place, _card in inside}
            loose = [each for each in loose if each[0] not in places]
            within = list(_arranged([each for _place, each in sorted(inside, key=lambda each: each[0])]))
            text = "\n".join(each.text for each in within)
            card = Placed(card.box, [*card.shapes, *(shape for each in within for shape in each.shapes)], text)
        yield place, card


def _are_heads(row: Sequence[Placed[Shape]], below: Sequence[Placed[Shape]]) -> bool:
    """Whether each text of `row` names the one right below it: it is a number above words, or much shorter."""
    if not 1 < len(row) == len(below) or not all(each.text for each in (*row, *below)):
        return False
    if not all(one.box.is_right_above(other.box) for one, other in zip(row, below, strict=True)):
        return False
    numbers = [sum(any(map(str.isdigit, each.text)) for each in texts) for texts in (row, below)]
    lengths = [sum(len(each.text) for each in texts) for texts in (row, below)]
    return numbers == [len(row), 0] or _MUCH_LONGER * lengths[0] <= lengths[1]
