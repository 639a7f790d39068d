"""The answer while it is written: what was done, what is being done, and what can be opened meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from kb.answers import Answers
from kb.answers.streams import Arrived
from kb.errors import RedisUnavailable
from kb.messages import Message
from kb.models import Mode, Retrieval, Role
from pages.ui.running import has_ended, is_all_there, poll_seconds, shown_end
from tests.fakes.model_server import CHAT, ModelServer
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor

QUESTION = "How long is black tea steeped in boiling water?"


@pytest.fixture
def held(models: ModelServer) -> Iterator[None]:
    """Answers stop halfway."""
    with models.held(CHAT):
        yield


def answer_of(visitor: Visitor, installation: Installation) -> Message:
    conversation = UUID(visitor.app.query_params["conversation"])
    messages = installation.services.messages.shown(installation.user, conversation, limit=10)
    return next(message for message in reversed(messages) if message.role is Role.ASSISTANT)


def ask_at_length(visitor: Visitor) -> None:
    """Have the model begin to write."""
    visitor.choose("mode", Mode.LLM)
    visitor.start_asking("Tell me all you know")


def begin_with_passages(installation: Installation, visit: Visit) -> Visitor:
    """Ask a knowledge base, up to the first words of the answer."""
    installation.filled()
    visitor = visit()
    visitor.start_asking(QUESTION)
    visitor.wait_until(lambda: "▌" in visitor.text(), "the first words")
    return visitor


def test_many_answers_are_polled_less_often() -> None:
    assert [poll_seconds(running) for running in (0, 1, 15, 60)] == [0.15, 0.15, 0.15, 0.6]


def test_passages_are_opened_while_the_answer_is_written(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    with models.held(CHAT):
        visitor = begin_with_passages(installation, visit)
        shown = visitor.text()
        assert "1 passage found · " in shown
        assert "Writing…" in shown
        assert not visitor.has("passage-1")
        visitor.app.session_state[f"passages-of-{answer_of(visitor, installation).id}"] = True
        visitor.run()
        assert "Cosine" in visitor.text("passage-1")
        assert visitor.has("stop")
    visitor.wait_for_answer()
    assert "Cosine" in visitor.text("passage-1")  # it stays open
    assert "Writing…" not in visitor.text()


def test_steps_are_the_same_when_the_answer_is_complete(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    with models.held(CHAT):
        visitor = begin_with_passages(installation, visit)
        steps = visitor.text(f"steps-{answer_of(visitor, installation).id}")
    visitor.wait_for_answer()
    assert visitor.text(f"steps-{answer_of(visitor, installation).id}") == steps


def test_retrieval_testing_waits_for_no_model() -> None:
    found = Arrived(retrieval=Retrieval("tea"))
    assert is_all_there(Mode.TEST, found)
    assert not is_all_there(Mode.TEST, Arrived())
    assert not is_all_there(Mode.KNOWLEDGE, found)


@pytest.mark.parametrize(
    ("locale", "waiting", "advice"),
    [("en-US", "Waiting for silent", "You can stop and try"), ("zh-CN", "正在等待 silent", "换一个模型")],
)
def test_silent_model_is_waited_for_with_advice(
    locale: str, waiting: str, advice: str, installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.running.HELP_SECONDS", 1)
    installation.set_up(LLM_MODEL="silent", LLM_TIMEOUT_SECONDS="60")
    visitor = visit(locale)
    visitor.choose("mode", Mode.LLM)
    visitor.start_asking("Hello")
    visitor.wait_until(lambda: advice in visitor.text(), "the advice")
    assert waiting in visitor.text()
    visitor.click("stop")
    visitor.wait_for_answer()


@pytest.mark.usefixtures("held")
def test_model_that_stops_amid_its_answer_is_waited_for(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.running.STUCK_SECONDS", 1)
    installation.set_up(LLM_TIMEOUT_SECONDS="60")
    visitor = visit()
    ask_at_length(visitor)
    wanted = ("You asked", "Waiting for fake…")
    visitor.wait_until(lambda: all(text in visitor.text() for text in wanted), "the wait")
    visitor.click("stop")
    visitor.wait_for_answer()


@pytest.mark.usefixtures("held")
def test_failed_stop_is_told(installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise RedisUnavailable(detail="asleep")

    visitor = visit()
    ask_at_length(visitor)
    with monkeypatch.context() as patch:
        patch.setattr(Answers, "stop", fail)
        visitor.click("stop")
    assert "Redis is not responding (asleep)." in visitor.errors
    assert visitor.has("stop")
    visitor.click("stop")
    visitor.wait_for_answer()


def test_answer_of_a_deleted_conversation_has_ended(installation: Installation) -> None:
    services, user = installation.services, installation.user
    conversation = services.conversations.create(user, "Tea", Mode.LLM)
    run_id = services.messages.ask(user, conversation.id, "Tell me all you know").run_id
    assert run_id
    assert not has_ended(run_id, user)
    services.conversations.delete(user, conversation.id)  # in another tab
    assert has_ended(run_id, user)


@pytest.mark.parametrize(("size", "shown"), [(20_000, 20_000), (60_000, 20_000), (60_100, 4_000), (1_000_000, 4_000)])
def test_less_is_drawn_live_of_a_longer_text(size: int, shown: int) -> None:
    assert len(shown_end("x" * size)) == shown
    lines = shown_end(f"{'x' * 99}\n" * (size // 100))
    assert shown - 100 <= len(lines) <= shown
    assert lines.startswith("x" * 99 + "\n")


def test_less_is_drawn_live_of_a_text_that_grows_too_fast_to_read() -> None:
    assert len(shown_end("x" * 10_000, grown=2_000)) == 10_000
    assert len(shown_end("x" * 10_000, grown=2_001)) == 4_000


@pytest.mark.usefixtures("held")
def test_only_the_end_of_a_very_long_text_is_drawn_live(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.running.SHOWN_CHARACTERS", 100)
    installation.set_up(LLM_MODEL="long")
    visitor = visit()
    ask_at_length(visitor)
    visitor.wait_until(lambda: "word40 " in visitor.text(), "the text")
    assert "word5 " not in visitor.text()
    assert "Only the end is shown" in visitor.text()
    visitor.click("stop")
    visitor.wait_for_answer()
    assert "word5 " in visitor.text()


def test_very_long_answer_is_shown_whole_on_request(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.messages.SHOWN_CHARACTERS", 200)
    monkeypatch.setattr("pages.ui.messages.SHOWN_OF_LONGER", 100)
    text = "\n".join(f"line{number}." for number in range(40))
    answer = installation.answered("Tell me all you know", text, model="fake")
    visitor = visit(conversation=str(answer.conversation_id))
    shown = visitor.text(f"message-{answer.id}")
    assert "line5." in shown
    assert "line39." not in shown
    assert f"Show all {len(text)} characters" in shown
    visitor.click(f"show-whole-{answer.id}")
    assert "line39." in visitor.text(f"message-{answer.id}")
    assert not visitor.has(f"show-whole-{answer.id}")
