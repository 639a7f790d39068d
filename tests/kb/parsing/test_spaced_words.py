"""Letters that are set apart → words."""

from __future__ import annotations

import pytest

from kb.parsing.layout.lines import TextRun
from kb.parsing.layout.spaced_words import join_han, join_letters


def spaced(text: str, gap: float, width: float = 6) -> list[TextRun]:
    """Each letter at its place; a space is as wide as a letter."""
    step = width + gap
    return [TextRun(char, n * step, n * step + width, 700, 10) for n, char in enumerate(text) if char != " "]


@pytest.mark.parametrize("gap", [3.0, 8.0])
def test_letters_that_stand_apart_make_words(gap: float) -> None:
    assert [run.text for run in join_letters(spaced("ANNUAL REPORT", gap))] == ["ANNUAL REPORT"]
    assert [run.text for run in join_letters(spaced("考勤管理制度", gap, width=10))] == ["考勤管理制度"]
    assert [run.text for run in join_letters([TextRun("A N N U A L", 0, 100, 700, 10)])] == ["ANNUAL"]


def test_columns_of_single_letters_stay_apart() -> None:
    assert len(list(join_letters(spaced("ABCDEF", gap=30)))) == 6
    assert len(list(join_letters(spaced("1010110", gap=3)))) == 7
    assert len(list(join_letters(spaced("xyz", gap=3)))) == 3


def test_spaces_inside_of_chinese_words() -> None:
    assert join_han("姓 名\t高明\t联 系 人") == "姓名\t高明\t联系人"
    assert join_han("目 录") == "目录"
    assert join_han("附 录 B") == "附 录 B"
    assert join_han("甲方 乙方") == "甲方 乙方"
