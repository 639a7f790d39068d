"""Raised and lowered text stays apart from what it stands beside."""

from __future__ import annotations

import pytest

from kb.parsing.inline import LOWERED, RAISED, join_runs

UP, DOWN = RAISED, LOWERED


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ([("Revenue was 4,512", 0), ("1", UP), (" million", 0)], "Revenue was 4,512 [1] million"),
        ([("1,234.50", 0), ("a", UP), ("CNY", 0)], "1,234.50 [a] CNY"),
        ([("a sentence.", 0), ("12", UP), (" Next", 0)], "a sentence. [12] Next"),
        ([("the warranty", 0), ("2, 3", UP), (" ends", 0)], "the warranty [2, 3] ends"),
        ([("保修期", 0), ("1", UP), ("为两年", 0)], "保修期 [1] 为两年"),
        ([("by Lee", 0), ("4", UP)], "by Lee [4]"),
        ([("1", UP), ("Excluding tax", 0)], "1 Excluding tax"),
        ([("10", 0), ("6", UP), (" cells", 0)], "10^6 cells"),
        ([("10", 0), ("-3", UP), (" mol", 0)], "10^-3 mol"),
        ([("2.5·10", 0), ("12", UP), ("Hz", 0)], "2.5·10^{12}Hz"),
        ([("25 m", 0), ("2", UP), ("; 3 cm", 0), ("3", UP)], "25 m²; 3 cm³"),
        ([("x", 0), ("n+1", UP), (" = 2", 0)], "x^{n+1} = 2"),
        ([("(a+b)", 0), ("2", UP)], "(a+b)²"),
        ([("the 1", 0), ("st", UP), (" of May", 0)], "the 1st of May"),
        ([("M", 0), ("lle", UP), (" Blanc", 0)], "Mlle Blanc"),
        ([("Acme", 0), ("TM", UP), (" and Birch", 0), ("®", UP)], "Acme™ and Birch®"),
        ([("price", 0), ("*", UP), (" in EUR", 0)], "price* in EUR"),
        ([("H", 0), ("2", DOWN), ("O and CO", 0), ("2", DOWN)], "H2O and CO2"),
        ([("x", 0), ("i", DOWN), (" V", 0), ("max", DOWN)], "x_i V_{max}"),
        ([("2", 0), ("3", UP), ("/", 0), ("4", DOWN), (" cups", 0)], "2 3/4 cups"),
        ([("3", UP), ("⁄", 0), ("4", DOWN), ("inch", 0)], "3⁄4 inch"),
        ([("21", 0), ("e", UP), (" siècle, XIX", 0), ("e", UP)], "21e siècle, XIXe"),
        ([("n", 0), ("o", UP), (" 5, 2", 0), ("nd", UP), (" and 10", 0), ("th", UP)], "no 5, 2nd and 10th"),
        ([("5 × 10", 0), ("9", UP), ("/L", 0)], "5 × 10^9/L"),
        ([("Ca", 0), ("2+", UP), (" SO", 0), ("4", DOWN), ("2-", UP)], "Ca²⁺ SO4²⁻"),
        ([("$4", 0), ("99", UP), (" now", 0)], "$4.99 now"),
        ([("Lee", 0), ("1,*", UP)], "Lee [1,*]"),
        ([("", UP), ("plain", 0), (" text", 0)], "plain text"),
    ],
)
def test_marks_stay_apart(runs: list[tuple[str, int]], text: str) -> None:
    assert join_runs(runs) == text
