"""Follow-ups become questions that can be searched for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from kb import followups
from kb.errors import ModelTimeout
from kb.followups import AskModel, Contextual, Standing, in_context, join_questions, read_rewrite, rewrite_messages
from kb.models import Role
from kb.prompts import ChatMessage
from kb.retrieval.ranking import estimate_tokens


@dataclass(frozen=True)
class Line:
    role: Role
    content: str


def talk(*lines: str) -> list[Line]:
    """Questions and answers in turn."""
    return [Line(Role.USER if place % 2 == 0 else Role.ASSISTANT, line) for place, line in enumerate(lines)]


@dataclass
class Model:
    """A model that replies with a fixed text, and keeps what it was asked."""

    reply: str = ""
    asked: list[Sequence[ChatMessage]] = field(default_factory=list)

    async def __call__(self, messages: Sequence[ChatMessage]) -> str:
        self.asked.append(messages)
        return self.reply


def meant(question: str, history: Sequence[Line], ask_model: AskModel | None) -> Contextual:
    return asyncio.run(in_context(question, history, ask_model))


HISTORY = talk("How many days of leave were there in 2023?", "There were 25 days [1].")


def test_follow_up_is_rewritten_with_one_call() -> None:
    model = Model("How many days of leave were there in 2024?")
    found = meant("and in 2024?", HISTORY, model)
    assert found == Contextual("How many days of leave were there in 2024?", Standing.FOLLOW_UP, True)
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("question", "standing"), [("How long is the warranty of the X200?", Standing.ALONE), ("thanks!", Standing.TALK)]
)
def test_other_questions_cost_no_call(question: str, standing: Standing) -> None:
    model = Model("?")
    assert meant(question, HISTORY, model) == Contextual(question, standing)
    assert not model.asked


def test_first_question_is_no_follow_up() -> None:
    model = Model("?")
    assert meant("and in 2024?", [], model) == Contextual("and in 2024?", Standing.ALONE)
    assert not model.asked


def test_question_that_the_model_repeats_is_not_rewritten() -> None:
    found = meant("What are the exceptions?", HISTORY, Model("What are the exceptions?"))
    assert not found.rewritten


def test_without_a_model_the_question_before_is_searched_for_too() -> None:
    found = meant("and in 2024?", HISTORY, None)
    assert found.question_for_search == "How many days of leave were there in 2023? and in 2024?"
    assert found.rewritten


def test_model_that_fails_is_done_without() -> None:
    async def fail(messages: Sequence[ChatMessage]) -> str:
        raise ModelTimeout(host="h", model="m", seconds="60")

    assert meant("and in 2024?", HISTORY, fail).question_for_search.startswith("How many days of leave")


def test_silent_model_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(messages: Sequence[ChatMessage]) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(followups, "REWRITE_SECONDS", 0.01)
    assert meant("and in 2024?", HISTORY, wait).rewritten


def test_stand_in_goes_back_to_the_question_that_stands_alone() -> None:
    history = talk("年假有几天？", "5 天。", "你好", "您好！", "病假呢？", "10 天。", "谢谢", "不客气。")
    assert join_questions("怎么申请？", history) == "年假有几天？ 病假呢？ 怎么申请？"


def test_stand_in_leaves_a_question_about_a_file_alone() -> None:
    assert join_questions("Summarize it", HISTORY) == "Summarize it"


def test_prompt_is_in_the_language_of_the_question() -> None:
    (_, rules), (_, text) = rewrite_messages("它呢？", talk("X200 保修多久？", "两年。"))
    assert "改写" in rules
    assert "用户: X200 保修多久？\n\n助手: 两年。" in text
    assert "最后一个问题：它呢？" in text
    (_, rules), (_, text) = rewrite_messages("and in 2024?", HISTORY)
    assert "Rewrite" in rules
    assert "User: How many days" in text


def test_prompt_keeps_the_end_of_a_long_conversation() -> None:
    history = talk(*(f"{place} " + "word " * 5_000 for place in range(40)))
    (_, _), (_, text) = rewrite_messages("and in 2024?", history)
    assert estimate_tokens(text) < 8 * 450
    assert "\n\nAssistant: 39 word" in text
    assert "\n\nAssistant: 31 word" not in text


QUESTION = "and in 2024?"
WANTED = "How many days of leave were there in 2024?"


@pytest.mark.parametrize(
    "reply",
    [
        WANTED,
        f"  {WANTED}\n",
        f'"{WANTED}"',
        f"“{WANTED}”",
        f"**{WANTED}**",
        f"Rewritten question: {WANTED}",
        f"**Rewritten question:** {WANTED}",
        f"Standalone question:\n{WANTED}",
        f"Here is the rewritten question:\n\n{WANTED}",
        f"Sure! Here's the rewritten question: {WANTED}",
        f"Question: “{WANTED}”",
        f"<think>The user means leave.\nSo…</think>\n\n{WANTED}",
        f"The user means leave.</think>{WANTED}",
        f"```\n{WANTED}\n```",
        f"> {WANTED}",
        f"{WANTED}\n\n(The year was put in.)",
        f'{{"rewritten_question": "{WANTED}"}}',
        f'```json\n{{\n  "question": "{WANTED}",\n  "is_rewritten": true\n}}\n```',
    ],
)
def test_reply_is_read(reply: str) -> None:
    assert read_rewrite(reply, QUESTION) == WANTED


@pytest.mark.parametrize(
    "label",
    [
        "改写后的问题：",
        "独立问题：",
        "问题：",
        "以下是改写后的问题：\n",
        "好的，改写后的问题是：",
        "**改写后的问题**：",
    ],
)
def test_chinese_labels_are_left_out(label: str) -> None:
    assert read_rewrite(f"{label}2024年的年假有几天？", "2024年呢？") == "2024年的年假有几天？"


@pytest.mark.parametrize(
    "reply",
    [
        *("", "  \n ", "``````", "<think>The user", "“”"),
        *(
            "I'm sorry, I can't help with that.",
            "I cannot rewrite this question.",
            "抱歉，我无法改写。",
            "As an AI, I …",
        ),
        "word " * 200,
        "Here is the rewritten question:",
        '{"question": "", "year": 2024}',
        '{"original": "and in 2024?", "reason": "It is clear."}',
        "{'question': 'How many days?'}",
    ],
)
def test_useless_reply_changes_nothing(reply: str) -> None:
    assert read_rewrite(reply, QUESTION) == QUESTION


def test_title_marks_are_kept() -> None:
    assert read_rewrite("《员工手册》第三章讲了什么？", "第三章呢？") == "《员工手册》第三章讲了什么？"
