"""The answer without a language model: which parts of a passage match, and how they are quoted; pure."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from markdown_it import MarkdownIt

from kb.extracts import (
    ANSWER_PASSAGES,
    Part,
    escape_markdown,
    extract_answer,
    extract_web_answer,
    matching_sentences,
    split_sentences,
)
from kb.languages import Language
from kb.lexical import question_terms
from kb.models import Beginning, Chunk, FileList, Passage, Retrieval, RetrievalProfile, Trace, Unread
from kb.web_search.passages import ReadPage, WebPassage, WebRetrieval

STOCK = "\n".join(
    f"Part number: SP-{number}; Name: Gasket kit size {number}; Weight (g): {number // 5}; Place: C{number % 9}"
    for number in range(1040, 1060)
)


ENGLISH, SIMPLIFIED, TRADITIONAL = Language


def passage(rank: int, text: str, heading: str = "") -> Passage:
    chunk = Chunk(str(rank), uuid4(), uuid4(), rank, 0, len(text), 0, heading, text)
    return Passage(chunk, "手册.pdf", rank, 1.0, 1.0, 1.0, None, None, text)


def extract(question: str, *passages: Passage) -> str:
    trace = Trace((), RetrievalProfile(), 1.0, question_terms(question))
    return extract_answer(Retrieval(question, passages, trace), ENGLISH)


def quoted(question: str, text: str, heading: str = "") -> list[str]:
    """The lines of the one passage's quotation, without its sign."""
    lines = extract(question, passage(1, text, heading)).split("\n")
    assert all(line.startswith(">") for line in lines)
    return [line.removeprefix(">").removeprefix(" ") for line in lines]


# --- the parts of a text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("一。二！三？", ["一。", "二！", "三？"]),
        ("One. Two! Three? Four", ["One. ", "Two!", " Three?", " Four"]),
        ("Version 3.14 is out. Next", ["Version 3.14 is out. ", "Next"]),
        ("Key: a; Place: b\nKey: c; Place: d", ["Key: a; Place: b\n", "Key: c; Place: d"]),
        ("", []),
        ("  \n ", []),
    ],
)
def test_sentences_keep_all_text(text: str, sentences: list[str]) -> None:
    assert [sentence.text for sentence in split_sentences(text, [])] == sentences
    for sentence in split_sentences(text, []):
        assert text[sentence.start :].startswith(sentence.text)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("# Title", Part.HEADING),
        ("#标题", Part.HEADING),
        ("Yearly checks", Part.HEADING),  # it stands in the path
        ("第二章 考勤", Part.HEADING),
        ("Chapter 3: Yearly tasks", Part.HEADING),
        ("3.2 Oil and filters", Part.HEADING),
        ("#1 of the list wins.", Part.PROSE),
        ("第二条 迟到三次扣款。", Part.PROSE),
        ("Part 2 describes the pump.", Part.PROSE),
        ("|---|:--:|", Part.RULE),
        ("---", Part.RULE),
        ("| a | b |", Part.ROW),
        ("Anna | Berlin | Carl", Part.ROW),
        ("Anna\tBerlin\tCarl", Part.ROW),
        ("地区: 一线城市; 职级: 主管; 标准: 500", Part.ROW),
        ("Note: check the valve and close it.", Part.PROSE),
        ("- a seal", Part.ITEM),
        ("• 护照", Part.ITEM),
        ("12. Open the valve.", Part.ITEM),
        ("12.\tOpen the valve.", Part.ITEM),
        ("12.\tOpen the valve.\t3 min", Part.ROW),
        ("3、关闭阀门", Part.ITEM),
        ("（二）罚款", Part.ITEM),
        ("1.5 bar is enough.", Part.PROSE),
        ("-5 degrees", Part.PROSE),
    ],
)
def test_line_kinds(line: str, part: Part) -> None:
    (sentence,) = split_sentences(line, [], "Maintenance > Yearly checks")
    assert sentence.part is part


def test_headings_match_nothing() -> None:
    sentences = split_sentences("# 迟到\n迟到扣款。", question_terms("迟到"), "考勤 > 迟到")
    assert [sentence.matches for sentence in sentences] == [0, 1]


def test_best_sentences_keep_text_order() -> None:
    terms = question_terms("sweet green pear")
    text = "A pear is green. Rivers flow. A green pear tastes sweet. Green is a colour."
    chosen = matching_sentences(split_sentences(text, terms))
    assert [sentence.text.strip() for sentence in chosen] == ["A pear is green.", "A green pear tastes sweet."]
    assert matching_sentences(split_sentences(text, question_terms("quantum physics"))) == []
    assert matching_sentences([]) == []


# --- prose -----------------------------------------------------------------------------------------------------


