"""What people read first on a slide."""

from __future__ import annotations

from kb.parsing.office.slide_order import Box, Placed, in_reading_order


def at(left: int, top: int, text: str, width: int = 20, height: int = 5) -> Placed[str]:
    return Placed(Box(top, top + height, left, left + width), [text or "(plate)"], text, not text)


def order(*placed: Placed[str]) -> list[str]:
    return [shape for shape in in_reading_order(placed) if shape != "(plate)"]


def test_slides_are_read_in_rows() -> None:
    assert order(at(30, 11, "b"), at(0, 30, "c"), at(0, 10, "a")) == ["a", "b", "c"]


def test_cards_are_read_one_after_another() -> None:
    plates = [at(left, 10, "", 25, 30) for left in (0, 30)]
    texts = [at(left + 2, top, f"{left} {top}") for top in (12, 20, 30) for left in (0, 30)]
    assert order(*plates, *texts) == ["0 12", "0 20", "0 30", "30 12", "30 20", "30 30"]


def test_background_is_no_card() -> None:
    texts = [at(0, 10, "a"), at(30, 10, "b"), at(0, 20, "c"), at(30, 20, "d")]
    assert order(at(0, 0, "", 100, 100), *texts) == ["a", "b", "c", "d"]


def test_years_and_short_heads_stay_above_their_texts() -> None:
    years = [at(0, 10, "2001"), at(30, 10, "2010"), at(0, 17, "Founded"), at(30, 17, "Listed")]
    heads = [at(0, 10, "Before"), at(30, 10, "After"), at(0, 17, "Slow and costly"), at(30, 17, "Fast and cheap")]
    assert order(*years) == ["2001", "Founded", "2010", "Listed"]
    assert order(*heads) == ["Before", "Slow and costly", "After", "Fast and cheap"]
