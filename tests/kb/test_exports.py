"""Conversations as files: the branch that is shown as Markdown, everything as JSON, and archives of many."""

from __future__ import annotations

import html
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from markdown_it import MarkdownIt

from kb.conversations import Conversations, Messages
from kb.exports import Exports, Format, Wording, escape
from kb.messages import Attached, ErrorPart, Part, Source, SourcesPart, TextPart, UsagePart, given_from
from kb.models import NOWHERE, Chunk, Conversation, MessageState, Mode, Passage, Scope
from kb.places import name_place
from kb.web_search.passages import WebPassage, WebRetrieval
from tests.conftest import Library
from tests.messages import said

WORDING = Wording(
    translate=lambda text: text,
    modes={mode: mode.value for mode in Mode},
    moment=lambda value: f"{value:%Y}",
    place=lambda source: name_place(source.document_name, source.page, source.heading),
    dangling=lambda count: f"{count} left out",
    reason=lambda error: error.code,
)


@pytest.fixture
def exports(library: Library, conversations: Conversations) -> Exports:
    return Exports(library.database, conversations, Messages(library.database), library.knowledge_bases)


def talk(
    conversations: Conversations,
    library: Library,
    question: str,
    parts: Sequence[Part] = (),
    mode: Mode = Mode.LLM,
    scope: Scope = NOWHERE,
) -> Conversation:
    conversation = conversations.create(library.user, question, mode, scope)
    answer = Messages(library.database).ask(library.user, conversation.id, question)
    Messages(library.database).finish(library.user, answer.id, MessageState.DONE, parts or said("Yes."))
    return conversations.get(library.user, conversation.id)


def answer_again(conversations: Conversations, library: Library, conversation: Conversation, text: str) -> None:
    old = Messages(library.database).shown(library.user, conversation.id)[-1]
    new = Messages(library.database).regenerate(library.user, old.id, old.run_id)
    assert new
    Messages(library.database).finish(library.user, new.id, MessageState.STOPPED, said(text))


def test_markdown_names_what_is_cited(conversations: Conversations, library: Library, exports: Exports) -> None:
    base = library.knowledge_base("Tea [green]")
    sources = SourcesPart((Source(1, "a_b.pdf", 3), Source(2, "unused.md"), Source(3, "c.md")))
    parts: list[Part] = [TextPart("Hot [1], not cold [3, 17]. Nor iced [7]."), sources, UsagePart("m-1")]
    conversation = talk(conversations, library, "How *hot*?", parts, Mode.KNOWLEDGE, Scope.of(base.id))
    name, text = exports.one(library.user, conversation.id, Format.MARKDOWN, WORDING)
    assert name == "How hot.md"
    year = f"{conversation.created_at:%Y}"
    assert text.splitlines() == [
        *(r"# How \*hot\*?", "", r"knowledge · Tea \[green\]", ""),
        *("## Question", "", f"*{year}*", "", "How *hot*?", ""),
        *("## Answer", "", f"*{year} · m-1*", "", "Hot [1], not cold [3]. Nor iced.", ""),
        *("*2 left out*", ""),
        *("Sources:", "", r"- [1] a\_b.pdf, p. 3", "- [3] c.md"),
    ]


def test_name_of_a_sheet_is_no_markup(conversations: Conversations, library: Library, exports: Exports) -> None:
    sources = SourcesPart((Source(1, "a.xlsx", 2, heading="[Pay](https://x.example)"),))
    conversation = talk(conversations, library, "Q", [TextPart("Ten [1]."), sources], Mode.KNOWLEDGE)
    _, text = exports.one(library.user, conversation.id, Format.MARKDOWN, WORDING)
    assert text.splitlines()[-1] == r"- [1] a.xlsx, sheet “\[Pay\](https://x.example)”"


@pytest.mark.parametrize("name", ["&lt;b&gt;", "&copy;", "~~old~~ plan", "![x](http://h)", "<b>", "# a `b` *c* _d_"])
def test_names_stay_what_they_are(name: str) -> None:
    assert MarkdownIt().enable("strikethrough").renderInline(escape(name)) == html.escape(name, quote=False)


