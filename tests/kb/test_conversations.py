"""Conversations and messages, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest

from kb.conversations import Conversations
from kb.errors import AnswerRunning, InvalidName, ModelTimeout, NotFound
from kb.models import Conversation, Message, MessageState, Mode, Retrieval, RetrievalProfile, Role, Trace
from tests.conftest import Library


@pytest.fixture
def conversations(library: Library) -> Conversations:
    return Conversations(library.database)


def start(conversations: Conversations, library: Library, question: str = "What is HNSW?") -> Conversation:
    return conversations.create(library.user, question, Mode.LLM, None)


def answered(conversations: Conversations, library: Library, conversation: Conversation, question: str) -> Message:
    answer = conversations.ask(library.user, conversation.id, question)
    conversations.finish(library.user, answer.id, MessageState.DONE, f"Answer to {question}", model="m")
    return conversations.message(library.user, answer.id)


def test_conversation_is_named_after_its_first_question(conversations: Conversations, library: Library) -> None:
    assert start(conversations, library, "  What\nis  it? ").title == "What is it?"
    long = start(conversations, library, "长" * 100)
    assert (len(long.title), long.title[-1]) == (60, "…")
    conversations.rename(library.user, long.id, "  新 名字 ")
    for refused in ("   ", "\u200b\u202e", "x" * 201):
        with pytest.raises(InvalidName):
            conversations.rename(library.user, long.id, refused)
    assert conversations.get(library.user, long.id).title == "新 名字"
    assert start(conversations, library, "Is \u202eexe.pdf\ud800 safe?").title == "Is exe.pdf safe?"
    assert start(conversations, library, "\u200b").title == "?"


def test_question_and_answer_are_stored(conversations: Conversations, library: Library) -> None:
    knowledge_base = library.knowledge_base()
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, knowledge_base.id)
    answer = conversations.ask(library.user, conversation.id, "Q")
    assert (answer.state, answer.mode, answer.knowledge_base_id) == (
        MessageState.STREAMING,
        Mode.KNOWLEDGE,
        knowledge_base.id,
    )
    found = Retrieval("Q", (), Trace((), RetrievalProfile(), 1.0))
    assert conversations.finish(library.user, answer.id, MessageState.DONE, "A [1]", model="m", retrieval=found)
    question, answer = conversations.messages(library.user, conversation.id)
    assert (question.role, question.content, question.ordinal) == (Role.USER, "Q", 0)
    assert (answer.role, answer.content, answer.model, answer.retrieval) == (Role.ASSISTANT, "A [1]", "m", None)
    assert conversations.message(library.user, answer.id).retrieval == found


def test_reasoning_is_stored_and_cleared_with_its_answer(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    conversations.finish(library.user, answer.id, MessageState.STOPPED, "A", reasoning="Hm,\0 well")
    (_, listed) = conversations.messages(library.user, answer.conversation_id)
    assert (listed.content, listed.reasoning) == ("A", "Hm, well")
    again = conversations.ask_again(library.user, answer.id)
    assert again is not None
    assert again.reasoning == ""


def test_answer_is_finished_once(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    error = ModelTimeout(host="h", model="m", seconds=60)
    assert conversations.finish(library.user, answer.id, MessageState.FAILED, "half", error=error)
    assert not conversations.finish(library.user, answer.id, MessageState.DONE, "whole")
    found = conversations.message(library.user, answer.id)
    assert (found.state, found.content, found.error) == (MessageState.FAILED, "half", "model_timeout")
    assert found.error_values == {"host": "h", "model": "m", "seconds": "60"}


def test_regenerating_empties_the_answer(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answer = conversations.ask(library.user, conversation.id, "Q")
    assert conversations.ask_again(library.user, answer.id) is None
    conversations.finish(library.user, answer.id, MessageState.FAILED, "x", error=ModelTimeout())
    again = conversations.ask_again(library.user, answer.id)
    assert again
    assert (again.id, again.state, again.content, again.error) == (answer.id, MessageState.STREAMING, "", "")
    assert len(conversations.messages(library.user, conversation.id)) == 2


def test_history_ends_before_the_question(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answered(conversations, library, conversation, "one")
    knowledge_base = library.knowledge_base("资料")
    conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, knowledge_base.id)
    answer = conversations.ask(library.user, conversation.id, "two")
    asked = conversations.asked(library.user, answer.id)
    question, history = asked.question, asked.history
    assert question.content == "two"
    assert [message.content for message in history] == ["one", "Answer to one", "资料"]


def test_mode_switches_leave_one_notice(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answered(conversations, library, conversation, "one")
    first, second = library.knowledge_base("First"), library.knowledge_base("Second")
    choices = [(Mode.KNOWLEDGE, first.id), (Mode.TEST, first.id), (Mode.KNOWLEDGE, second.id)]
    for mode, knowledge_base in [*choices, choices[-1]]:
        conversations.choose(library.user, conversation.id, mode, knowledge_base)
    notice = conversations.messages(library.user, conversation.id)[-1]
    assert (notice.role, notice.mode, notice.content) == (Role.NOTICE, Mode.KNOWLEDGE, "Second")
    assert [message.ordinal for message in conversations.messages(library.user, conversation.id)] == [0, 1, 2]
    found = conversations.get(library.user, conversation.id)
    assert (found.mode, found.knowledge_base_id) == (Mode.KNOWLEDGE, second.id)


def test_messages_are_paged_from_the_end(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    for number in range(3):
        answered(conversations, library, conversation, str(number))
    last = conversations.messages(library.user, conversation.id, limit=2)
    assert [message.ordinal for message in last] == [4, 5]
    before = conversations.messages(library.user, conversation.id, limit=3, before=4)
    assert [message.ordinal for message in before] == [1, 2, 3]


def test_characters_that_databases_refuse_are_dropped(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library, "a\0b")
    answer = conversations.ask(library.user, conversation.id, "What\0 is\ud800 it?")
    conversations.finish(library.user, answer.id, MessageState.DONE, "It\0 is.")
    messages = conversations.messages(library.user, conversation.id)
    assert [message.content for message in messages] == ["What is it?", "It is."]
    assert conversations.count(library.user, "Wh\0at") == 1


def test_one_of_several_simultaneous_questions_is_accepted(conversations: Conversations, library: Library) -> None:
    """For example, from several tabs with the same conversation."""
    conversation = start(conversations, library)

    def ask(number: int) -> Message | None:
        try:
            return conversations.ask(library.user, conversation.id, f"question {number}")
        except AnswerRunning:
            return None

    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(8)))
        [(number, answer)] = [(number, answer) for number, answer in enumerate(answers) if answer]
        assert conversations.asked(library.user, answer.id).question.content == f"question {number}"
        conversations.finish(library.user, answer.id, MessageState.DONE, "Answer")
    messages = conversations.messages(library.user, conversation.id)
    assert [message.ordinal for message in messages] == list(range(6))


def test_answer_is_not_regenerated_during_another(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    first = answered(conversations, library, conversation, "one")
    second = conversations.ask(library.user, conversation.id, "two")
    with pytest.raises(AnswerRunning):
        conversations.ask_again(library.user, first.id)
    assert conversations.ask_again(library.user, second.id) is None
    assert conversations.message(library.user, first.id).content == "Answer to one"


def test_complete_answer_is_not_regenerated(conversations: Conversations, library: Library) -> None:
    """A tab can still show the failure after another tab regenerated the answer."""
    answer = answered(conversations, library, start(conversations, library), "one")
    assert conversations.ask_again(library.user, answer.id) is None
    assert conversations.message(library.user, answer.id).content == "Answer to one"


def test_producer_replaces_a_mistaken_interruption(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answer = conversations.ask(library.user, conversation.id, "Q")
    end = partial(conversations.finish, library.user, answer.id, MessageState.DONE, begun=answer.created_at)
    assert conversations.finish(library.user, answer.id, MessageState.INTERRUPTED, "half")
    assert end("whole")
    assert not end("once more")
    found = conversations.message(library.user, answer.id)
    assert (found.state, found.content) == (MessageState.DONE, "whole")


def test_earlier_run_does_not_overwrite_the_answer(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    conversations.finish(library.user, answer.id, MessageState.INTERRUPTED, "half")
    again = conversations.ask_again(library.user, answer.id)
    assert again
    end = partial(conversations.finish, library.user, answer.id, MessageState.DONE)
    assert not end("the first try's", begun=answer.created_at)
    assert end("the second try's", begun=again.created_at)
    assert conversations.message(library.user, answer.id).content == "the second try's"


def test_search_covers_titles_and_messages(conversations: Conversations, library: Library) -> None:
    titled = start(conversations, library, "Milvus 索引")
    spoken = start(conversations, library, "Other")
    answered(conversations, library, spoken, "100% of what an INDEX costs_x")
    search = conversations.search
    assert [found.id for found in search(library.user, "索引")] == [titled.id]
    assert [found.id for found in search(library.user, "index COSTS")] == [spoken.id]
    assert [found.id for found in search(library.user, "100%")] == [spoken.id]
    assert search(library.user, "%") == search(library.user, "100%")
    assert search(library.user, "costs?x") == []
    assert [found.id for found in search(library.user, "costs other INDEX")] == [spoken.id]  # each word somewhere
    assert search(library.user, "costs 索引") == []
    assert [found.id for found in search(library.user)] == [spoken.id, titled.id]
    assert conversations.count(library.user) == 2
    assert conversations.count(library.user, "索引") == 1
    assert [found.id for found in search(library.user, offset=1, limit=1)] == [titled.id]


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("ОТЧЁТ за год", "отчёт"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("Résumé", "RE\u0301SUME\u0301"),
        ("Straße", "STRASSE"),
        ("İSTANBUL IŞIK", "istanbul ışık"),
        ("ＡＢＣ 报告", "abc 报告"),
    ],
)
def test_search_folds_case_in_every_script(
    conversations: Conversations, library: Library, text: str, search: str
) -> None:
    titled, renamed, asked, replied, _other = (start(conversations, library, name) for name in (text, *"BCDE"))
    conversations.rename(library.user, renamed.id, text)
    conversations.ask(library.user, asked.id, text)
    answer = conversations.ask(library.user, replied.id, "Q")
    conversations.finish(library.user, answer.id, MessageState.DONE, text)
    found = {conversation.id for conversation in conversations.search(library.user, search)}
    assert found == {titled.id, renamed.id, asked.id, replied.id}


def test_deleted_conversation_is_not_found(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answer = answered(conversations, library, conversation, "one")
    conversations.delete(library.user, conversation.id)
    for call in (
        lambda: conversations.get(library.user, conversation.id),
        lambda: conversations.message(library.user, answer.id),
        lambda: conversations.finish(library.user, answer.id, MessageState.DONE, "late"),
        lambda: conversations.get(library.user, uuid4()),
    ):
        with pytest.raises(NotFound):
            call()


def test_conversations_outlive_their_knowledge_base(conversations: Conversations, library: Library) -> None:
    knowledge_base = library.knowledge_base()
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, knowledge_base.id)
    answered(conversations, library, conversation, "one")
    library.knowledge_bases.delete(library.user, knowledge_base.id)
    assert len(conversations.messages(library.user, conversation.id)) == 2


def test_deleted_knowledge_base_cannot_be_chosen(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    for gone in (uuid4(), library.knowledge_base("Theirs", owner=library.stranger).id):
        with pytest.raises(NotFound):
            conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, gone)
    assert conversations.get(library.user, conversation.id).knowledge_base_id is None


def test_other_users_cannot_access_conversations(conversations: Conversations, library: Library) -> None:
    stranger, theirs = library.stranger, library.knowledge_base("Theirs", owner=library.stranger)
    conversation = start(conversations, library)
    answer = conversations.ask(library.user, conversation.id, "Q")
    calls: list[Callable[[], object]] = [
        lambda: conversations.get(stranger, conversation.id),
        lambda: conversations.rename(stranger, conversation.id, "Mine"),
        lambda: conversations.delete(stranger, conversation.id),
        lambda: conversations.choose(stranger, conversation.id, Mode.LLM, None),
        lambda: conversations.choose(stranger, conversation.id, Mode.KNOWLEDGE, theirs.id),
        lambda: conversations.note_choice(stranger, conversation.id),
        lambda: conversations.messages(stranger, conversation.id),
        lambda: conversations.message(stranger, answer.id),
        lambda: conversations.ask(stranger, conversation.id, "Q"),
        lambda: conversations.ask_again(stranger, answer.id),
        lambda: conversations.asked(stranger, answer.id),
        lambda: conversations.finish(stranger, answer.id, MessageState.DONE, "x"),
        lambda: conversations.create(library.user, "Q", Mode.KNOWLEDGE, theirs.id),
        lambda: conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, theirs.id),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert conversations.search(stranger) == []
    assert conversations.count(stranger) == 0
    assert conversations.message(library.user, answer.id).state is MessageState.STREAMING
    assert conversations.get(library.user, conversation.id).mode is Mode.LLM
