"""Questions about the base or a whole file: what their words ask for, and what is given, over real stores."""

from __future__ import annotations

import time

import pytest

from kb.models import Beginning, FileList, KnowledgeBase
from kb.retrieval.overviews import LISTED_NAMES, LONGEST_QUESTION, MOST_FILES, holds_words, read_question
from kb.services import WorkerParts
from tests.conftest import Core
from tests.statements import counted_statements

FOR_NAMES = """
What files are in this knowledge base? | list all documents | which PDFs do you have? | Show me the files
how many documents do you have | What documents are available? | What is in this knowledge base?
what's in the knowledge base | What does this knowledge base contain? | give me a list of documents
Can you tell me the names of all the files? | What is this knowledge base about? | What sources do you have?
please list the documents you have access to | Which files have been uploaded so far?
知识库里有哪些文件？ | 有几份文档 | 有哪些资料在知识库里
这里有哪些资料？ | 列出所有文件 | 请列出知识库中的全部文档 | 你有哪些资料
这个知识库里都有什么 | 文件列表 | 给我一份文档清单
知识库中一共有多少个文件 | 目前有什么文档 | 知识库有什么内容 | 我上传了哪些文件？
库里有哪些文件 | 知識庫裡有哪些文件？
Show me the file list | What are the file names? | What have I uploaded? | List all documents in this collection
列出所有檔案 | 有哪些檔案？ | 我上传了哪些？ | 你能看到哪些文件 | 文件名有哪些
"""
FOR_A_WHOLE = """
Summarize this document | Summarize refunds.md
What is refunds.md about? | tl;dr | Give me an overview of the handbook
Summarize a.md and b.md | summary of pricing
What does refunds.md say? | what are the main points of this document?
Write a short summary of the document in Chinese
Could you please summarise the file "Q3 report"? | List all clauses
summarize it | list the chapters of handbook.pdf | What topics does this document cover?
总结一下这份文档 | 概括《员工手册》 | 这份文件讲了什么 | 列出所有条款
总结员工手册的内容 | 请用三句话概括全文 | 有哪些条款 | 总结
请总结《甲》和《乙》 | 帮我梳理一下差旅标准.docx的要点
介绍一下员工手册 | 员工手册讲的是什么 | 这篇文章的主要内容是什么
用英文总结一下 refunds.md | 请概述本文 | 本文件的摘要
Sum up handbook.md | What is in handbook.md? | What does travel policy.docx contain? | Read handbook.md to me
Explain handbook.md | “差旅 报销.docx”里有什么 | 员工手册.pdf写了啥 | 看一下员工手册.pdf | 翻译 handbook.md
把合同归纳一下 | 文档内容概要 | 總結一下員工手冊 | 總結2023年報.xlsx
"""
ORDINARY = """
Which documents do I need for a visa? | how do I summarize a table in Excel? | What is the warranty of the X200?
What documents are required? | What is the deadline in this document? | How do I list all files in a folder?
Who signed the document? | What about refunds? | List the steps for installing the pump | Where is the file stored?
What files does the installer create? | show me the refund policy | what should I write in the document
Which file do I need? | what reports must be filed | list of suppliers | And how much does it cost? | What is 42?
Which document mentions overtime? | hello | thanks
需要提交哪些材料？ | 文件上传的大小限制是多少 | refunds.md 里退款期限是几天？
我可以上传什么文件 | 什么是知识库 | 支持哪些文件格式
报销需要哪些文件 | 怎么总结会议纪要 | 材料有哪些 | 申请护照要带什么文件
公司有哪些福利 | 有哪些付款方式 | 合同有效期有多久 | 你好 | 谢谢
文件保存期限是几年 | 哪些文件需要总经理签字 | 多少钱 | 什么时候放假
What is an outline agreement? | Is a summary needed for the application? | What is a report?
年终总结什么时候交？ | 项目总结会几点开始？
列出发票的抬头 | 员工有多少人 | 供应商清单 | 哪份文件规定了加班费？
"""


def split(texts: str) -> list[str]:
    return [text.strip() for line in texts.strip().splitlines() for text in line.split("|")]


