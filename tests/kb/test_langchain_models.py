"""Providers that are reached through LangChain: the pieces of an answer, and what happens without its packages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import convert_to_messages
from pydantic import SecretStr

from kb.completions import ChatClient, Piece, Reasoning, TextPiece, Usage
from kb.errors import ModelError, ModelKeyRefused, ModelPackageMissing, ModelStopped, ModelStreamBroken
from kb.llm import ChatModel
from kb.providers import PRESETS
from kb.providers.connection import ModelSettings
from kb.providers.guard import Guard
from kb.providers.packages import PACKAGES, missing_packages
from tests.conftest import MakeSettings
from tests.fakes import langchain_models

QUESTION = [("user", "What is tea?")]


def model(name: str = "claude") -> ChatModel:
    settings = ModelSettings(temperature=0.5, max_tokens=100, system_prompt="Be brief.")
    return ChatModel(name, "", "Anthropic", key=SecretStr("sk-secret"), settings=settings, langchain="anthropic")


def ask(
    make_settings: MakeSettings, asked: str | ChatModel = "claude", most: int = 100, images: Sequence[str] = ()
) -> list[Piece]:
    chosen = model(asked) if isinstance(asked, str) else asked

    async def pieces() -> list[Piece]:
        found: list[Piece] = []
        async with aclosing(ChatClient(make_settings()).stream(chosen, QUESTION, images)) as stream:
            async for piece in stream:
                found.append(piece)
                if len(found) == most:
                    break
        return found

    return asyncio.run(pieces())


def test_answer_arrives_in_the_same_pieces(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    built = langchain_models.install(monkeypatch)
    assert ask(make_settings) == [Reasoning("A leaf."), TextPiece("Tea is "), TextPiece("a drink."), Usage(12, 5)]
    (chat,) = built
    assert chat.options == {
        "model_provider": "anthropic", "api_key": "sk-secret", "temperature": 0.5, "max_tokens": 100
    }  # fmt: skip
    assert chat.asked == [("system", "Be brief."), *QUESTION]
    assert ask(make_settings, "other") == [TextPiece("Tea is a drink.")]


def test_key_of_the_environment_goes_to_no_other_address(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = langchain_models.install(monkeypatch)
    elsewhere = replace(model(), base_url="https://proxy.example", key=SecretStr(""))
    ask(make_settings, elsewhere)
    assert built[0].options["api_key"] == "none"
    ask(make_settings, replace(elsewhere, base_url=""))
    assert "api_key" not in built[1].options
    ask(make_settings, replace(elsewhere, base_url="", guard=Guard()))  # of a member, who has none
    assert built[2].options["api_key"] == "none"


def test_pictures_go_along_in_the_form_that_langchain_takes(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = langchain_models.install(monkeypatch)
    ask(make_settings, images=["data:image/jpeg;base64,AAAA"])
    system, asked = convert_to_messages(built[0].asked)  # as each provider's package does
    assert system.content == "Be brief."
    blocks: list[Any] = list(asked.content_blocks)
    picture, text = blocks
    assert (picture["type"], picture["base64"], picture["mime_type"]) == ("image", "AAAA", "image/jpeg")
    assert text == {"type": "text", "text": "What is tea?"}


def test_stop_closes_the_stream(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    langchain_models.install(monkeypatch)
    ask(make_settings, most=2)
    assert langchain_models.ENDED == ["closed"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("refused", ModelKeyRefused, "Anthropic refused the API key .*invalid x-api-key"),
        ("cut-off", ModelStopped, "length limit reached"),
        ("lost", ModelStreamBroken, "Anthropic was lost"),
    ],
)
def test_failures_become_ours(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[ModelError], words: str
) -> None:
    langchain_models.install(monkeypatch)
    with pytest.raises(kind, match=words):
        ask(make_settings, name)


def test_missing_package_names_the_command(make_settings: MakeSettings) -> None:
    command = missing_packages("anthropic")
    assert command.startswith("pip install ")
    assert command.endswith("langchain-anthropic")
    with pytest.raises(ModelPackageMissing, match="langchain-anthropic"):
        ask(make_settings)


def test_every_preset_has_its_package() -> None:
    assert {preset.langchain for preset in PRESETS.values()} - {""} == PACKAGES.keys()
