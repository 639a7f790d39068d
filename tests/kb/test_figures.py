"""Figures and dates are compared by what they say, not by how they are written."""

from __future__ import annotations

import pytest

from kb.lexical.folding import fold
from kb.support.figures import Figures, read_figures


def holds(text: str, claim: str) -> bool:
    """Whether `text` has all figures of `claim`, which has some."""
    figures = list(read_figures(fold(claim)))
    assert figures
    return all(map(Figures(fold(text)).holds, figures))


SAME = [
    ("1,234.50", "1234.5"),
    ("1 234 567", "1234567"),
    ("百分之十", "10 %"),
    ("10%", "10 percent"),
    ("百分之三点五", "3.5%"),
    ("0.5", "50%"),
    ("三个月", "3 个月"),
    ("三个月", "3 months"),
    ("three months", "3个月"),
    ("两年", "24 个月"),
    ("48 hours", "2天"),
    ("30天", "30-day"),
    ("thirty days", "30 日"),
    ("5 个工作日", "5天"),
    ("5 working days", "five days"),
    ("120万元", "1,200,000 元"),
    ("$4.2 million", "4,200,000 dollars"),
    ("¥12,500", "12500元"),
    ("RMB 500", "500 元"),
    ("1.5 km", "1500米"),
    ("2 kg", "2000 克"),
    ("16GB", "16 GB"),
    ("10k", "10,000"),
    ("一百二十五人", "125 people"),
    ("twenty-five people", "25 人"),
    ("one hundred and fifty", "150"),
    ("2024年3月15日", "March 15, 2024"),
    ("2024-03-15", "2024年3月"),
    ("2024-03-15", "2024"),
    ("15 March 2024", "2024/3/15"),
    ("2024 年：3月15日", "2024年3月15日"),
    ("due 3/15", "3月15日"),
    ("14:30", "2:30 pm"),
    ("9:00–18:00", "9点"),
    ("星期一至星期五", "周三"),
    ("Monday to Friday", "星期二"),
    ("p. 12", "第 12 页"),
    ("10-20%", "10% 至 20%"),
    ("3–5 天", "5天"),
    ("数量 500", "500 人"),
    ("a hundred years", "100 年"),
    ("one decade", "十年"),
    ("the 1930s", "20世纪30年代"),
    ("2019-20", "2020年"),
    ("November", "11月"),
    ("512 users", "about 500"),
    ("138 0013 8000", "13800138000"),
]

OTHER = [
    ("30 天", "31 天"),
    ("三个月", "3 年"),
    ("3 days", "3 weeks"),
    ("10%", "12%"),
    ("10 元", "10%"),
    ("5 GB", "5 MB"),
    ("$500", "500 元"),
    ("1,234.50", "1234.6"),
    ("120万元", "12万元"),
    ("2024-03-15", "2024-03-16"),
    ("2024-03-15", "2023年3月15日"),
    ("2023年3月15日，2024年", "2024年3月15日"),
    ("March 2024", "2024年4月"),
    ("周一至周五", "周六"),
    ("Monday", "Tuesday"),
    ("14:30", "15:30"),
    ("A-1023", "1023"),
    ("512 users", "about 600"),
    ("512 users", "500"),
    ("v2.6.10", "2.6"),
    ("", "5"),
]


@pytest.mark.parametrize(("text", "claim"), SAME)
def test_notations_of_the_same_figure(text: str, claim: str) -> None:
    assert holds(text, claim)


@pytest.mark.parametrize(("text", "claim"), OTHER)
def test_other_figures(text: str, claim: str) -> None:
    assert not holds(text, claim)


@pytest.mark.parametrize("text", ["A-1023/x", "E4012", "v2.6.10", "foo_12", "no numbers", "一个人和两三个朋友，万一"])
def test_codes_are_no_figures(text: str) -> None:
    assert not [figure for figure in read_figures(fold(text)) if figure.text in ("1023", "4012", "2.6", "10", "12")]


@pytest.mark.parametrize("piece", ["9", "1,", "1.", "one ", "一", "百分之", "$", "2024-", "周一至", "3 m ", "~ 5 "])
def test_long_repetitions_take_linear_time(piece: str) -> None:
    Figures(piece * 20_000)
