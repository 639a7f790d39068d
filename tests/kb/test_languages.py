"""The language of a question: Chinese or not, and in which script."""

from __future__ import annotations

import pytest

from kb.languages import Language, is_chinese, language_of


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        *(("总结 refunds.md", True), ("用 Python 写 quicksort", True), ("What does 保修 mean?", False)),
        *(("什么是 HNSW？", True), ("What is 向?", False), ("What is HNSW?", False), ("", False)),
        *(
            ("Что такое индекс?", False),
            ("ما هو الفهرس؟", False),
            ("색인이란 무엇인가?", False),
            ("索引とは何ですか？", False),
        ),
        ("比较 a.md 和 b.md", True),
    ],
)
def test_chinese_is_recognised(text: str, chinese: bool) -> None:
    assert is_chinese(text) is chinese


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("保修期多长？", Language.SIMPLIFIED),
        ("保固期多長？", Language.TRADITIONAL),
        ("台灣的運費是多少", Language.TRADITIONAL),
        ("总结《產品手冊.pdf》里关于运费、保修和退款的内容", Language.SIMPLIFIED),  # a name does not decide
        ("摘要《产品.pdf》裡關於運費的內容", Language.TRADITIONAL),
        ("你好", Language.SIMPLIFIED),
        ("What is 資料庫?", Language.ENGLISH),
    ],
)
def test_script_of_a_question(text: str, language: Language) -> None:
    assert language_of(text) is language


def test_earlier_questions_tell_the_script_of_a_short_one() -> None:
    assert language_of("它呢？", ["你好", "保固期多長？", "保修期多长？"]) is Language.TRADITIONAL
    assert language_of("保修期多长？", ["保固期多長？"]) is Language.SIMPLIFIED


def test_page_tells_the_script_of_a_short_question_without_earlier_ones() -> None:
    assert language_of("你好", page_language="zh_TW") is Language.TRADITIONAL
    assert language_of("你好", page_language="en") is Language.SIMPLIFIED
    assert language_of("保修期多长？", page_language="zh_TW") is Language.SIMPLIFIED


def test_fixed_text_is_in_the_language() -> None:
    texts = "The file “{name}” is damaged.", "文件“{name}”已损坏。"
    picked = [language.pick(*texts) for language in Language]
    assert picked == [*texts, "檔案「{name}」已損壞。"]