@pytest.mark.parametrize("question", split(FOR_NAMES))
def test_question_for_the_list_of_files(question: str) -> None:
    asked = read_question(question)
    assert asked is not None
    assert asked.wants_names


@pytest.mark.parametrize("question", split(FOR_A_WHOLE))
def test_question_for_a_whole_file(question: str) -> None:
    asked = read_question(question)
    assert asked is not None
    assert asked.wants_beginnings
    assert not asked.wants_names


@pytest.mark.parametrize("question", [*split(ORDINARY), "", "？？？", "👍", "\ud800", "总结" * LONGEST_QUESTION])
def test_ordinary_question_is_searched_for(question: str) -> None:
    assert read_question(question) is None


@pytest.mark.parametrize(
    ("question", "phrases", "titles"),
    [
        ("Summarize Refunds.MD", ("refunds.md",), ("refunds.md",)),
        ("Summarize a.md and b.md", ("a.md b.md",), ("a.md", "b.md")),
        ("What is in handbook.md?", ("handbook.md",), ("handbook.md",)),
        ("What does travel policy.docx contain?", ("travel policy.docx",), ()),
        ("How many days does handbook.md give?", ("days handbook.md",), ()),
        ("概括《员工手册》", (), ("员工手册",)),
        ("请帮我总结一下员工手册的内容", ("员工手册",), ()),
        ("總結一下員工手冊", ("員工手冊",), ()),
        ("总结差旅标准.docx", ("差旅标准.docx",), ("差旅标准.docx",)),
        ("总结２０２３年报", ("年报 2023", "年报"), ()),
        ("Summarize this document in 100 words", (), ()),
    ],
)
def test_name_of_the_file_is_what_is_left_of_the_question(
    question: str, phrases: tuple[str, ...], titles: tuple[str, ...]
) -> None:
    asked = read_question(question)
    assert asked is not None
    assert (asked.phrases, asked.titles) == (phrases, titles)


@pytest.mark.parametrize(
    ("name", "phrase", "holds"),
    [
        ("warranty.md", "war", False),
        ("War and Peace.txt", "war", True),
        ("refund-policy.pdf", "refund policy", True),
        ("a.md", "a.md", True),
        ("data.md", "a.md", False),
        ("员工手册（2024）.pdf", "员工手册", True),
    ],
)
def test_words_are_looked_for_as_whole_words(name: str, phrase: str, holds: bool) -> None:
    assert holds_words(name, phrase) is holds


def test_long_and_odd_questions_are_read_in_linear_time() -> None:
    began = time.process_time()
    for question in ("有哪些" * 10_000, "《" * 200, "a." * 100, '"' * 200, "what " * 40, "有" * 200):
        read_question(question)
    assert time.process_time() - began < 5  # a hang, not a figure


# --- what is given ---------------------------------------------------------------------------------------------

LONG = "\n\n".join(f"# Part {number}\n\n" + f"Sentence {number} of the long text. " * 60 for number in range(40))


def ingest(core: Core, worker: WorkerParts, base: KnowledgeBase, files: dict[str, str]) -> None:
    for name, text in files.items():
        assert worker.ingestion.ingest(core.upload(base, name, text).latest.id) == "ready"


@pytest.fixture
def shelf(core: Core, worker: WorkerParts) -> KnowledgeBase:
    base = core.knowledge_base()
    ingest(
        core, worker, base, {"refunds.md": "Refunds take 14 days.", "员工手册.md": "试用期三个月。", "long.md": LONG}
    )
    return base


def test_names_are_given_without_a_search(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, shelf.id, "知识库里有哪些文件？")
    assert found.files == FileList(("long.md", "refunds.md", "员工手册.md"), 3)
    assert found.passages == ()
    assert [step.name for step in found.trace.steps] == ["documents", "analyze", "files"]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Summarize refunds.md", "refunds.md"),
        ("Summarize Refunds", "refunds.md"),
        ("What is refunds about?", "refunds.md"),
        ("概括《员工手册》", "员工手册.md"),
        ("员工手册讲了什么？", "员工手册.md"),
        ("总结一下员工手册", "员工手册.md"),
    ],
)
def test_named_file_is_read_from_its_beginning(core: Core, shelf: KnowledgeBase, question: str, name: str) -> None:
    found = core.services.retriever.retrieve(core.user, shelf.id, question)
    assert [(passage.rank, passage.document_name) for passage in found.passages] == [(1, name)]
    assert found.beginnings == (Beginning(name, 1, 1),)
    assert found.files is None
    assert [(step.name, step.remaining) for step in found.trace.steps[2:]] == [("meant", 1), ("beginnings", 1)]


