"""Answers of a model, with and without passages: what it is asked, and what is saved."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator
from unittest.mock import patch
from uuid import UUID

import pytest
import sqlalchemy as sa
from PIL import Image

from kb.answering import Event, ModelChosen, PassagesFound
from kb.completions import TextPiece
from kb.database.tables import versions
from kb.llm import ChatModel
from kb.messages import Attached, Message, UsagePart
from kb.models import MessageState, Mode, Scope, VersionState
from kb.prompts import GO_ON_ZH
from kb.providers.connection import ModelSettings
from kb.retrieval import Retriever
from kb.retrieval.ranking import estimate_tokens
from tests.fakes.model_scripts import ANSWER
from tests.fakes.model_server import CHAT
from tests.kb.answers.chat import Chat, build_answers, follow
from tests.messages import said


def test_answer_streams_and_is_saved(chat: Chat) -> None:
    message_id = chat.start("What is Milvus?", "slow")
    updates = follow(chat.answers, chat.core.user, chat.run(message_id))
    texts = [update.text for update in updates if update.text]
    assert len(texts) > 2
    assert "".join(texts) == "You asked: What is Milvus?"
    message = chat.message(message_id)  # saved before the stream says so
    assert (message.state, message.content, message.model) == (MessageState.DONE, "".join(texts), "slow")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1, chat.server.requests[-1].tokens_sent)
    assert (
        chat.answers.read(chat.core.user, chat.run(message_id)).text == message.content
    )  # from the start, as a new tab reads it


def test_knowledge_answer_is_given_from_its_passages(chat: Chat, fruit: UUID) -> None:
    message_id = chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit)
    updates = follow(chat.answers, chat.core.user, chat.run(message_id))
    message = chat.message(message_id)
    assert message.content.endswith("[1].")
    assert message.retrieval is not None
    assert [passage.document_name for passage in message.retrieval.passages] == ["pears.md"]
    (seen,) = [update.retrieval for update in updates if update.retrieval]
    assert seen.passages == message.retrieval.passages
    prompt = chat.server.requests[-1].body["messages"]
    assert "A pear is green." in prompt[0]["content"]
    assert prompt[-1] == {"role": "user", "content": "What colour is a pear?"}


def test_without_a_model_the_answer_is_the_best_sentences(chat: Chat, fruit: UUID) -> None:
    message = chat.finished(chat.start("What colour is a green pear?", "", Mode.KNOWLEDGE, fruit))
    assert (message.state, message.model, message.error.code) == (MessageState.DONE, "", "")
    assert "**A pear is green.**" in message.content
    assert message.content.endswith("[1]")
    assert chat.server.requests == []


def test_testing_mode_asks_no_model(chat: Chat, fruit: UUID) -> None:
    message = chat.finished(chat.start("What colour is a pear?", "fake", Mode.TEST, fruit))
    assert (message.state, message.content) == (MessageState.DONE, "")
    assert message.retrieval is not None
    assert len(message.retrieval.passages) == 1
    assert chat.server.requests == []


def test_nothing_found_asks_no_model(chat: Chat) -> None:
    empty = chat.core.knowledge_base("Empty")
    message = chat.finished(chat.start("What colour is a pear?", "fake", Mode.KNOWLEDGE, empty.id))
    assert (message.state, message.content) == (MessageState.DONE, "")
    assert message.retrieval is not None
    assert message.retrieval.passages == ()
    assert chat.server.requests == []


def test_model_gets_the_conversation_so_far(chat: Chat) -> None:
    first = chat.finished(chat.start("First question"))
    again = chat.core.services.messages.ask(chat.core.user, first.conversation_id, "Second question")
    chat.answers.start(chat.core.user, again.id, "fake")
    chat.finished(again.id)
    told = [message["content"] for message in chat.server.requests[-1].body["messages"]]
    assert told[1:] == ["First question", "You asked: First question", "Second question"]


def test_model_gets_all_of_a_long_conversation_that_fits(chat: Chat) -> None:
    messages, user = chat.core.services.messages, chat.core.user
    first = chat.finished(chat.start("Question 0"))
    for number in range(1, 40):
        asked = messages.ask(user, first.conversation_id, f"Question {number}")
        messages.finish(user, asked.id, MessageState.DONE, said("Yes."))
    last = messages.ask(user, first.conversation_id, "And what was the first one?")
    chat.answers.start(user, last.id, "fake")
    chat.finished(last.id)
    assert told(chat)[1] == ("user", "Question 0")


def test_many_answers_run_at_once(chat: Chat) -> None:
    with chat.server.held(CHAT):
        ids = [chat.start(f"Question {number}") for number in range(10)]
        for message_id in ids:
            chat.arrived(message_id, "You")
    messages = [chat.finished(message_id) for message_id in ids]
    assert [message.content for message in messages] == [f"You asked: Question {number}" for number in range(10)]


def test_running_answer_is_not_started_twice(chat: Chat) -> None:
    with chat.server.held(CHAT):
        message_id = chat.start("Question", "slow")
        chat.answers.start(chat.core.user, message_id, "fake")
    assert chat.finished(message_id).model == "slow"
    assert len(chat.server.requests) == 1


def ask_on(chat: Chat, before: Message, question: str, model: str = "fake", in_own_words: bool = False) -> Message:
    """The answer to a question that follows another answer."""
    message = chat.core.services.messages.ask(chat.core.user, before.conversation_id, question)
    chat.answers.start(chat.core.user, message.id, model, in_own_words=in_own_words)
    return chat.finished(message.id)


def test_follow_up_is_searched_for_as_it_is_meant(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    asked = len(chat.server.requests)
    with patch("kb.followups.read_rewrite", lambda _reply, _question: "How does the tree of a pear grow?"):
        second = ask_on(chat, first, "And its tree?")
    rewriting, answering = chat.server.requests[asked:]
    assert "Last question: And its tree?" in rewriting.body["messages"][-1]["content"]
    assert "What colour is a pear?" in rewriting.body["messages"][-1]["content"]
    assert second.searched_for == "How does the tree of a pear grow?"
    assert second.retrieval
    assert second.retrieval.question == second.searched_for
    assert answering.body["messages"][-1]["content"] == "And its tree?"  # the model answers what the user asked
    assert chat.answers.read(chat.core.user, chat.run(second.id)).searched_for == second.searched_for


def test_thoughts_about_a_follow_up_are_not_searched_for(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    second = ask_on(chat, first, "And its tree?", "think-no-opening")
    assert second.searched_for == ANSWER


def test_follow_up_that_comes_in_halves_of_characters_is_answered(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    second = ask_on(chat, first, "And its tree?", "halves")
    assert (second.state, second.searched_for) == (MessageState.DONE, "Pears 😀 and � trees?")


def test_follow_up_in_the_users_own_words(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    asked = len(chat.server.requests)
    second = ask_on(chat, first, "And its tree?", in_own_words=True)
    assert len(chat.server.requests) <= asked + 1
    assert second.searched_for == ""
    assert second.retrieval
    assert second.retrieval.question == "And its tree?"


def test_follow_up_without_a_model_is_searched_for_with_the_question_before(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", "", Mode.KNOWLEDGE, fruit))
    second = ask_on(chat, first, "And its tree?", "")
    assert second.searched_for == "What colour is a pear? And its tree?"


def test_thanks_reach_the_model_without_a_search(chat: Chat, fruit: UUID) -> None:
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    with patch.object(Retriever, "retrieve", side_effect=AssertionError):
        second = ask_on(chat, first, "Thanks!")
    assert (second.state, second.retrieval) == (MessageState.DONE, None)
    told = [message["content"] for message in chat.server.requests[-1].body["messages"]]
    assert told[1:] == ["What colour is a pear?", first.content, "Thanks!"]


def test_what_passages_do_not_support_is_noted(chat: Chat, fruit: UUID) -> None:
    begun = chat.ask("What colour is a pear?", Mode.KNOWLEDGE, fruit)

    async def answer(*_arguments: object) -> AsyncIterator[Event]:
        yield PassagesFound(chat.core.services.retriever.retrieve(chat.core.user, Scope.of(fruit), "pear"))
        yield ModelChosen(ChatModel("fake", "http://127.0.0.1:1/v1", "test"))
        yield TextPiece("A pear is green [1]. It weighs 340 g [1].")

    with patch("kb.answers.events.answer", answer):
        chat.answers.start(chat.core.user, begun.id, "fake")
        found = chat.finished(begun.id)
    (sentence,) = found.unsupported
    assert "340" in sentence.sentence
    assert any("340" in missing for missing in sentence.missing)


@pytest.mark.parametrize("model", ["think", "think-no-opening", "reasoning-content"])
def test_reasoning_is_streamed_apart_from_the_answer(chat: Chat, model: str) -> None:
    message_id = chat.start("Question", model)
    text = reasoning = ""
    for update in follow(chat.answers, chat.core.user, chat.run(message_id)):
        if update.restarts:
            text = reasoning = ""
        text, reasoning = text + update.text, reasoning + update.reasoning
    message = chat.message(message_id)
    assert text == message.content == ANSWER
    assert reasoning == message.reasoning
    assert " ".join(reasoning.split()) == "The user asks about refunds. Passage [2] is not relevant."


def test_reasoning_is_not_sent_back_to_the_model(chat: Chat) -> None:
    first = chat.finished(chat.start("First question", "think"))
    again = chat.core.services.messages.ask(chat.core.user, first.conversation_id, "Second question")
    chat.answers.start(chat.core.user, again.id, "fake")
    chat.finished(again.id)
    told = [message["content"] for message in chat.server.requests[-1].body["messages"]]
    assert told[1:] == ["First question", ANSWER, "Second question"]


@pytest.mark.parametrize("mode", [Mode.KNOWLEDGE, Mode.WEB])
def test_talk_is_written_on_without_a_search(chat: Chat, fruit: UUID, mode: Mode) -> None:
    user, messages = chat.core.user, chat.core.services.messages
    first = chat.finished(chat.start("What colour is a pear?", mode=Mode.KNOWLEDGE, base=fruit))
    asked = messages.ask(user, first.conversation_id, "用英文再说一遍", choice=(mode, first.scope))
    chat.answers.start(user, asked.id, "cut-off")
    begun = chat.finished(asked.id)
    assert begun.content
    assert (begun.mode, begun.retrieval) == (mode, None)
    assert messages.go_on(user, begun.id, begun.run_id)
    with patch.object(Retriever, "retrieve", side_effect=AssertionError):
        chat.answers.start(user, begun.id, "fake")
        whole = chat.finished(begun.id)
    assert (whole.state, whole.retrieval, whole.web) == (MessageState.DONE, None, None)
    assert len(whole.content) > len(begun.content)
    assert [text for _role, text in told(chat)][1:] == [
        "What colour is a pear?",
        first.content,
        "用英文再说一遍",
        begun.content,
        GO_ON_ZH,
    ]


@pytest.mark.parametrize("mode", [Mode.KNOWLEDGE, Mode.LLM])
def test_answer_from_a_picture_is_written_on_with_it(chat: Chat, mode: Mode) -> None:
    user, messages = chat.core.user, chat.core.services.messages
    conversation = chat.core.services.conversations.create(user, "Picture", mode, Scope())
    document = chat.core.services.attachments.add(user, conversation.id, "a.png", picture())
    with chat.core.services.database.write() as connection:
        connection.execute(sa.update(versions).values(state=VersionState.FAILED.value, error="no_text"))
    attached = [Attached(str(document.id), document.name, document.latest.media_type)]
    asked = messages.ask(user, conversation.id, "What is this, please?", attached)
    sees = build_answers(chat.core.services, chat.server, find_model=lambda _user, wanted: sighted(chat, wanted))
    with contextlib.closing(sees):
        sees.start(user, asked.id, "cut-off")
        begun = chat.finished(asked.id)
        assert begun.content
        assert messages.go_on(user, begun.id, begun.run_id)
        sees.start(user, begun.id, "fake")
        whole = chat.finished(begun.id)
    assert whole.state is MessageState.DONE
    assert len(whole.content) > len(begun.content)
    assert whole.retrieval == begun.retrieval
    assert "data:image/jpeg" in json.dumps(chat.server.requests[-1].body)


def sighted(chat: Chat, name: str) -> ChatModel:
    return ChatModel(name, chat.server.base_url, "test", settings=ModelSettings(sees_images=True))


def picture() -> io.BytesIO:
    data = io.BytesIO()
    Image.new("RGB", (20, 10)).save(data, "PNG")
    data.seek(0)
    return data


def told(chat: Chat) -> list[tuple[str, str]]:
    """What the model was told last."""
    return [(message["role"], message["content"]) for message in chat.server.requests[-1].body["messages"]]


def test_history_leaves_room_for_the_text_that_is_written_on(chat: Chat) -> None:
    user, messages = chat.core.user, chat.core.services.messages
    model = ChatModel("fake", chat.server.base_url, "test", settings=ModelSettings(context_window=2_000))
    first = chat.finished(chat.start("What is Milvus? " + "word " * 800))
    asked = messages.ask(user, first.conversation_id, "And why?")
    messages.finish(user, asked.id, MessageState.STOPPED, [*said("half " * 800), UsagePart("fake")])
    again = messages.go_on(user, asked.id, asked.run_id)
    assert again
    answers = build_answers(chat.core.services, chat.server, find_model=lambda _user, _wanted: model)
    with contextlib.closing(answers):
        answers.start(user, again.id, "fake")
        chat.finished(again.id)
    assert sum(estimate_tokens(text) for _role, text in told(chat)) < 2_000


def test_cut_off_answer_is_written_on(chat: Chat) -> None:
    user = chat.core.user
    begun = chat.finished(chat.start("What is Milvus, and why?", "cut-off"))
    assert begun.content.startswith("You asked:")
    more = chat.core.services.messages.go_on(user, begun.id, begun.run_id)
    assert more
    chat.answers.start(user, more.id, "fake")
    whole = chat.finished(begun.id)
    assert whole.state is MessageState.DONE
    assert whole.content.startswith(begun.content + "You asked: ")  # the fake model repeats what it was told last
    told = chat.server.requests[-1].body["messages"]
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]
    assert told[2]["content"] == begun.content
    assert chat.answers.read(user, chat.run(begun.id)).text == whole.content


def test_answer_that_is_written_on_keeps_its_passages(chat: Chat, fruit: UUID) -> None:
    user = chat.core.user
    begun = chat.finished(chat.start("What colour is a pear?", "cut-off", Mode.KNOWLEDGE, fruit))
    more = chat.core.services.messages.go_on(user, begun.id, begun.run_id)
    assert more
    with patch.object(Retriever, "retrieve", side_effect=AssertionError):
        chat.answers.start(user, more.id, "fake")
        whole = chat.finished(begun.id)
    assert (whole.state, whole.retrieval) == (MessageState.DONE, begun.retrieval)
    assert "A pear is green." in chat.server.requests[-1].body["messages"][0]["content"]
