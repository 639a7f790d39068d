"""The terms that BM25 indexes and searches."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from kb.lexical import analyze, foreign_share, question_terms, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Running runners", "run runner"),
        ("don’t, user's", "dont user"),
        ("Café NAÏVE", "cafe naiv"),
        ("ＨＮＳＷ ｉｎｄｅｘ", "hnsw index"),
        ("向量数据", "向 量 数 据 向量 量数 数据"),
        ("中", "中"),
        ("資料庫", "资 料 库 资料 料库"),
        ("頭髮乾燥", "头 发 干 燥 头发 发干 干燥"),
        ("タワー", "タ ワ ー タワ ワー"),
        ("한국", "한 국 한국"),
        ("𠮷野家", "𠮷 野 家 𠮷野 野家"),
        ("2015年", "2015 年"),
        ("用Milvus存", "用 milvus 存"),
        ("6½", "6 1 2"),
        ("3.14", "3_14"),
        ("1,234,567.8", "1234567_8"),
        ("1,2,3", "1 2 3"),
        ("v2.6.10", "2_6_10 2_6"),
        ("python3.11", "python 3_11"),
        ("GPT4", "gpt4 gpt 4"),
        ("GPT-4", "gpt 4"),
        ("foo_bar", "foo_bar foo bar"),
        ("__init__", "init"),
        ("HTTPServer", "httpserver http server"),
        ("readFile", "readfil read file"),
        ("PDFs", "pdf"),
        ("C++ and C#", "cplusplus and csharp"),
        ("a+b", "a b"),
        ("Привет мир", "привет мир"),
        ("____ ' ’ …!", ""),
        ("", ""),
    ],
)
def test_terms(text: str, expected: str) -> None:
    assert terms(text) == expected


def test_several_texts_are_joined() -> None:
    assert terms("title", "", "標題") == "titl 标 题 标题"


def test_traditional_and_simplified_chinese_give_the_same_terms() -> None:
    assert analyze("後端開發與資料庫檢索") == analyze("后端开发与资料库检索")


def test_each_term_is_one_lower_case_word_token() -> None:
    assigned = (chr(code) for code in range(32, 0x20000) if not 0xD800 <= code < 0xE000)
    text = " ".join(f"{char}x {char}" for char in assigned) + " a" * 3 + "\ud800 İstanbul ﬁ ß ǅ e\u0301e"
    wrong = [term for term in analyze(text) if not re.fullmatch(r"\w+", term) or re.findall(r"\w+", term) != [term]]
    assert wrong == []


def test_long_data_is_cut() -> None:
    assert max(map(len, analyze("A1b2" * 1000 + " " + "1." * 500 + "1"))) <= 64


def test_threads_get_the_same_terms() -> None:
    texts = [
        f"generalizations{number} 後端開發 national connections running word{'ing' * (number % 5)}"
        for number in range(400)
    ]
    expected = [analyze(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(analyze, texts)) == expected


def test_question_terms_skip_meaningless_words() -> None:
    assert question_terms("What is the index of a vector database, the index?") == ("index", "vector", "databas")
    assert question_terms("請問什麼是向量庫？") == ("向量", "量库")
    assert question_terms("茶？") == ("茶",)
    assert question_terms("如何配置索引的参数") == ("配置", "置索", "索引", "参数")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("What is HNSW?", 0.0),
        ("什么是向量", 1.0),
        ("Milvus 的索引", 1 / 3),
        ("что это", 1.0),
        ("123 ?!", 0.0),
        ("ｆｕｌｌ", 0.0),
    ],
)
def test_foreign_share(text: str, share: float) -> None:
    assert foreign_share(text, frozenset({"latin"})) == pytest.approx(share)


def test_foreign_share_knows_each_script() -> None:
    assert foreign_share("索引と한국 Ж", frozenset({"han", "kana", "hangul", "cyrillic"})) == 0
    assert foreign_share("什么", None) == 0