def test_named_file_is_found_among_many_alike(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    alike = [f"{name} {number}.md" for name in ("a budget", "postwar") for number in range(MOST_FILES + 1)]
    ingest(core, worker, base, dict.fromkeys([*alike, "budget.md", "war and peace.md"], "Text."))
    for question, name in (("Summarize the budget", "budget.md"), ("Summarize war", "war and peace.md")):
        found = core.services.retriever.retrieve(core.user, base.id, question)
        assert [beginning.name for beginning in found.beginnings] == [name]


def test_long_file_is_cut_at_the_budget(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, shelf.id, "Summarize long.md")
    (beginning,) = found.beginnings
    assert 1 < beginning.chunks == len(found.passages) < beginning.total
    assert [passage.chunk.ordinal for passage in found.passages] == list(range(beginning.chunks))
    whole = "".join(passage.context for passage in found.passages)
    assert whole.count("# Part 1\n") == 1  # nothing that two chunks share is given twice
    assert len(whole) <= 4 * found.trace.profile.context_tokens


def test_several_named_files_share_the_budget(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, shelf.id, "Summarize refunds.md and long.md")
    assert [beginning.name for beginning in found.beginnings] == ["refunds.md", "long.md"]
    assert [passage.rank for passage in found.passages] == list(range(1, len(found.passages) + 1))


def test_only_file_is_this_document(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    ingest(core, worker, base, {"refunds.md": "Refunds take 14 days."})
    for question in ("总结一下这份文档", "Summarize this document", "列出所有条款"):
        found = core.services.retriever.retrieve(core.user, base.id, question)
        assert [passage.document_name for passage in found.passages] == ["refunds.md"]


def test_names_help_to_ask_which_document_is_meant(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, shelf.id, "总结一下这份文档")
    assert found.files == FileList(("long.md", "refunds.md", "员工手册.md"), 3, which=True)
    assert (found.beginnings, found.passages) == ((), ())


def test_small_base_is_read_whole(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, shelf.id, "Summarize this knowledge base")
    assert found.files is not None
    assert [beginning.name for beginning in found.beginnings] == ["long.md", "refunds.md", "员工手册.md"]


def test_what_is_named_but_no_file_is_searched_for(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, shelf.id, "Summarize the refunds of 14 days")
    assert (found.files, found.beginnings) == (None, ())
    assert found.passages
    assert (found.trace.steps[2].name, found.trace.steps[2].remaining) == ("meant", 0)


def test_ordinary_question_costs_no_statement_more(core: Core, shelf: KnowledgeBase) -> None:
    with counted_statements(core.services.database) as ordinary:
        core.services.retriever.retrieve(core.user, shelf.id, "Which documents do I need for a visa?")
    with counted_statements(core.services.database) as named:
        core.services.retriever.retrieve(core.user, shelf.id, "Summarize refunds.md")
    assert len(named) <= len(ordinary) + 2


def test_list_of_names_is_bounded(core: Core, shelf: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.retrieval.overviews.LISTED_NAMES", 2)
    found = core.services.retriever.retrieve(core.user, shelf.id, "list all files")
    assert found.files == FileList(("long.md", "refunds.md"), 3)
    assert LISTED_NAMES == 100


def test_other_users_files_stay_unknown(core: Core, shelf: KnowledgeBase) -> None:
    other = core.services.knowledge_bases.create(core.stranger, "Other", core.embedding.name, core.embedding.dimension)
    found = core.services.retriever.retrieve(core.stranger, other.id, "list all files")
    assert (found.files, found.passages, found.trace.documents) == (None, (), 0)
