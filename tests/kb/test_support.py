"""Sentences that the passages do not support, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest

from kb.extracts import extract_answer, split_sentences
from kb.languages import Language
from kb.models import Chunk, FileList, Passage, Place, Retrieval, Trace
from kb.support import source_texts, unsupported

ENGLISH = {
    1: (
        "Refund policy\n\nCustomers may return goods within 30 days of delivery. The fee is $12.50 or 5% of the price, "
        "whichever is lower. Refunds are paid within 10 working days. Goods above 1,500 dollars need the approval of "
        "Maria Lopez, head of Customer Care at Northwind Traders."
    ),
    2: (
        "Warranty\n\nThe X200 comes with a warranty of two years, the XR-350 with three years. Batteries are covered "
        "for 18 months. Claims go to support@northwind.example. The policy took effect on 15 March 2024. “Wear and "
        "tear of moving parts” is not covered. The service desk is open Monday to Friday, 9:00–17:30."
    ),
    3: (
        "Leave\n\nEmployees have 25 days of annual leave; part-time staff have 12. Up to 5 days may be carried over "
        "until 31 March. The HRPortal shows the balance. A deposit of €200,000 was made by Contoso University in 2023."
    ),
}
CHINESE = {
    1: (
        "退款政策\n\n客户可在收货后 30 天内退货。手续费为 12.5 元或货款的百分之五，以较低者为准。"
        "退款在十个工作日内到账。超过 1,500 元的货物须经客服部主管李明批准。详见《退换货管理办法》。"
    ),
    2: (
        "保修\n\nX200 的保修期为两年，XR-350 为三年。电池保修 18 个月。理赔请联系 support@northwind.example。"
        "本政策自2024年3月15日起施行。“运动部件的正常磨损”不在保修范围内。服务台周一至周五 9:00–17:30 开放。"
    ),
    3: (
        "休假\n\n员工每年有 25 天年假，兼职员工为 12 天。最多可将五天结转至次年3月31日。余额见 HRPortal。"
        "2023 年，北京大学捐款 120 万元。"
    ),
}


def marked(answer: str, passages: dict[int, str], given: str = "") -> list[str]:
    return [answer[span.start : span.end] for span in unsupported(answer, passages, given)]


def sentences() -> Iterator[tuple[dict[int, str], int, str]]:
    """Each sentence of the passages, and its passage."""
    for passages in (ENGLISH, CHINESE):
        for rank, text in passages.items():
            for sentence in split_sentences(text, ())[1:]:
                yield passages, rank, " ".join(sentence.text.split())


# --- extracts are supported ------------------------------------------------------------------------------------


@pytest.mark.parametrize("passages", [ENGLISH, CHINESE])
def test_passages_themselves_are_supported(passages: dict[int, str]) -> None:
    assert marked("\n\n".join(f"{text} [{rank}]" for rank, text in passages.items()), passages) == []
    assert marked("\n\n".join(passages.values()), passages) == []


def test_each_sentence_is_supported_by_its_own_passage() -> None:
    for passages, rank, text in sentences():
        assert marked(f"- {text} [{rank}]", passages) == []


def test_extracts_without_a_model_are_supported() -> None:
    for passages in (ENGLISH, CHINESE):
        found = tuple(
            Passage(Chunk(str(rank), uuid4(), uuid4(), text=text), "a.md", rank, context=text)
            for rank, text in passages.items()
        )
        retrieval = Retrieval("?", found, Trace(terms=("30", "18", "25", "days", "天")))
        language = Language.SIMPLIFIED if passages is CHINESE else Language.ENGLISH
        assert marked(extract_answer(retrieval, language), source_texts(retrieval)) == []


@pytest.mark.parametrize(
    "answer",
    [
        "You can send goods back for 30 days [1], and get the money after at most ten working days [1].",
        "**Warranty**: The X200 has a 24-month warranty [2].",
        "Part-timers get twelve days [3]. Batteries: 1.5 years [2].",
        "Here are the 3 points:\n\n1. The fee is 5 percent [1].\n2. It is at most $12.50 [1].",
        "The three main rules are simple. In step 2, ask Ms. Lopez [1].",
        "## 7 rules\n\n| Product | Warranty |\n|---|---|\n| X200 | 2 years [2] |\n| XR-350 | 3 years [2] |",
        "The passages do not say whether the fee of $99 applies to Fabrikam.",
        "I could not find anything about 2031 in the documents.",
        "Do you mean the 40-day period?",
        "```python\nprint(99, 'Fabrikam')\n```",
        "Northwind's policy took effect in March 2024 [2].",
        "The service desk is closed on weekends, and open on Tuesday at 9:00 [2].",
        "保修期为 2 年，电池为一年半（18 个月）[2]。",
        "X200 自带两年保修 [2]；Northwind 的邮箱是 support@northwind.example [2]。",
        "I hope this helps! Let me know if you have any further questions about this topic.",
        "It costs about $12 [1].",
        "Thus $5 \\cdot 77 = 385$.",
    ],
)
def test_other_words_for_the_same_are_supported(answer: str) -> None:
    assert marked(answer, ENGLISH) == []


@pytest.mark.parametrize(
    "answer",
    [
        "三十天内可以退货[1]，10 个工作日内到账[1]。",
        "X200 保修 24 个月 [2]。",
        "手续费最多 12.50 元，或者 5%【1】。",
        "以下是 3 点说明：\n\n1. 年假 25 天 [3]。\n2. 兼职 12 天 [3]。",
        "总共有三个方面。第2步，联系李明 [1]。",
        "**保修：**\n\n| 产品 | 保修 |\n|---|---|\n| X200 | 两年 [2] |",
        "资料中没有提到 2031 年的 99 元费用。",
        "您是指 40 天的期限吗？",
        "2024年3月起施行 [2]。自 2024/3/15 开始。",
        "所谓“双保险”是一种说法。",
        "The warranty of the X200 is two years [2].",
        "The manager Li Ming of Beijing University approves it [1].",
        "希望以上信息对您有帮助！",
        "人工客服（Customer Care）的负责人是李明 [1]。",
        "根据《退换货管理办法》，三十天内可以退货 [1]。",
    ],
)
def test_other_words_for_the_same_are_supported_in_chinese(answer: str) -> None:
    assert marked(answer, CHINESE) == []


def test_what_the_question_says_may_be_repeated() -> None:
    answer = "For Fabrikam and its 77 employees, 25 days are given [3]."
    assert marked(answer, ENGLISH, "How many days do the 77 employees of Fabrikam get?") == []
    assert marked(answer, ENGLISH) != []


def test_without_passages_nothing_is_marked() -> None:
    assert unsupported("Fabrikam has 77 employees.", {}) == ()


# --- what was changed is marked --------------------------------------------------------------------------------

_FIGURE = re.compile(r"(?<![A-Za-z\d.,-])\d+(?:,\d{3})*(?:\.\d+)?(?![\d.,]*\d)")


def test_each_changed_figure_is_marked() -> None:
    changed = 0
    for passages, rank, text in sentences():
        for figure in _FIGURE.finditer(text):
            other = text[: figure.start()] + figure[0] + "7" + text[figure.end() :]
            if ":" in text[figure.end() : figure.end() + 1] or text[figure.start() - 1] == ":":
                continue  # 9:007 is no time
            (found,) = marked(f"{other} [{rank}]", passages)
            assert found in other
            changed += 1
    assert changed > 20


@pytest.mark.parametrize(
    ("passages", "answer", "missing"),
    [
        (ENGLISH, "Goods may be returned within 60 days [1].", "60 days"),
        (ENGLISH, "The fee is 6 percent [1].", "6 percent"),
        (ENGLISH, "The X200 has a warranty of five years [2].", "5 years"),
        (ENGLISH, "The X200 has a warranty of two months [2].", "2 months"),
        (ENGLISH, "The policy took effect on 16 March 2024 [2].", "16 March 2024"),
        (ENGLISH, "The desk is open on Saturday [2].", "Saturday"),
        (ENGLISH, "Refunds are approved by Maria Gonzalez [1].", "Maria Gonzalez"),
        (ENGLISH, "The approval comes from Fabrikam Traders [1].", "Fabrikam Traders"),
        (ENGLISH, "The warranty holds for the XR-450 [2].", "XR-450"),
        (ENGLISH, "Write to help@northwind.example [2].", "help@northwind.example"),
        (ENGLISH, "See https://northwind.example/refunds [1].", "https://northwind.example/refunds"),
        (ENGLISH, "Set `max_returns` first [1].", "max_returns"),
        (ENGLISH, "The text says “free of charge for all members” [1].", "free of charge for all members"),
        (ENGLISH, "Employees have 25 days of annual leave [1].", "25 days"),
        (ENGLISH, "Bananas grow quickly where tropical rain falls daily [1].", ""),
        (CHINESE, "客户可在 60 天内退货 [1]。", "60 天"),
        (CHINESE, "手续费为百分之六 [1]。", "6%"),
        (CHINESE, "X200 的保修期为五年 [2]。", "5年"),
        (CHINESE, "X200 的保修期为两个月 [2]。", "2个月"),
        (CHINESE, "本政策自2024年3月16日起施行 [2]。", "2024年3月16日"),
        (CHINESE, "服务台周六开放 [2]。", "周六"),
        (CHINESE, "请使用 PostgreSQL 查询余额 [3]。", "PostgreSQL"),
        (CHINESE, "XR-450 的保修期为三年 [2]。", "XR-450"),
        (CHINESE, "详见《员工考勤制度》[1]。", "员工考勤制度"),
        (CHINESE, "原文写道“所有会员一律免费退货” [1]。", "所有会员一律免费退货"),
        (CHINESE, "南京大学捐款 120 万元 [3]。", "南京"),
        (CHINESE, "员工每年有 25 天年假 [1]。", "25 天"),
        (CHINESE, "香蕉在热带雨林里生长得特别快而且味道甜美 [1]。", ""),
    ],
)
def test_what_the_passage_does_not_say_is_marked(passages: dict[int, str], answer: str, missing: str) -> None:
    (span,) = unsupported(answer, passages)
    assert span.start == 0
    assert not missing or span.missing == (missing,)


def test_spans_are_places_in_the_answer() -> None:
    answer = (
        "## Refunds\n\n- You have **30 days** [1]. But *no* more than `60` days, says \\*Fabrikam\\*.[1]\n"
        "- [2] The XR-450 is old.\n\n> Fine. It was 2031 【3】!\n"
    )
    assert marked(answer, ENGLISH) == [
        "But *no* more than `60` days, says \\*Fabrikam\\*.",
        "The XR-450 is old.",
        "It was 2031 【3】!",
    ]


def test_places_and_neighbours_of_a_passage_count() -> None:
    chunk = Chunk("1", uuid4(), uuid4(), page=12, heading="Fabrikam > Prices", text="The fee is 5.")
    passage = Passage(
        chunk, "Tariff 2031.pdf", 1, context="The fee is 5. In Oslo it is 77.", also_in=(Place("X99.md"),)
    )
    answer = "On page 12 of “Tariff 2031”, Fabrikam says that 77 is the fee in Oslo; so does X99 [1]."
    assert marked(answer, source_texts(Retrieval("?", (passage,)))) == []


def test_names_of_files_are_no_passages() -> None:
    passage = Passage(Chunk("1", uuid4(), uuid4(), text="The fee is 5."), "fees.md", 1)
    assert source_texts(Retrieval("?", (passage,)))
    assert source_texts(Retrieval("?", (passage,), files=FileList(("fees.md",), 1))) == {}
    assert source_texts(None) == {}


# --- bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    ["“Fabrikam ", "`x` ", "1.", "A ", "\\*", "**", "[a](", "http://a", "<a ", "no information ", "资料没有", "《甲"],
)
def test_long_repetitions_take_linear_time(piece: str) -> None:
    unsupported(piece * (60_000 // len(piece)), ENGLISH)


def test_only_the_beginning_of_an_endless_answer_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    false = "The fee is 99.75 dollars [1]. "
    assert len(unsupported(false * 4, ENGLISH)) == 4
    monkeypatch.setattr("kb.support.MOST_CHARACTERS", 2 * len(false))
    assert len(unsupported(false * 4, ENGLISH)) == 2
