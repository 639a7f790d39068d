"""What can be done with a message of the chat."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from kb.database.tables import knowledge_bases
from kb.messages import Rating
from kb.models import KnowledgeBase, MessageState, Mode, Retrieval, RetrievalProfile, Role
from tests.fakes.model_scripts import said as model_says
from tests.fakes.model_server import CHAT, ModelServer
from tests.messages import said
from tests.pages.conftest import TEA, Installation, Visit
from tests.pages.visitor import Visitor

QUESTION = "How long is black tea steeped?"


def asked(visit: Visit, *questions: str) -> Visitor:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    for question in questions:
        visitor.ask(question)
    return visitor


def offered(visitor: Visitor) -> list[list[str]]:
    return [row["actions"] for row in visitor.actions]


def test_messages_offer_what_fits_them(installation: Installation, visit: Visit) -> None:
    visitor = asked(visit, "What is tea?")
    question, answer = visitor.actions
    assert (question["actions"], question["text"], question["branch"]) == (["edit"], "What is tea?", None)
    assert (answer["actions"], answer["text"]) == (["regenerate", "rate"], "You asked: What is tea?")
    assert answer["usage"].startswith("fake · ")
    assert "first words after" in answer["usageDetail"]
    assert not answer["isIncomplete"]
    installation.filled()
    visitor = visit()
    visitor.choose("mode", Mode.KNOWLEDGE)
    visitor.ask("How long is black tea steeped?")
    assert offered(visitor)[-1] == ["regenerate", "rate", "check", "test"]
    assert visitor.actions[-1]["ranks"] == [1]


def test_citations_name_files_as_they_are(installation: Installation, visit: Visit) -> None:
    """The script writes them as text, so nothing is escaped."""
    name = ":red[a] <b> `c` ![d](e).md"
    installation.filled(files={name: "Black tea is steeped in boiling water for four minutes."})
    visitor = visit()
    visitor.ask("How long is black tea steeped?")
    assert visitor.cited == {1: f"1 · {name}"}


def test_answer_is_written_again_and_the_old_one_stays_reachable(visit: Visit) -> None:
    visitor = asked(visit, "What is tea?")
    visitor.act(1, action="regenerate")
    visitor.wait_for_answer()
    assert (visitor.actions[1]["branch"]["at"], visitor.actions[1]["branch"]["count"]) == (2, 2)
    visitor.act(1, action="show", id=visitor.actions[1]["branch"]["before"])
    assert visitor.actions[1]["branch"]["at"] == 1
    assert visitor.actions[1]["branch"]["before"] == ""


def test_question_is_edited_beside_the_old_one(visit: Visit) -> None:
    visitor = asked(visit, "What is tea?", "And coffee?")
    visitor.act(0, action="edit")
    assert visitor.app.text_area(key="edited_question").value == "What is tea?"
    visitor.app.text_area(key="edited_question").set_value("  What is cocoa?  ")
    visitor.click("edit_ask")
    visitor.wait_for_answer()
    assert "You asked: What is cocoa?" in visitor.text()
    assert "And coffee?" not in visitor.text()
    visitor.act(0, action="show", id=visitor.actions[0]["branch"]["before"])
    assert "You asked: And coffee?" in visitor.text()


def test_edited_question_goes_to_the_knowledge_base_that_is_shown(installation: Installation, visit: Visit) -> None:
    garden = installation.filled("Garden", {"garden.md": "Roses are cut in March."})
    installation.filled("Kitchen")
    visitor = visit()
    visitor.ask("How long is black tea steeped?")
    visitor.go_to("testing")
    visitor.choose("tested_knowledge_base", garden.id)
    visitor.go_to("chat")
    visitor.act(0, action="edit")
    visitor.app.text_area(key="edited_question").set_value("When are roses cut?")
    visitor.click("edit_ask")
    visitor.wait_for_answer()
    assert "Roses are cut in March" in visitor.text()


def test_empty_question_is_not_asked(visit: Visit) -> None:
    visitor = asked(visit, "What is tea?")
    visitor.act(0, action="edit")
    visitor.app.text_area(key="edited_question").set_value("   ")
    visitor.click("edit_ask")
    assert "The question is empty." in visitor.errors
    visitor.run()
    assert len(visitor.actions) == 2
    assert visitor.actions[0]["branch"] is None


def test_interrupted_answer_is_written_on(installation: Installation, visit: Visit) -> None:
    answer = installation.answered("What is tea?", "Tea is ", MessageState.INTERRUPTED, model="fake")
    visitor = visit(conversation=str(answer.conversation_id))
    assert visitor.actions[1]["isIncomplete"]
    assert offered(visitor)[1] == ["regenerate", "go_on"]
    visitor.act(1, action="go_on")
    visitor.wait_for_answer()
    assert visitor.actions[1]["text"].startswith("Tea is You asked: ")
    assert visitor.actions[1]["branch"] is None


def test_answer_is_rated_with_a_reason(installation: Installation, visit: Visit) -> None:
    visitor = asked(visit, "What is tea?")
    visitor.act(1, action="rate", value=1)
    assert visitor.actions[1]["rating"] == 1
    visitor.act(1, action="rate", value=-1)
    visitor.app.text_area(key="rating_reason").set_value("It is outdated.")
    visitor.click("reason_save")
    conversation = installation.services.conversations.search(installation.user)[0]
    answer = installation.services.messages.shown(installation.user, conversation.id)[-1]
    assert (answer.role, answer.rating) == (Role.ASSISTANT, Rating(-1, "It is outdated."))
    visitor.act(1, action="rate", value=0)
    assert visitor.actions[1]["rating"] == 0


def test_citation_mark_opens_its_passage(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("How long is black tea steeped?")
    visitor.act(1, action="cite", rank=1)
    assert "Black tea is steeped in boiling water" in visitor.text("drawer")


def test_citations_that_point_nowhere_are_left_out_and_counted(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    models.streams["cites"] = model_says("Black tea is steeped for four minutes [1, 17][7].")
    installation.set_up(LLM_MODEL="cites")
    installation.filled()
    visitor = visit()
    visitor.ask("How long is black tea steeped?")
    assert "for four minutes\u00a0:blue-badge[1]." in visitor.text()
    assert "2 citations point to no passage and were left out" in visitor.text()
    assert visitor.actions[1]["text"] == "Black tea is steeped for four minutes [1]."


def test_answer_opens_in_the_testing_page(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    installation.knowledge_base("Newer")
    visitor = visit(knowledge_base=str(base.id))
    visitor.ask("How long is black tea steeped?")
    visitor.act(1, action="test")
    assert visitor.app.text_input(key="test_question").value == "How long is black tea steeped?"
    assert visitor.find("tested_knowledge_base").value == base.id
    assert "Black tea" in visitor.text("passages")


def test_testing_page_searches_as_the_answer_did(installation: Installation, visit: Visit) -> None:
    base = installation.filled(files={"tea.md": TEA, "soup.md": "Soup is kept in boiling water, with black pepper."})
    visitor = visit(knowledge_base=str(base.id))
    visitor.ask(QUESTION)
    set_profile(installation, base, threshold=0.0, top_k=1)
    visitor.act(1, action="test")
    assert "threshold: 0.5 (knowledge base: 0) · top k: 5 (knowledge base: 1)" in visitor.text("test_settings")
    visitor.click("run_test")
    assert last_profile(visitor) == replace(RetrievalProfile(), top_k=5)
    visitor.type("test_question", "What is kept in boiling water?")
    visitor.click("run_test")
    assert visitor.has("passage-2")
    visitor.click("own_settings")
    assert not visitor.has("test_settings")
    visitor.click("run_test")
    assert last_profile(visitor) == replace(RetrievalProfile(), threshold=0.0, top_k=1)


def test_testing_page_searches_as_wide_as_the_answer_did(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    other = installation.filled("Garden", {"roses.md": "Roses are cut in March."})
    visitor = visit(knowledge_base=str(base.id))
    visitor.ask("Which rocket flies to the moon?")
    visitor.click("search_wider")
    visitor.wait_for_answer()
    visitor.act(1, action="test")
    assert "searched wider, with half the threshold" in visitor.text("test_settings")
    visitor.click("run_test")
    assert "Searched wider: with half the threshold" in visitor.text("passages")
    visitor.choose("tested_knowledge_base", other.id)  # not the one that was asked
    assert not visitor.has("test_settings")
    visitor.click("run_test")
    assert "Searched wider" not in visitor.text("passages")


def test_testing_page_tells_that_settings_are_still_the_same(installation: Installation, visit: Visit) -> None:
    visitor = visit(knowledge_base=str(installation.filled().id))
    visitor.ask(QUESTION)
    visitor.act(1, action="test")
    assert "which are the knowledge base's own" in visitor.text("test_settings")
    assert not visitor.has("own_settings")


def set_profile(installation: Installation, base: KnowledgeBase, **profile: float) -> None:
    with installation.services.database.write() as connection:
        change = sa.update(knowledge_bases).where(knowledge_bases.c.id == base.id)
        connection.execute(change.values(profile=profile))


def last_profile(visitor: Visitor) -> RetrievalProfile:
    """What the last test was asked with."""
    retrieval: Retrieval = visitor.app.session_state["state"].test[1]
    [profile] = retrieval.trace.profiles.values()
    return profile


def test_nothing_changes_while_an_answer_is_written(installation: Installation, visit: Visit) -> None:
    user, messages = installation.user, installation.services.messages
    conversation_id = installation.answered("What is tea?", "A drink.", model="fake").conversation_id
    running = messages.ask(user, conversation_id, "And coffee?")
    visitor = visit(conversation=str(conversation_id))
    offered_then = [(row["text"], "edit" in row["actions"]) for row in visitor.actions]
    # The questions' rows are there, so that nothing moves once the answer is complete.
    assert offered_then == [("What is tea?", False), ("A drink.", False), ("And coffee?", False)]
    visitor.act(1, action="regenerate")
    assert "Another answer is still being written" in visitor.errors
    messages.finish(user, running.id, MessageState.DONE, said("A drink, too."))


def test_answer_is_checked_by_the_model(
    installation: Installation, visit: Visit, models: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.filled()
    visitor = visit()
    visitor.choose("mode", Mode.KNOWLEDGE)
    visitor.ask("How long is black tea steeped?")
    visitor.act(-1, action="check")  # the fake model repeats what it is asked
    visitor.wait_until(lambda: "did not judge" in visitor.text(), "the failure")
    visitor.go_to("system")
    visitor.go_to("chat")
    assert "did not judge" in visitor.text()
    monkeypatch.setitem(models.streams, "fake", model_says("1: no - four minutes"))
    (again,) = [key for key in (each.key or "" for each in visitor.app.button) if key.startswith("check-again-")]
    with models.held(CHAT):
        visitor.click(again)
        assert "The language model checks each sentence" in visitor.text()
        assert "check" not in visitor.actions[-1]["actions"]
    visitor.wait_until(lambda: "Checked by fake: 1 sentence is not supported" in visitor.text(), "the result")
    monkeypatch.setitem(models.streams, "fake", model_says("1: yes"))
    visitor.act(-1, action="check")
    visitor.wait_until(lambda: "Checked by fake: every sentence is supported." in visitor.text(), "the result")