def test_match_is_marked_with_its_neighbours() -> None:
    text = "Rivers are long. Apples are red. Bananas are yellow. Pears are green. Plums are blue."
    assert quoted("What colour are bananas?", text) == [
        "… Apples are red. **Bananas are yellow.** Pears are green. … [1]"
    ]


def test_chinese_sentences_are_joined_without_spaces() -> None:
    assert quoted("香蕉是什么颜色？", "香蕉是黄色的。河流很长。") == ["**香蕉是黄色的。**河流很长。 [1]"]


def test_headings_are_shown_above_the_answer() -> None:
    text = "# 考勤制度\n\n## 迟到\n\n迟到一次扣 50 元。早退同样处理。"
    assert quoted("迟到扣多少钱？", text, "考勤制度 > 迟到") == [
        "*考勤制度 › 迟到*",
        "",
        "**迟到一次扣 50 元。**早退同样处理。 [1]",
    ]


def test_headings_alone_are_no_answer() -> None:
    answer = extract("What is a pear?", passage(1, "# What is a pear?"), passage(2, "A pear is a fruit."))
    assert answer == "> **A pear is a fruit.** [2]"


def test_question_in_the_text_quotes_what_follows() -> None:
    text = "Q: How do I reset my password? Click on the link. It is valid for a day. Coffee is hot."
    assert quoted("How to reset my password?", text) == ["Q: How do I reset my password? **Click on the link.** … [1]"]


def test_no_match_quotes_the_beginning() -> None:
    assert quoted("quantum", "Nothing here. At all. Never.") == ["Nothing here. At all. … [1]"]


def test_long_sentence_is_cut_around_the_match() -> None:
    (line,) = quoted("pear", "word " * 300 + "pear " + "word " * 300)
    assert "pear" in line
    assert len(line) < 600


def test_fields_of_a_form_stay_lines() -> None:
    text = (
        "Company: TechCorp Industries\nInvoice number: INV-2024-001\nDate of the invoice: January 15\nTotal: 5,000 EUR"
    )
    assert quoted("What is the invoice number?", text) == [
        "Company: TechCorp Industries",
        "",
        "**Invoice number: INV-2024-001**",
        "",
        "Date of the invoice: January 15 … [1]",
    ]


def test_what_stands_below_a_matching_title_is_quoted() -> None:
    text = "Attachments: fake-note.txt\n\nHello! Best regards, Anna.\n\nfake-note.txt\n\nThe key is under the mat."
    answer = "\n".join(quoted("What does the fake note say?", text))
    assert "**fake-note.txt**\n\nThe key is under the mat." in answer


# --- tables and lists ------------------------------------------------------------------------------------------


def test_rows_of_a_page_are_quoted_as_a_table() -> None:
    rows = "姓名\t部门\t城市\n高明\t教育部\t上海\n石磊\t\t北京\n\t研发部\t深圳"
    assert quoted("高明在哪个部门？", f"员工通讯录\n\n{rows}") == [
        "| 姓名 | 部门 | 城市 |",
        "|---|---|---|",
        "| **高明** | **教育部** | **上海** |",
        "| 石磊 |  | 北京 |",
        "|  | 研发部 | 深圳 |",
        "",
        "[1]",
    ]


def test_rows_of_a_page_below_fewer_names_have_no_header() -> None:
    lines = quoted("营业收入是多少？", "本期\t上期\n营业收入\t170\t124\n净利润\t91\t45")
    assert lines[:2] == ["|  |  |  |", "|---|---|---|"]
    assert "| **营业收入** | **170** | **124** |" in lines


def test_row_is_quoted_with_header_and_neighbours() -> None:
    lines = quoted("What is the weight of SP-1050?", STOCK)
    assert lines[:3] == [
        "| Part number | Name | Weight (g) | Place |",
        "|---|---|---|---|",
        "| … |  |  |  |",
    ]
    assert "| **SP-1050** | **Gasket kit size 1050** | **210** | **C6** |" in lines
    assert "| SP-1051 | Gasket kit size 1051 | 210 | C7 |" in lines
    assert sum("**" in line for line in lines) == 1
    assert lines[-3:] == ["| … |  |  |  |", "", "[1]"]


def test_markdown_table_keeps_its_header() -> None:
    text = "| 地区 | 职级 | 标准 |\n|---|---|---|\n| 一线城市 | 主管 | 500 |\n| 一线城市 | 员工 | 400 |"
    assert quoted("一线城市员工的标准是多少？", text) == [
        "| 地区 | 职级 | 标准 |",
        "|---|---|---|",
        "| 一线城市 | 主管 | 500 |",
        "| **一线城市** | **员工** | **400** |",
        "",
        "[1]",
    ]


def test_first_row_above_figures_is_the_header() -> None:
    lines = quoted("一线城市主管的标准", "地区 | 职级 | 标准（元）\n一线城市 | 经理 | 600\n一线城市 | 主管 | 500")
    assert lines[0] == "| 地区 | 职级 | 标准（元） |"
    assert lines[3] == "| **一线城市** | **主管** | **500** |"


