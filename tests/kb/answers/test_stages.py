"""What a run says of what it is doing, and what a page makes of it. No services."""

from __future__ import annotations

from uuid import uuid4

import pytest

from kb.access import Principal
from kb.answering import FollowUpFound, ModelChosen, PassagesFound, Question, QuestionRewritten, SearchBegan
from kb.answers.run import Run
from kb.answers.streams import Arrived, Stage, Update
from kb.completions import Reasoning, TextPiece, TextWasReasoning
from kb.llm import ChatModel
from kb.messages import ReasoningPart
from kb.models import Mode, Retrieval

MODEL = ChatModel("qwen", "http://127.0.0.1:1/v1", "test")


def run_in(mode: Mode) -> Run:
    return Run(uuid4(), uuid4(), Question(Principal(uuid4()), "Why?", mode, lambda: MODEL))


def test_run_says_what_it_is_doing() -> None:
    run = run_in(Mode.KNOWLEDGE)
    stages = [run.stage]
    for event in (
        FollowUpFound(),
        QuestionRewritten("Why are pears green?"),
        SearchBegan(),
        PassagesFound(Retrieval()),
        ModelChosen(MODEL),
        Reasoning("Hm."),
        TextPiece("So"),
    ):
        run.take(event)
        stages.append(run.stage)
    assert list(dict.fromkeys(stages[1:])) == [
        Stage.UNDERSTANDING,
        Stage.SEARCHING,
        Stage.WAITING,
        Stage.THINKING,
        Stage.WRITING,
    ]
    assert stages[0] is Stage.SEARCHING
    assert run_in(Mode.LLM).stage is Stage.WAITING
    assert run.unsent()["stage"] == "writing"
    assert run.unsent()["model"] == "qwen"


def test_run_says_a_stage_once() -> None:
    run = run_in(Mode.LLM)
    run.stage_sent = run.stage_now
    assert "stage" not in run.unsent()


@pytest.mark.parametrize("has_field", [True, False], ids=["field", "closing tag only"])
def test_time_of_thinking_is_kept(has_field: bool) -> None:
    run = run_in(Mode.LLM)
    run.take(ModelChosen(MODEL))
    run.began -= 1
    run.take(Reasoning("Hm.") if has_field else TextPiece("Hm."))
    run.began -= 2
    run.thought_since -= 2 if has_field else 0
    if not has_field:
        run.take(TextWasReasoning())
    run.take(TextPiece("So"))
    (thought,) = [part for part in run.parts() if isinstance(part, ReasoningPart)]
    assert 2000 <= thought.thought_ms < 2900
    assert run.unsent()["thought_ms"] == str(thought.thought_ms)


def test_page_knows_how_long_a_stage_lasts_and_the_model_is_silent() -> None:
    arrived = Arrived()
    arrived.take(Update("100000-0", stage=Stage.SEARCHING, stage_at=100.0, now=103.0))
    assert (arrived.stage_seconds, arrived.silent_seconds) == (3.0, 0.0)  # the model was not asked yet
    arrived.take(Update("104000-0", stage=Stage.WAITING, stage_at=104.0, model="qwen", now=116.0))
    assert (arrived.stage_seconds, arrived.silent_seconds, arrived.model) == (12.0, 12.0, "qwen")
    arrived.take(Update("117000-0", text="So", stage=Stage.WRITING, stage_at=117.0, now=117.0))
    arrived.take(Update("120000-0", text=" what", now=121.5))
    arrived.take(Update("120000-0", now=125.0))
    assert (arrived.text, arrived.stage_seconds, arrived.silent_seconds) == ("So what", 8.0, 5.0)


def test_restart_voids_what_came_before() -> None:
    arrived = Arrived(text="Hm.", reasoning="Oh.")
    arrived.take(Update("1-0", text="So", reasoning="Oh. Hm.", restarts=True))
    assert (arrived.text, arrived.reasoning) == ("So", "Oh. Hm.")
