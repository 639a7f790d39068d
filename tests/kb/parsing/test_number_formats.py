"""Numbers and dates read as a spreadsheet shows them."""

from __future__ import annotations

import pytest

from kb.parsing.number_formats import BUILT_IN, format_number


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (0.1275, "0.0%", "12.8%"),
        (0.1275, "0.00%", "12.75%"),
        (1067, "00000", "01067"),
        (13800138000, "0", "13800138000"),
        (123456, '0!.0,"万"', "12.3万"),
        (1234.5, '"¥"#,##0.00', "¥1,234.50"),
        (1234.5, "[$€-407] #,##0.00", "€ 1,234.50"),
        (-1234.5, "#,##0.00", "-1,234.50"),
        (-1234.5, "#,##0.00_);(#,##0.00)", "(1,234.50)"),
        (-1234.5, "#,##0;[Red]-#,##0", "-1,235"),
        (-0.001, "0.00", "0.00"),
        (0, '0;-0;"none"', "none"),
        (0, "#,##0", "0"),
        (0, "#", ""),
        (5, ";;;", ""),
        (1234567, "#,##0", "1,234,567"),
        (1234567, '#,##0.0,,"M"', "1.2M"),
        (1234567, "0,", "1235"),
        (2.5, "0.###", "2.5"),
        (2, "0.0#", "2.0"),
        (0.5, "#.##", ".5"),
        (1e21, "0", "1000000000000000000000"),
        (12345, "0.00E+00", "1.23E+04"),
        (0.00012, "0.0E+0", "1.2E-4"),
        (0.5, "# ?/?", "1/2"),
        (2.75, "# ?/?", "2 3/4"),
        (2, "# ?/?", "2"),
        (1.375, "# ?/8", "1 3/8"),
        (5551234567, "(###) ###-####", "(555) 123-4567"),
        (123456789, "000-00-0000", "123-45-6789"),
        (7, '0" kg"', "7 kg"),
        (7, 'General" kg"', "7 kg"),
        (7, "0\\ \\k\\g", "7 kg"),
        (150, "[>=100]0.0;0.00", "150.0"),
        (15, "[>=100]0.0;0.00", "15.00"),
        (3.14159, "General", "3.14159"),
        (3.14159, "@", "3.14159"),
    ],
)
def test_number(value: float, code: str, shown: str) -> None:
    assert format_number(value, code) == shown


@pytest.mark.parametrize(
    ("serial", "code", "shown"),
    [
        (45356, 'yyyy"年"m"月"d"日"', "2024年3月5日"),
        (45352, 'yyyy"年"m"月"', "2024年3月"),
        (45356, "yyyy-mm-dd", "2024-03-05"),
        (45356, "[$-409]d-mmm-yy", "5-Mar-24"),
        (45356, "dddd, mmmm d", "Tuesday, March 5"),
        (45356, "aaaa", "星期二"),
        (45356.75, "yyyy-mm-dd hh:mm", "2024-03-05 18:00"),
        (45356.75, "m/d/yyyy h:mm AM/PM", "3/5/2024 6:00 PM"),
        (0.3958333333333333, "h:mm", "9:30"),
        (0.999999, "h:mm:ss", "0:00:00"),
        (1.09375, "[h]:mm", "26:15"),
        (1.09375, "[mm]:ss", "1575:00"),
        (0.0000116, "mm:ss.0", "00:01.0"),
        (1, "yyyy-mm-dd", "1900-01-01"),
        (61, "yyyy-mm-dd", "1900-03-01"),
    ],
)
def test_date(serial: float, code: str, shown: str) -> None:
    assert format_number(serial, code) == shown


def test_dates_of_old_macs_count_from_1904() -> None:
    assert format_number(43894, "yyyy-mm-dd", starts_1904=True) == "2024-03-05"


@pytest.mark.parametrize(
    "code", ["", ";;;", "[", '"', "0.0.0", "yyyy", "?/", "E+", "[>x]0", "*", "\\", "0" * 50, *BUILT_IN.values()]
)
@pytest.mark.parametrize("value", [0, -1, 1.5, -123456.789, 1e300, 1e-300])
def test_any_format_gives_a_text(code: str, value: float) -> None:
    assert isinstance(format_number(value, code), str)
