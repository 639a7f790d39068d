"""Questions about the base or a whole file: what their words ask for, and what is given, over real stores."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from kb.database.tables import knowledge_bases
from kb.errors import UnknownEmbeddingModel
from kb.models import Beginning, FileList, KnowledgeBase, Scope
from kb.retrieval.overview_questions import LONGEST_QUESTION, read_question
from kb.retrieval.overviews import LISTED_NAMES, MOST_FILES, holds_words
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
List everything | files? | name all the documents | all files | Documents | The documents, please | my files
Show everything you have | list all | Any documents here? | Do you have any files? | Are there any documents? | PDFs?
I need a list of the files | Could you create a list of all documents? | I want to see all files
What other files are there? | What do you have? | What's in here? | What is here? | Tell me the documents
文件？ | 列出全部 | 列出所有 | 所有文件 | 全部文档 | 有文件吗 | 有没有文件？ | 说出所有文档的名字 | 我想看所有文件
显示全部内容 | 这里有什么 | 你有什么？ | 里面有哪些内容 | 查看所有文档 | 我的文件 | 給我所有文件 | 报一下所有文件名
列出所有檔案 | 有哪些檔案？ | 有哪些檔名？ | 我上传了哪些？ | 你能看到哪些文件 | 文件名有哪些
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
Compare a.md and b.md | a.md vs b.md | What is the difference between a.md and b.md? | How does a.md differ from b.md?
Compare handbook and refunds | Compare "Q3 report" and "Q4 report" | Compare the two documents | Compare these files
Make a comparison of a.md, b.md and c.md | analyze a.md | Summarize handbook and refunds | Summarize all files
比较a.md和b.md | 对比员工手册和差旅报销 | a.md和b.md有什么区别 | 比较《员工手册》与《差旅报销》 | a.md 与 b.md 的异同
員工手冊跟差旅報銷有什麼不同？ | 总结差旅报销 | 总结员工手册和差旅报销 | 这两份文件有什么不同 | 总结所有文件 | 分析 a.md
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
Do I need documents? | Can files be long? | Does the document have a title? | Compare prices | What is the difference?
Compare the two plans | List everything I need | What do you need? | What is there to do? | I have documents | Show me
everything | What can you do? | What do you have to do? | What do you have for lunch? | files needed | file size | list
Name the director | name all suppliers | How do plans differ? | Show all steps | Have the documents been signed?
文件大小 | 需要文件吗 | 文件怎么上传 | 比较贵吗 | 有什么区别 | 两种方案有什么不同 | 列出所有供应商 | 所有 | 你有什么事
包里有什么 | 这里有什么好吃的 | 我需要哪些文件 | 要文件吗 | 文件齐全吗 | 说出董事长的名字 | 文件已经上传了 | 材料？
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
        ("總結一下員工手冊", ("员工手册",), ()),  # names are compared in Simplified
        ("总结差旅标准.docx", ("差旅标准.docx",), ("差旅标准.docx",)),
        ("总结２０２３年报", ("年报 2023", "年报"), ()),
        ("Summarize this document in 100 words", (), ()),
        ("总结差旅报销", ("差旅报销",), ()),
        ("Compare a.md and b.md", ("a.md b.md",), ("a.md", "b.md")),
    ],
)
def test_name_of_the_file_is_what_is_left_of_the_question(
    question: str, phrases: tuple[str, ...], titles: tuple[str, ...]
) -> None:
    asked = read_question(question)
    assert asked is not None
    assert (asked.phrases, asked.titles) == (phrases, titles)


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Compare the handbook and travel policy.docx", ("handbook", "travel policy.docx")),
        ("Compare “Q3 report” with refunds", ("q3 report", "refunds")),
        ("对比员工手册和差旅报销", ("员工手册", "差旅报销")),
        ("总结员工手册、差旅报销", ("员工手册", "差旅报销")),
        ("Summarize handbook", ()),
    ],
)
def test_several_names_are_told_apart(question: str, names: tuple[str, ...]) -> None:
    asked = read_question(question)
    assert asked is not None
    assert asked.names == names


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
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "知识库里有哪些文件？")
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
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), question)
    assert [(passage.rank, passage.document_name) for passage in found.passages] == [(1, name)]
    assert found.beginnings == (Beginning(name, 1, 1),)
    assert found.files is None
    assert [(step.name, step.remaining) for step in found.trace.steps[2:]] == [("meant", 1), ("beginnings", 1)]


def test_named_file_is_found_among_many_alike(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    alike = [f"{name} {number}.md" for name in ("a budget", "postwar") for number in range(MOST_FILES + 1)]
    ingest(core, worker, base, dict.fromkeys([*alike, "budget.md", "war and peace.md"], "Text."))
    for question, name in (("Summarize the budget", "budget.md"), ("Summarize war", "war and peace.md")):
        found = core.services.retriever.retrieve(core.user, Scope((base.id,)), question)
        assert [beginning.name for beginning in found.beginnings] == [name]


def test_long_file_is_cut_at_the_budget(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "Summarize long.md")
    (beginning,) = found.beginnings
    assert 1 < beginning.chunks == len(found.passages) < beginning.total
    assert [passage.chunk.ordinal for passage in found.passages] == list(range(beginning.chunks))
    whole = "".join(passage.context for passage in found.passages)
    assert whole.count("# Part 1\n") == 1  # nothing that two chunks share is given twice
    assert len(whole) <= 4 * found.trace.profile.context_tokens


def test_several_named_files_share_the_budget(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "Summarize refunds.md and long.md")
    assert [beginning.name for beginning in found.beginnings] == ["refunds.md", "long.md"]
    assert [passage.rank for passage in found.passages] == list(range(1, len(found.passages) + 1))


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Compare refunds.md and long.md", ["refunds.md", "long.md"]),
        ("refunds.md和员工手册.md有什么区别", ["refunds.md", "员工手册.md"]),
        ("Compare refunds with 员工手册", ["refunds.md", "员工手册.md"]),
        ("对比refunds和员工手册", ["refunds.md", "员工手册.md"]),
        ("Compare the documents", ["long.md", "refunds.md", "员工手册.md"]),
        ("总结所有文件", ["long.md", "refunds.md", "员工手册.md"]),
    ],
)
def test_compared_files_are_read_together(core: Core, shelf: KnowledgeBase, question: str, names: list[str]) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), question)
    assert [beginning.name for beginning in found.beginnings] == names
    assert {passage.document_name for passage in found.passages} == set(names)


def test_comparison_of_what_is_no_file_is_searched_for(core: Core, shelf: KnowledgeBase) -> None:
    for question in ("What is the difference between refunds and vouchers?", "Compare days and refunds"):
        found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), question)
        assert (found.files, found.beginnings) == (None, ())
        assert "lexical" in [step.name for step in found.trace.steps]


def test_name_is_found_in_other_spellings(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    ingest(
        core, worker, base, dict.fromkeys(["差旅报销.md", "差旅 标准.md", "員工手冊.md", "travel-policy.md"], "Text.")
    )
    for question, name in (
        ("总结差旅报销", "差旅报销.md"),
        ("總結差旅報銷", "差旅报销.md"),
        ("总结差旅标准", "差旅 标准.md"),
        ("总结员工手册", "員工手冊.md"),
        ("What is travel policy about?", "travel-policy.md"),
    ):
        found = core.services.retriever.retrieve(core.user, Scope((base.id,)), question)
        assert [beginning.name for beginning in found.beginnings] == [name]


# --- files without text ----------------------------------------------------------------------------------------


@pytest.fixture
def broken(core: Core, worker: WorkerParts, shelf: KnowledgeBase) -> KnowledgeBase:
    """Beside the files of the shelf, one that cannot be read and one that waits."""
    assert worker.ingestion.ingest(core.upload(shelf, "broken.pdf", "not a PDF").latest.id) == "failed"
    core.upload(shelf, "waiting.md", "Soon.")
    return shelf


@pytest.mark.parametrize(
    ("question", "name", "state", "error"),
    [
        ("Summarize broken.pdf", "broken.pdf", "failed", "wrong_format"),
        ("broken.pdf", "broken.pdf", "failed", "wrong_format"),
        ("总结broken.pdf", "broken.pdf", "failed", "wrong_format"),
        ("What is broken about?", "broken.pdf", "failed", "wrong_format"),
        ("Summarize waiting.md", "waiting.md", "queued", ""),
    ],
)
def test_named_file_without_text_is_told(
    core: Core, broken: KnowledgeBase, question: str, name: str, state: str, error: str
) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((broken.id,)), question)
    assert (found.passages, found.files) == ((), None)
    assert [(file.name, file.state, file.error) for file in found.unread] == [(name, state, error)]
    last = found.trace.steps[-1]
    assert (last.name, last.note_values) == ("meant", {"names": name})


def test_only_broken_file_of_a_base_is_told(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    assert worker.ingestion.ingest(core.upload(base, "broken.pdf", "not a PDF").latest.id) == "failed"
    found = core.services.retriever.retrieve(core.user, Scope((base.id,)), "Summarize broken.pdf")
    assert [file.name for file in found.unread] == ["broken.pdf"]
    assert core.services.retriever.retrieve(core.user, Scope((base.id,)), "What is PDF?").unread == ()


def test_readable_file_is_read_beside_a_broken_one(core: Core, worker: WorkerParts, broken: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((broken.id,)), "Compare refunds.md and broken.pdf")
    assert [passage.document_name for passage in found.passages] == ["refunds.md"]
    assert [file.name for file in found.unread] == ["broken.pdf"]
    ingest(core, worker, broken, {"sub/broken.pdf.md": "A second try."})
    core.upload(broken, "refunds.md", "Uploaded again, and waiting.")
    found = core.services.retriever.retrieve(core.user, Scope((broken.id,)), "Summarize refunds.md")
    assert ([passage.document_name for passage in found.passages], found.unread) == (["refunds.md"], ())


def test_list_of_files_needs_no_embedding_model(core: Core, shelf: KnowledgeBase) -> None:
    with core.services.database.write() as connection:
        change = sa.update(knowledge_bases).where(knowledge_bases.c.id == shelf.id)
        connection.execute(change.values(embedding_model="builtin:of-a-later-release"))
    retrieve = core.services.retriever.retrieve
    assert retrieve(core.user, Scope((shelf.id,)), "Which files are there?").files is not None
    assert retrieve(core.user, Scope((shelf.id,)), "Summarize refunds.md").passages
    with pytest.raises(UnknownEmbeddingModel):
        retrieve(core.user, Scope((shelf.id,)), "How long do refunds take?")


def test_only_file_is_this_document(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    ingest(core, worker, base, {"refunds.md": "Refunds take 14 days."})
    for question in ("总结一下这份文档", "Summarize this document", "列出所有条款"):
        found = core.services.retriever.retrieve(core.user, Scope((base.id,)), question)
        assert [passage.document_name for passage in found.passages] == ["refunds.md"]


def test_names_help_to_ask_which_document_is_meant(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "总结一下这份文档")
    assert found.files == FileList(("long.md", "refunds.md", "员工手册.md"), 3, which=True)
    assert (found.beginnings, found.passages) == ((), ())


def test_small_base_is_read_whole(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "Summarize this knowledge base")
    assert found.files is not None
    assert [beginning.name for beginning in found.beginnings] == ["long.md", "refunds.md", "员工手册.md"]


def test_what_is_named_but_no_file_is_searched_for(core: Core, shelf: KnowledgeBase) -> None:
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "Summarize the refunds of 14 days")
    assert (found.files, found.beginnings) == (None, ())
    assert found.passages
    assert (found.trace.steps[2].name, found.trace.steps[2].remaining) == ("meant", 0)


def test_ordinary_question_costs_no_statement_more(core: Core, shelf: KnowledgeBase) -> None:
    with counted_statements(core.services.database) as ordinary:
        core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "Which documents do I need for a visa?")
    with counted_statements(core.services.database) as named:
        core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "Summarize refunds.md")
    assert len(named) <= len(ordinary) + 2


def test_list_of_names_is_bounded(core: Core, shelf: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.retrieval.overviews.LISTED_NAMES", 2)
    found = core.services.retriever.retrieve(core.user, Scope((shelf.id,)), "list all files")
    assert found.files == FileList(("long.md", "refunds.md"), 3)
    assert LISTED_NAMES == 100


def test_other_users_files_stay_unknown(core: Core, shelf: KnowledgeBase) -> None:
    other = core.services.knowledge_bases.create(core.stranger, "Other", core.embedding.name, core.embedding.dimension)
    found = core.services.retriever.retrieve(core.stranger, Scope((other.id,)), "list all files")
    assert (found.files, found.passages, found.trace.documents) == (None, (), 0)