def test_rows_without_header_are_a_table() -> None:
    lines = quoted("Where does Bob live?", "Anna | Berlin | Carl\nBob | Paris | Dora")
    assert lines[:4] == [
        "|  |  |  |",
        "|---|---|---|",
        "| Anna | Berlin | Carl |",
        "| **Bob** | **Paris** | **Dora** |",
    ]


def test_empty_first_cell_is_kept() -> None:
    lines = quoted("staff", "North | manager | 500\n | staff | 400")
    assert lines[2:4] == ["| North | manager | 500 |", "|  | **staff** | **400** |"]


def test_rows_with_different_columns_share_a_table() -> None:
    lines = quoted("Bob", "Name: Anna; Town: Berlin\nName: Bob; Age: 4")
    assert lines[:2] == ["| Name | Town | Age |", "|---|---|---|"]
    assert lines[3] == "| **Bob** |  | **4** |"


def test_list_item_is_quoted_with_neighbours() -> None:
    text = "\n".join(f"{number}. Step {number} of opening." for number in range(1, 20)) + "\n20. The tower."
    lines = quoted("tower", text)
    assert lines[0] == "- …"
    assert lines[-1] == "20. **The tower.** [1]"
    assert len(lines) <= 8


def test_announced_list_is_quoted() -> None:
    text = "For a visa, these documents are needed:\n- a passport\n- a photograph\n\nThe fee is 5."
    assert quoted("Which documents are needed for a visa?", text) == [
        "**For a visa, these documents are needed:**",
        "",
        "- a passport",
        "- a photograph [1]",
    ]


# --- the whole answer ------------------------------------------------------------------------------------------


def test_each_quote_has_its_citation() -> None:
    texts = ("Green pears.", "Pears are green.", "A green pear.", "Never shown: green pears.")
    answer = extract("Are pears green?", *(passage(rank, text) for rank, text in enumerate(texts, 1)))
    assert [block[-3:] for block in answer.split("\n\n")] == [f"[{rank}]" for rank in range(1, ANSWER_PASSAGES + 1)]


def test_weak_and_duplicate_passages_are_left_out() -> None:
    texts = ("Sweet green pears grow here.", "Rivers flow.", "Sweet green pears grow here.")
    answer = extract("Where do sweet green pears grow?", *(passage(rank, text) for rank, text in enumerate(texts, 1)))
    assert answer == "> **Sweet green pears grow here.** [1]"


@pytest.mark.parametrize(
    "template", ["{} pear", "| {} | pear |\n|---|---|\n| {} | pear |", "- {} pear", "Key: {}; Name: pear"]
)
def test_passage_text_is_not_read_as_markdown(template: str) -> None:
    text = "a ![x](http://evil/track.png) <script>alert(1)</script> $x$ `code` **green** [9] &lt; :red[x] :tada: a|b"
    answer = extract("pear", passage(1, template.replace("{}", text)))
    tokens = [
        token
        for block in MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(answer)
        for token in [block, *(block.children or ())]
    ]
    assert {"image", "link_open", "html_inline", "html_block", "code_inline"}.isdisjoint(token.type for token in tokens)
    shown = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
    for sign in ("[x](http", "<script>", "$x$", "`code`", "**green**", "[9]", "&lt;", ":red[x]"):
        assert sign in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a &lt;b&gt;", "a \\&lt;b\\&gt;"),
        (":material/home:", "\\:\u2060material/home\\:"),
        ("http://x.example", "http\\:\u2060//x\\.example"),
        ("www.x.example", "www\u2060\\.x\\.example"),
        ("a@x.example", "a@\u2060x\\.example"),
        (":material_home:", "\\:\u2060material\\_home\\:"),
        (":streamlit:", "\\:\u2060streamlit\\:"),
        ("a -> b", "a \\-\u2060\\> b"),
        ("<->", "\\<\u2060\\-\\>"),
        ("a <= b", "a \\<\u2060= b"),
        ("--", "\\-\u2060\\-"),
    ],
)
def test_what_streamlit_reads_after_markdown_stays_text(text: str, expected: str) -> None:
    assert escape_markdown(text) == expected


@pytest.mark.parametrize(
    "text", ["a->b", "redis://host:6379/0", "http://host:8080", "x@y", "C:/material", "-->", "www"]
)
def test_nothing_unseen_is_put_where_streamlit_reads_nothing(text: str) -> None:
    assert "\u2060" not in escape_markdown(text)


def test_addresses_that_are_known_become_links() -> None:
    text = "*http://a.b* and http://a.b/c（d）, not http://x.y, ftp://z"
    expected = "\\*<http://a.b>\\* and <http://a.b/c>（d）, not http\\:\u2060//x\\.y, ftp\\://z"
    assert escape_markdown(text, ["http://a.b", "", "http://a.b/c", "ftp://z"]) == expected


