"""Numbers above and below a bar → fractions on the line of text."""

from __future__ import annotations

from kb.parsing.layout.fractions import join_fractions
from kb.parsing.layout.lines import TextRun, read_lines
from kb.parsing.layout.rulings import Rulings


def run(text: str, left: float, baseline: float, size: float = 11) -> TextRun:
    return TextRun(text, left, left + 0.5 * size * len(text), baseline, size)


def read(*runs: TextRun, bar: tuple[float, float, float]) -> list[str]:
    rulings = Rulings(horizontal=[bar])
    return [line.text for line in read_lines(join_fractions(runs, rulings), rulings)]


def test_fractions_with_a_bar() -> None:
    share, rest = run("The share is", 50, 700), run("of all.", 131, 700)
    assert read(share, run("3", 121, 705, 8), run("4", 121, 694, 8), rest, bar=(702, 120, 126)) == [
        "The share is 3/4 of all."
    ]
    speed = run("v =", 50, 700)
    assert read(speed, run("s + a", 72, 707), run("t", 84, 692), bar=(702, 71, 101)) == ["v = (s + a)/t"]


def test_underlined_words_and_powers_are_no_fractions() -> None:
    lines = [run("first", 50, 700), run("next", 50, 686)]
    assert read(*lines, bar=(698.5, 50, 77)) == ["first", "next"]
    power = [run("x =", 50, 700), run("π", 72, 707), run("2", 78, 712, 7), run("6", 73, 692)]
    assert join_fractions(power, Rulings(horizontal=[(702, 71, 82)])) == power
