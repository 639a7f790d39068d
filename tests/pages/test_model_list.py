"""The list of language models is looked up in the background: no page waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kb import llm
from kb.models import Mode
from kb.providers import listing
from kb.providers.guard import Guard
from pages.ui import chat_sidebar
from pages.ui.feedback import live_fragment
from tests.fakes.model_server import ModelServer
from tests.pages.conftest import Installation, models_are_known
from tests.pages.visitor import Visitor
from tests.real_services import wait_until


@pytest.fixture
def answering(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The endpoint keeps its list of models to itself until this is set."""
    answering, list_models = threading.Event(), listing.list_models

    def wait(base_url: str, key: str, timeout_seconds: float, guard: Guard | None) -> list[str]:
        assert answering.wait(60)
        return list_models(base_url, key, 10)

    monkeypatch.setattr(llm, "list_models", wait)
    installation.set_up(LLM_MODEL="")
    yield answering
    answering.set()


def test_chat_opens_while_the_endpoint_is_silent(answering: threading.Event) -> None:
    visitor = Visitor()
    assert "Looking for language models…" in visitor.text()
    answering.set()
    wait_until(models_are_known, what="the list of models")
    visitor.run()
    assert "Looking for language models…" not in visitor.text()
    assert visitor.find("chat_model").options


def test_looking_goes_on_only_while_nothing_is_known(
    answering: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled: list[float | None] = []

    def note(run_every: float | None = None, key: str | None = None) -> Any:
        polled.append(run_every)
        return live_fragment(run_every, key)

    monkeypatch.setattr(chat_sidebar, "live_fragment", note)
    visitor = Visitor()
    assert chat_sidebar.LOOK_SECONDS in polled
    answering.set()
    wait_until(models_are_known, what="the list of models")
    polled.clear()
    visitor.run()
    assert chat_sidebar.LOOK_SECONDS not in polled


def test_question_waits_for_the_list_in_the_background(answering: threading.Event, models: ModelServer) -> None:
    visitor = Visitor()
    visitor.choose("mode", Mode.LLM)
    visitor.start_asking("Hello?")
    assert models.chats == []
    answering.set()
    visitor.wait_for_answer()
    assert "You asked: Hello?" in visitor.text()
