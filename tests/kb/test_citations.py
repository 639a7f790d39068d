"""Which passages an answer cites."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kb.citations import citations_in, cited, count_dangling, without_dangling


@dataclass(frozen=True)
class Ranked:
    rank: int


@dataclass(frozen=True)
class Found:
    passages: tuple[Ranked, ...]


FOUND = Found((Ranked(1), Ranked(2), Ranked(3)))


def ranks_cited(content: str) -> list[int]:
    return [passage.rank for passage in cited(content, FOUND)]


@pytest.mark.parametrize(
    ("form", "ranks"),
    [
        ("[1]", [1]),
        ("[1][2]", [1, 2]),
        ("[1] [2]", [1, 2]),
        ("[1, 2]", [1, 2]),
        ("[1,2,3]", [1, 2, 3]),
        ("[1; 2]", [1, 2]),
        ("[1 and 2]", [1, 2]),
        ("[1, 2, and 3]", [1, 2, 3]),
        ("[1 & 3]", [1, 3]),
        ("[1、2]", [1, 2]),
        ("[1，2]", [1, 2]),
        ("[1和2]", [1, 2]),
        ("[1-3]", [1, 2, 3]),
        ("[1–3]", [1, 2, 3]),
        ("[1~2]", [1, 2]),
        ("[1 to 3]", [1, 2, 3]),
        ("[1至3]", [1, 2, 3]),
        ("[1]-[3]", [1, 2, 3]),
        ("[1, 2-3]", [1, 2, 3]),
        ("[[1]]", [1]),
        ("[[1], [2]]", [1, 2]),
        ("[^1]", [1]),
        ("[^1^]", [1]),
        ("[^1][^3]", [1, 3]),
        ("<sup>[1]</sup>", [1]),
        ("[citation:1]", [1]),
        ("[citation: 1, 2]", [1, 2]),
        ("[ID:1]", [1]),
        ("[来源: 资料1]", [1]),
        ("【来源：资料 1；资料 2】", [1, 2]),
        ("[Passage 1]", [1]),
        ("[Passages 1 and 2]", [1, 2]),
        ("[passage 1, passage 3]", [1, 3]),
        ("[source 1]", [1]),
        ("[Source: 2]", [2]),
        ("[doc1]", [1]),
        ("[ref. 2]", [2]),
        ("[#1]", [1]),
        ("(Passage 2)", [2]),
        ("[资料1]", [1]),
        ("[资料 1]", [1]),
        ("[来源1]", [1]),
        ("[段落1-3]", [1, 2, 3]),
        ("[资料1、资料3]", [1, 3]),
        ("（资料1、2）", [1, 2]),
        ("【1】", [1]),
        ("【资料1】", [1]),
        ("【1-2】", [1, 2]),
        ("【1】-【3】", [1, 2, 3]),
        ("［1］～［3］", [1, 2, 3]),
        ("【1†source】", [1]),
        ("【4:0†source】", []),
        ("【2:0†source】", [2]),
        ("[1†L3-L5]", [1]),
        ("［1］", [1]),
        ("［1、2］", [1, 2]),
        ("〔1〕", [1]),
        ("[1](p. 3)", [1]),
        ("[1](tea.md)", [1]),
        ("[1](#passage-1)", [1]),
        ("[1, p. 4]", [1]),
        ("[1，第4页]", [1]),
        ("[1，第 4 頁]", [1]),
        ("[1, slide 3]", [1]),
        ("[1, sheet “Costs”]", [1]),
        ("[1，工作表“成本 2024”]", [1]),
        ("【1 · 工作表「成本」】", [1]),
        ("**[1]**", [1]),
        ("[Refund policy][1]", [1]),
        # Of a list, what is there counts.
        ("[1,2,4]", [1, 2]),
        ("[1-4]", [1, 2, 3]),
    ],
)
@pytest.mark.parametrize("sentence", ["So it is {}.", "如此{}。", "| tea | {} |"])
def test_forms_of_citations(form: str, ranks: list[int], sentence: str) -> None:
    assert ranks_cited(sentence.format(form)) == ranks


@pytest.mark.parametrize(
    "text",
    [
        "x[1]",
        "a[0][1]",
        "row_2[1]",
        "self.first[1]",
        "x2[1]",
        "变量x[1]",
        "itemsLeft[1]",
        "argv[1]",
        "y = [1, 2]",
        "`tea[1]`",
        "[2019-2021]",
        "[10-20]",
        "[3-12]",
        "[3-1]",
        "the vectors [0, 1] and [5, 10]",
        "a[\n 1\n]",
        "[2024]",
        "[1.5]",
        "[p.1]",
        "[Figure 1]",
        "(1)",
        "- [x] done",
        "[1](https://a.example)",
        "[7] and [0]",
        r"\[1\]",
        r"\[1]",
    ],
)
def test_other_brackets_cite_nothing(text: str) -> None:
    assert ranks_cited(text) == []


@pytest.mark.parametrize(
    "word", ["minutes", "茶", "E1070", "HTTP2", "GitHub", "tea.md", "A", "80°C", "(see below)", "five."]
)
def test_citation_may_follow_a_word_directly(word: str) -> None:
    assert ranks_cited(f"so {word}[1].") == [1]


def test_without_passages_nothing_is_cited() -> None:
    assert cited("so [1]", None) == []
    assert cited("so [1]", Found(())) == []
    assert count_dangling("so [1]", None) == 0


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("so [1].", 0),
        ("so [7].", 1),
        ("so [7][8] and [2].", 2),
        ("so [1, 2, 4].", 1),
        ("so [1-4].", 1),
        ("如此【7】。如此[资料 9]。", 2),
        ("so [^7]", 1),
        ("so (Passage 7)", 1),
        ("so [source 4, source 5]", 2),
        ("| tea | [7] |", 1),
        # These are no citations.
        ("so [2024], [0], [100]", 0),
        ("the vector [5, 10]", 0),
        ("as [7] and [8] tell, see [9]; 参见[7]", 0),
        ("pages [10-20]", 0),
        ("x[7], row_a[7], `so [7]`", 0),
        ("- [7] Smith, 2019\n1. [8] Jones\n[9] Lee", 0),
        ("```\nso [7]\n```", 0),
        ("[7](https://a.example)", 0),
    ],
)
def test_citations_that_point_nowhere_are_counted(content: str, count: int) -> None:
    assert count_dangling(content, FOUND) == count


def test_text_to_take_away_lacks_citations_that_point_nowhere() -> None:
    text = "Hot [1]. Cold [17], iced [1, 17]; 如此【2、17，第 3 页】, **[1-4]**, [资料 1] `x [1, 17]`"
    kept = "Hot [1]. Cold, iced [1]; 如此[2, 第 3 页], **[1, 2, 3]**, [资料 1] `x [1, 17]`"
    assert without_dangling(text, FOUND) == kept
    assert without_dangling(text, None) == text


def test_citations_have_their_place() -> None:
    content = "如此【1】。\n\n```\nx [2]\n```\n\nso `x[1]` [2, p. 4], so ([7])."
    found = [(content[each.start : each.end], each.ranks, each.page) for each in citations_in(content, {1, 2})]
    assert found == [("【1】", (1,), ""), ("[2, p. 4]", (2,), "p. 4"), ("([7])", (), "")]


@pytest.mark.parametrize(
    "content", ["```\nso [1]\n\nso [1]", "- ```\n  so [1]\n\n  so [1]", "- a\n\n  ~~~\n  so [1]\n  ``"]
)
def test_code_that_is_still_being_written_cites_nothing(content: str) -> None:
    assert list(citations_in(content, {1})) == []


@pytest.mark.parametrize(
    "piece",
    [
        "- ",
        "1. - ",
        "- ```\n",
        "\t",
        " - a\n",
        "[1] ",
        "[7] ",
        "**[7]** ",
        "(((",
        "*" * 9 + "[7]",
        "[1, ",
        "【7†",
        "(资料7, ",
    ],
)
def test_long_repetitions_take_linear_time(piece: str) -> None:
    assert count_dangling(piece * 8_000, FOUND) >= 0


@pytest.mark.parametrize(
    "content",
    [
        "- ```py\n  x[1] = 2\n\nTea is green [1].",
        "1. ~~~\n   x[1] = 2\n2. Tea is green [1].",
        "- ```\n  x[1] = 2\n  ```\n- Tea is green [1].",
        "1. Run:\n\n   ```py\n   x[1] = 2\n\n2. Tea is green [1].",
        "10) Run\n    ~~~\n    x[1] = 2\n\n    y[1]\nTea is green [1].",
        "- a\n  - b\n\n\t```\n\tx[1] = 2\n  Tea is green [1].",
        "1. - ```\n     x[1] = 2\n   - Tea is green [1].",
        "- a\nb\n  ```\n  x[1] = 2\n\nTea is green [1].",
        # Not in a list, or closed:
        "  ```py\nx[1] = 2\n  ```\nTea is green [1].",
        "- a\n\nb\n\n  ```\nx[1] = 2\n\ny[1]\n```\nTea is green [1].",
        "```py\nx[1] = 2\n```py\nso [1]\n````\nTea is green [1].",
        "~~~ `\nso [1]\n```\nso [1]\n~~~\nTea is green [1].",
    ],
)
def test_code_ends_at_its_fence_or_with_its_entry_of_a_list(content: str) -> None:
    assert [content[each.start - 6 : each.end] for each in citations_in(content, {1})] == ["green [1]"]
