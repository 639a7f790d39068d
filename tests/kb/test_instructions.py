"""Instructions of programs, and what they ask of the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kb.instructions import LEAD_EN, LEAD_ZH, add_instructions, replace_rules
from kb.languages import Language
from kb.llm import ChatModel
from kb.prompts import ChatMessage
from kb.providers.connection import AS_SET, ModelSettings, Sampling

MESSAGES: list[ChatMessage] = [("system", "Cite."), ("user", "Why?")]


def test_instructions_stand_behind_the_rules_or_in_place_of_them() -> None:
    both = add_instructions(MESSAGES, "Be short.", Language.ENGLISH)
    assert both == [("system", f"Cite.\n\n{LEAD_EN}\n\nBe short."), ("user", "Why?")]
    assert LEAD_ZH in add_instructions(MESSAGES, "简短。", Language.SIMPLIFIED)[0][1]
    assert replace_rules(MESSAGES, "Be short.") == [("system", "Be short."), ("user", "Why?")]
    assert add_instructions(MESSAGES, "", Language.ENGLISH) == replace_rules(MESSAGES, "") == MESSAGES


@pytest.mark.parametrize(
    ("asked", "of_provider", "expected"),
    [(None, None, None), (None, 50, 50), (20, None, 20), (20, 50, 20), (80, 50, 50)],
)
def test_answer_is_as_short_as_program_and_provider_want(
    asked: int | None, of_provider: int | None, expected: int | None
) -> None:
    model = ChatModel("m", "http://x/v1", "x", settings=ModelSettings(0.7, of_provider))
    sampled = Sampling(max_tokens=asked).on(model)
    assert sampled == replace(model, settings=ModelSettings(0.7, expected))
    assert Sampling(temperature=0.0).on(model).settings.temperature == 0.0
    assert AS_SET.on(model) == model