def test_markdown_says_where_web_pages_are_and_when_they_were_read(
    conversations: Conversations, library: Library, exports: Exports
) -> None:
    address, moment = "https://tea.example/a_(b)?q=[1]", datetime(2024, 5, 1, tzinfo=UTC)
    found = [Passage(Chunk(str(rank), uuid4(), uuid4()), "Tea", rank) for rank in (1, 2)]
    read, snippet = (WebPassage(each, address, moment, is_snippet=each.rank == 2) for each in found)
    web = WebRetrieval(passages=(read, snippet))
    conversation = talk(conversations, library, "Q", [TextPart("Hot [1] [2]."), *given_from(web)], Mode.WEB)
    _, text = exports.one(library.user, conversation.id, Format.MARKDOWN, WORDING)
    assert text.splitlines()[-2:] == [f"- [1] [Tea](<{address}>), read 2024", f"- [2] [Tea](<{address}>)"]


def test_markdown_names_files_and_the_reason_of_a_failure(
    conversations: Conversations, library: Library, exports: Exports
) -> None:
    conversation = conversations.create(library.user, "Q", Mode.LLM)
    answer = Messages(library.database).ask(
        library.user, conversation.id, "Q", [Attached(name="a_b.pdf"), Attached(name="c.png")]
    )
    Messages(library.database).finish(
        library.user, answer.id, MessageState.FAILED, [ErrorPart("model_timeout", {"host": "m", "seconds": "9"})]
    )
    _, text = exports.one(library.user, conversation.id, Format.MARKDOWN, WORDING)
    assert "*With a\\_b.pdf, c.png*" in text
    assert text.endswith("*This answer failed.* model\\_timeout\n")


def test_markdown_holds_the_branch_that_is_shown(
    conversations: Conversations, library: Library, exports: Exports
) -> None:
    conversation = talk(conversations, library, "Q", said("The old answer"))
    answer_again(conversations, library, conversation, "Half of")
    _, text = exports.one(library.user, conversation.id, Format.MARKDOWN, WORDING)
    assert "The old answer" not in text
    assert text.endswith("Half of\n\n*This answer was stopped.*\n")


def test_json_holds_all_branches_with_all_parts(
    conversations: Conversations, library: Library, exports: Exports
) -> None:
    base = library.knowledge_base("Kitchen")
    conversation = talk(conversations, library, "绿茶？", said("A", reasoning="Hm"), Mode.KNOWLEDGE, Scope.of(base.id))
    answer_again(conversations, library, conversation, "B")
    name, text = exports.one(library.user, conversation.id, Format.JSON, WORDING)
    assert name == "绿茶？.json"
    content: dict[str, Any] = json.loads(text)
    question, old, new = content["messages"]
    assert old["parent_id"] == new["parent_id"] == question["id"]
    assert content["shown_id"] == new["id"]
    assert content["knowledge_bases"] == {str(base.id): "Kitchen"}
    assert [(part["kind"], part["text"]) for part in old["parts"]] == [("reasoning", "Hm"), ("text", "A")]
    assert (new["state"], question["parts"][0]["text"]) == ("stopped", "绿茶？")


def test_json_lacks_citations_that_point_nowhere(
    conversations: Conversations, library: Library, exports: Exports
) -> None:
    parts: list[Part] = [
        TextPart("Hot [1, 17], **not** cold [7]."),
        SourcesPart((Source(1, "a.pdf"),)),
        UsagePart("m-1"),
    ]
    conversation = talk(conversations, library, "How hot [9]?", parts, Mode.KNOWLEDGE)
    question, answer = json.loads(exports.one(library.user, conversation.id, Format.JSON, WORDING)[1])["messages"]
    assert (question["parts"][0]["text"], question["dangling_citations"]) == ("How hot [9]?", 0)
    assert (answer["parts"][0]["text"], answer["dangling_citations"]) == ("Hot [1], **not** cold.", 2)


def test_archive_holds_all_that_is_found(
    conversations: Conversations, library: Library, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.exports.BATCH", 2)
    for question in ("Tea/../?", "tea ..", "Tea: cold", "Coffee", "\u200b"):
        talk(conversations, library, question, said(f"About {question}"))
    archive = io.BytesIO()
    exports.write_all(archive, library.user, Format.MARKDOWN, WORDING, search="TEA")
    with zipfile.ZipFile(archive) as files:
        assert files.namelist() == ["Tea cold.md", "tea.md", "Tea (2).md"]
        assert "About tea .." in files.read("tea.md").decode()
    everything = io.BytesIO()
    exports.write_all(everything, library.user, Format.JSON, WORDING)
    with zipfile.ZipFile(everything) as files:
        assert len(files.namelist()) == 5
    nothing = io.BytesIO()
    exports.write_all(nothing, library.stranger, Format.JSON, WORDING)
    with zipfile.ZipFile(nothing) as files:
        assert files.namelist() == []