def test_escape_markdown() -> None:
    assert escape_markdown("a*b_c[d]") == "a\\*b\\_c\\[d\\]"


# --- names and beginnings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "language", "answer"),
    [
        (
            FileList(("a_1.md", "手册.pdf"), 2),
            ENGLISH,
            "The knowledge base holds 2 files:\n\n- a\\_1.md\n- 手册.pdf",
        ),
        (FileList(("a.md", "b.md"), 7), SIMPLIFIED, "知识库中共有 7 个文件：\n\n- a.md\n- b.md\n- …"),
        (
            FileList(("a.md", "b.md"), 2, which=True),
            SIMPLIFIED,
            "您指的是哪个文件？知识库中共有 2 个文件：\n\n- a.md\n- b.md",
        ),
        (
            FileList(("a.md",), 3, which=True),
            TRADITIONAL,
            "您指的是哪個檔案？知識庫中共有 3 個檔案：\n\n- a.md\n- …",
        ),
        (FileList(("a.md",), 1), ENGLISH, "The knowledge base holds one file:\n\n- a.md"),
        (FileList(("a.md",), 1), SIMPLIFIED, "知识库中有 1 个文件：\n\n- a.md"),
        (
            FileList(("A · a.md",), 3, knowledge_bases=2),
            ENGLISH,
            "The knowledge bases hold 3 files:\n\n- A · a.md\n- …",
        ),
        (FileList(("a.md",), 1, is_chosen=True), ENGLISH, "The question is limited to one file:\n\n- a.md"),
        (FileList(("a.md",), 1, is_chosen=True), SIMPLIFIED, "提问范围内有 1 个文件：\n\n- a.md"),
    ],
)
def test_names_are_listed_with_their_number(files: FileList, language: Language, answer: str) -> None:
    assert extract_answer(Retrieval("?", files=files), language) == answer


def test_attached_files_are_listed_as_those_of_the_conversation() -> None:
    found = Retrieval("?", files=FileList(("a.md",), 1), are_attached=True)
    assert extract_answer(found, ENGLISH) == "There is one file in this conversation:\n\n- a.md"


def test_file_without_text_is_told_below_the_others() -> None:
    retrieval = Retrieval(
        "?", (passage(1, "One."),), beginnings=(Beginning("a.md", 1, 1),), unread=(Unread("b_1.pdf"),)
    )
    assert extract_answer(retrieval, SIMPLIFIED) == "> One. [1]\n\n知识库中有文件“b\\_1.pdf”，但它尚未处理完。"


def test_words_around_an_answer_are_in_the_questions_script() -> None:
    retrieval = Retrieval(
        "?", (passage(1, "两年。"),), beginnings=(Beginning("a.md", 1, 1),), unread=(Unread("说明.pdf"),)
    )
    assert extract_answer(retrieval, TRADITIONAL) == "> 两年。 [1]\n\n知識庫中有檔案「说明.pdf」，但它尚未處理完。"


def test_file_is_quoted_from_its_beginning() -> None:
    first, second = passage(1, "# Refunds\nWithin 14 days.", "Refunds"), passage(2, "By post.")
    passages = (first, replace(second, chunk=replace(second.chunk, document_id=first.chunk.document_id)))
    retrieval = Retrieval("Summarize it", passages, beginnings=(Beginning("手册.pdf", 2, 2),))
    assert extract_answer(retrieval, ENGLISH) == "> *Refunds*\n>\n> Within 14 days. [1]"


# --- web pages -------------------------------------------------------------------------------------------------


def test_web_passages_stand_under_their_pages_titles() -> None:
    refunds = passage(1, "Refunds take thirty days. Ask us.", "手册.pdf > Refunds")
    pages = (ReadPage("https://a.example/", "手册.pdf"), ReadPage("https://b.example/", "*News*", error="page_refused"))
    trace = Trace(terms=question_terms("refunds"))
    found = WebRetrieval("refunds", passages=(WebPassage(refunds, "https://a.example/"),), pages=pages, trace=trace)
    assert extract_web_answer(found, ENGLISH) == (
        "> *手册.pdf › Refunds*\n>\n> **Refunds take thirty days.** Ask us. [1]\n\n"
        "These pages could not be read:\n\n- \\*News\\* (b.example)"
    )
    assert "以下网页未能读取" in extract_web_answer(found, SIMPLIFIED)
    alone = WebRetrieval("refunds", passages=(WebPassage(passage(1, "Refunds take thirty days.")),), trace=trace)
    assert extract_web_answer(alone, ENGLISH) == "> *手册.pdf*\n>\n> **Refunds take thirty days.** [1]"
