"""The messages of conversations, on SQLite and PostgreSQL: asking, branches, the runs of an answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
import sqlalchemy as sa

from kb.conversations import Conversations, Messages, message_rows
from kb.database import tables
from kb.database.tables import message_parts
from kb.errors import AnswerRunning, ModelTimeout, NotFound
from kb.messages import Message, Rating, SourcesPart, TextPart, UsagePart
from kb.models import NOWHERE, MessageState, Mode, Retrieval, RetrievalProfile, Role, Scope, Trace
from tests.conftest import Library
from tests.kb.talks import again, answered, start, texts
from tests.messages import said


def test_question_and_answer_are_stored(conversations: Conversations, messages: Messages, library: Library) -> None:
    knowledge_base = library.knowledge_base()
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, Scope.of(knowledge_base.id))
    answer = messages.ask(library.user, conversation.id, "Q")
    assert (answer.state, answer.mode, answer.scope) == (
        MessageState.STREAMING,
        Mode.KNOWLEDGE,
        Scope.of(knowledge_base.id),
    )
    found = Retrieval("Q", (), Trace((), RetrievalProfile(), 1.0))
    assert messages.finish(library.user, answer.id, MessageState.DONE, said("A [1]", model="m", retrieval=found))
    question, answer = messages.shown(library.user, conversation.id)
    assert (question.role, question.content, question.ordinal) == (Role.USER, "Q", 0)
    assert (answer.role, answer.content, answer.model, answer.retrieval) == (Role.ASSISTANT, "A [1]", "m", None)
    assert messages.get(library.user, answer.id).retrieval == found


def test_reasoning_is_stored_apart_from_the_answer(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    answer = messages.ask(library.user, start(conversations, library).id, "Q")
    messages.finish(library.user, answer.id, MessageState.STOPPED, said("A", reasoning="Hm,\0 well"))
    (_, listed) = messages.shown(library.user, answer.conversation_id)
    assert (listed.content, listed.reasoning) == ("A", "Hm, well")


def test_answer_is_finished_once(conversations: Conversations, messages: Messages, library: Library) -> None:
    answer = messages.ask(library.user, start(conversations, library).id, "Q")
    error = ModelTimeout(host="h", model="m", seconds=60)
    assert messages.finish(library.user, answer.id, MessageState.FAILED, said("half", error=error))
    assert not messages.finish(library.user, answer.id, MessageState.DONE, said("whole"))
    found = messages.get(library.user, answer.id)
    assert (found.state, found.content, found.error.code) == (MessageState.FAILED, "half", "model_timeout")
    assert found.error.values == {"host": "h", "model": "m", "seconds": "60"}


def test_time_of_an_answer_is_that_of_its_last_run(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    running = messages.ask(library.user, conversation.id, "Q")
    assert (running.began_at, running.took_ms) == (running.created_at, None)
    messages.finish(library.user, running.id, MessageState.FAILED, said(error=ModelTimeout(seconds=9)))
    first = messages.get(library.user, running.id)
    assert first.began_at
    assert first.finished_at
    second = again(messages, library, first)
    assert (second.id, second.finished_at) == (first.id, None)
    assert second.began_at
    assert second.began_at >= first.finished_at
    messages.finish(library.user, second.id, MessageState.DONE, said("A", model="m"))
    question, answer = messages.shown(library.user, conversation.id)
    assert answer.finished_at
    assert answer.took_ms == (answer.finished_at - second.began_at) / timedelta(milliseconds=1)
    assert (question.began_at, question.finished_at) == (None, None)


def test_answer_of_an_earlier_release_tells_the_time_of_its_model(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    answer = messages.ask(library.user, conversation.id, "Q")
    messages.finish(library.user, answer.id, MessageState.DONE, [UsagePart("m", 1.0, 20.0)])
    with library.database.write() as connection:
        connection.execute(sa.update(tables.messages).values(began_at=None, finished_at=None))
    assert messages.get(library.user, answer.id).took_ms == 20.0


def test_answer_without_text_is_written_again_in_its_place(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    answer = messages.ask(library.user, conversation.id, "Q")
    assert messages.regenerate(library.user, answer.id, answer.run_id) is None
    messages.finish(library.user, answer.id, MessageState.FAILED, said(reasoning="Hm", error=ModelTimeout()))
    second = again(messages, library, answer)
    assert (second.id, second.state, second.parts) == (answer.id, MessageState.STREAMING, ())
    assert second.run_id != answer.run_id
    assert len(messages.shown(library.user, conversation.id)) == 2


def test_answer_is_written_again_beside_the_old_one(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    old = answered(messages, library, conversation, "Q")
    new = again(messages, library, old)
    messages.finish(library.user, new.id, MessageState.DONE, said("Another answer"))
    question, shown = messages.shown(library.user, conversation.id)
    assert (shown.id, shown.content, shown.siblings) == (new.id, "Another answer", (old.id, new.id))
    assert question.siblings == (question.id,)
    assert messages.asked(library.user, new.id).question.id == question.id
    messages.show(library.user, old.id)
    assert messages.shown(library.user, conversation.id)[1].content == "Answer to Q"


def test_answer_without_text_gets_another_one_beside_it_in_another_mode(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    old = messages.ask(library.user, conversation.id, "Q")
    messages.finish(library.user, old.id, MessageState.DONE, [SourcesPart()])
    new = messages.regenerate(library.user, old.id, old.run_id, is_beside=True, mode=Mode.WEB)
    assert new
    assert (new.mode, new.parent_id) == (Mode.WEB, old.parent_id)
    assert messages.shown(library.user, conversation.id)[1].siblings == (old.id, new.id)
    assert conversations.get(library.user, conversation.id).mode is conversation.mode is Mode.LLM


def test_question_is_asked_in_other_words_beside_the_old_branch(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    for question in ("one", "two", "three"):
        answered(messages, library, conversation, question)
    second = messages.shown(library.user, conversation.id)[2]
    edited = messages.edit(library.user, second.id, "2")
    assert [message.content for message in messages.asked(library.user, edited.id).history] == [
        "one",
        "Answer to one",
    ]
    messages.finish(library.user, edited.id, MessageState.DONE, said("Answer to 2"))
    answered(messages, library, conversation, "3")
    assert texts(messages, library, conversation) == [*("one", "Answer to one", "2", "Answer to 2", "3", "Answer to 3")]
    shown = messages.shown(library.user, conversation.id)
    assert [len(message.siblings) for message in shown] == [1, 1, 2, 1, 1, 1]
    messages.show(library.user, second.id)  # to the end of its branch
    assert texts(messages, library, conversation)[2:] == ["two", "Answer to two", "three", "Answer to three"]
    messages.show(library.user, shown[2].id)
    assert texts(messages, library, conversation)[2:] == ["2", "Answer to 2", "3", "Answer to 3"]


def test_first_question_can_be_edited(conversations: Conversations, messages: Messages, library: Library) -> None:
    conversation = start(conversations, library)
    answered(messages, library, conversation, "one")
    first = messages.shown(library.user, conversation.id)[0]
    edited = messages.edit(library.user, first.id, "1")
    messages.finish(library.user, edited.id, MessageState.DONE, said("Answer to 1"))
    shown = messages.shown(library.user, conversation.id)
    assert (shown[0].content, len(shown[0].siblings), shown[1].siblings) == ("1", 2, (edited.id,))


def test_question_goes_where_its_tab_shows(conversations: Conversations, messages: Messages, library: Library) -> None:
    """Another tab may switch the same conversation's knowledge base at any moment."""
    kitchen, garden = Scope.of(library.knowledge_base("Kitchen").id), Scope.of(library.knowledge_base("Garden").id)
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, kitchen)
    conversations.choose(library.user, conversation.id, Mode.WEB)
    answer = messages.ask(library.user, conversation.id, "Q", choice=(Mode.KNOWLEDGE, garden))
    messages.finish(library.user, answer.id, MessageState.DONE, said("A"))
    assert (answer.mode, answer.scope) == (Mode.KNOWLEDGE, garden)
    shown = messages.shown(library.user, conversation.id)
    assert [message.role for message in shown] == [Role.NOTICE, Role.USER, Role.ASSISTANT]
    assert (shown[0].mode, shown[0].scope) == (Mode.KNOWLEDGE, garden)
    edited = messages.edit(library.user, shown[1].id, "Q2", (Mode.KNOWLEDGE, kitchen))
    assert (edited.mode, edited.scope) == (Mode.KNOWLEDGE, kitchen)
    assert len(messages.shown(library.user, conversation.id)[1].siblings) == 2
    assert conversations.get(library.user, conversation.id).scope == kitchen


def test_answer_is_rated(conversations: Conversations, messages: Messages, library: Library) -> None:
    answer = answered(messages, library, start(conversations, library), "one")
    assert answer.rating == Rating()
    messages.rate(library.user, answer.id, Rating(-1, "It is\0 outdated"))
    assert messages.shown(library.user, answer.conversation_id)[1].rating == Rating(-1, "It is outdated")


def test_only_questions_are_edited(conversations: Conversations, messages: Messages, library: Library) -> None:
    answer = answered(messages, library, start(conversations, library), "one")
    with pytest.raises(NotFound):
        messages.edit(library.user, answer.id, "What?")


def test_branches_rest_while_an_answer_is_written(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    first = answered(messages, library, conversation, "one")
    question = messages.shown(library.user, conversation.id)[0]
    messages.ask(library.user, conversation.id, "two")
    calls: list[Callable[[], object]] = [
        lambda: messages.edit(library.user, question.id, "1"),
        lambda: messages.show(library.user, first.id),
        lambda: messages.regenerate(library.user, first.id, first.run_id),
    ]
    for call in calls:
        with pytest.raises(AnswerRunning):
            call()


def test_cut_off_answer_is_written_on(conversations: Conversations, messages: Messages, library: Library) -> None:
    answer = messages.ask(library.user, start(conversations, library).id, "Q")
    messages.finish(library.user, answer.id, MessageState.STOPPED, said("Half of", error=ModelTimeout()))
    begun = messages.go_on(library.user, answer.id, answer.run_id)
    assert begun
    assert (begun.id, begun.state, begun.content) == (answer.id, MessageState.STREAMING, "Half of")
    assert messages.go_on(library.user, answer.id, begun.run_id) is None
    # Its process died before it wrote a word.
    assert messages.finish(library.user, answer.id, MessageState.INTERRUPTED)
    assert messages.get(library.user, answer.id).content == "Half of"
    assert messages.go_on(library.user, answer.id, answer.run_id) is None  # a tab that has not seen this run
    whole = messages.go_on(library.user, answer.id, begun.run_id)
    assert whole
    assert messages.finish(library.user, answer.id, MessageState.DONE, said("Half of it"), whole.run_id)
    assert messages.go_on(library.user, answer.id, whole.run_id) is None


def test_branch_of_a_thousand_messages_is_read_and_deleted(
    conversations: Conversations, messages: Messages, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = start(conversations, library)
    chain: list[Message] = []
    for ordinal in range(1_500):
        parent = chain[-1].id if chain else None
        text = [TextPart(str(ordinal))]
        chain.append(
            message_rows.new(conversation.id, ordinal, Role.USER, MessageState.DONE, Mode.LLM, NOWHERE, parent, text)
        )
    with library.database.write() as connection:
        message_rows.insert(connection, chain)
    messages.show(library.user, chain[0].id)
    shown = messages.shown(library.user, conversation.id, limit=3)
    assert [message.content for message in shown] == ["1497", "1498", "1499"]
    before = messages.shown(library.user, conversation.id, limit=2, before=500)
    assert [message.content for message in before] == ["498", "499"]
    after = messages.shown(library.user, conversation.id, after=1_498)
    assert [message.content for message in after] == ["1499"]
    conversations.delete(library.user, conversation.id)
    monkeypatch.setattr("kb.conversations.catalogue.UNDO_SECONDS", 0)
    assert conversations.purge() == 1
    with library.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(message_parts)) == 0


def test_history_ends_before_the_question(conversations: Conversations, messages: Messages, library: Library) -> None:
    conversation = start(conversations, library)
    answered(messages, library, conversation, "one")
    knowledge_base = library.knowledge_base("资料")
    conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, Scope.of(knowledge_base.id))
    answer = messages.ask(library.user, conversation.id, "two")
    asked = messages.asked(library.user, answer.id)
    question, history = asked.question, asked.history
    assert question.content == "two"
    assert [message.content for message in history] == ["one", "Answer to one", "资料"]


def test_messages_are_paged_from_the_end(conversations: Conversations, messages: Messages, library: Library) -> None:
    conversation = start(conversations, library)
    for number in range(3):
        answered(messages, library, conversation, str(number))
    last = messages.shown(library.user, conversation.id, limit=2)
    assert [message.ordinal for message in last] == [4, 5]
    before = messages.shown(library.user, conversation.id, limit=3, before=4)
    assert [message.ordinal for message in before] == [1, 2, 3]


def test_one_of_several_simultaneous_questions_is_accepted(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    """For example, from several tabs with the same conversation."""
    conversation = start(conversations, library)

    def ask(number: int) -> Message | None:
        try:
            return messages.ask(library.user, conversation.id, f"question {number}")
        except AnswerRunning:
            return None

    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(8)))
        [(number, answer)] = [(number, answer) for number, answer in enumerate(answers) if answer]
        assert messages.asked(library.user, answer.id).question.content == f"question {number}"
        messages.finish(library.user, answer.id, MessageState.DONE, said("Answer"))
    shown = messages.shown(library.user, conversation.id)
    assert [message.ordinal for message in shown] == list(range(6))


def test_answer_that_another_tab_regenerated_is_left(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    """A tab can still show the failure after another tab regenerated the answer."""
    answer = messages.ask(library.user, start(conversations, library).id, "one")
    messages.finish(library.user, answer.id, MessageState.FAILED, said(error=ModelTimeout()))
    again(messages, library, answer)
    messages.finish(library.user, answer.id, MessageState.DONE, said("Answer to one"))
    assert messages.regenerate(library.user, answer.id, answer.run_id) is None
    assert messages.get(library.user, answer.id).content == "Answer to one"


def test_producer_replaces_a_mistaken_interruption(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    answer = messages.ask(library.user, conversation.id, "Q")
    end = partial(messages.finish, library.user, answer.id, MessageState.DONE, run_id=answer.run_id)
    assert messages.finish(library.user, answer.id, MessageState.INTERRUPTED)
    assert end(said("whole"))
    assert not end(said("once more"))
    found = messages.get(library.user, answer.id)
    assert (found.state, found.content) == (MessageState.DONE, "whole")


def test_earlier_run_does_not_overwrite_the_answer(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    answer = messages.ask(library.user, start(conversations, library).id, "Q")
    messages.finish(library.user, answer.id, MessageState.INTERRUPTED)
    second = again(messages, library, answer)
    end = partial(messages.finish, library.user, answer.id, MessageState.DONE)
    assert not end(said("the first try's"), run_id=answer.run_id)
    assert end(said("the second try's"), run_id=second.run_id)
    assert messages.get(library.user, answer.id).content == "the second try's"


def test_answer_of_a_deleted_conversation_keeps_its_text(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    answer = messages.ask(library.user, start(conversations, library).id, "Q")
    assert [each.is_unwanted for each in messages.streaming()] == [False]
    conversations.delete(library.user, answer.conversation_id)
    assert [each.is_unwanted for each in messages.streaming()] == [True]
    assert messages.finish(library.user, answer.id, MessageState.STOPPED, said("Half"), answer.run_id)
    conversations.restore(library.user, answer.conversation_id)
    assert messages.get(library.user, answer.id).content == "Half"


def test_tree_holds_all_branches_with_all_parts(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    old = answered(messages, library, conversation, "Q")
    new = again(messages, library, old)
    found = Retrieval("Q", (), Trace((), RetrievalProfile(), 1.0))
    messages.finish(library.user, new.id, MessageState.DONE, said("Other [1]", retrieval=found))
    question, first, second = messages.tree(library.user, conversation.id)
    assert [message.content for message in (question, first, second)] == ["Q", "Answer to Q", "Other [1]"]
    assert first.parent_id == second.parent_id == question.id
    assert second.retrieval == found


def test_message_that_is_asked_while_all_are_read_is_left_out(
    library: Library, conversations: Conversations, messages: Messages
) -> None:
    """PostgreSQL shows it to the second of the two statements."""
    conversation = conversations.create(library.user, "Tea", Mode.LLM)

    class Asking:
        def __init__(self, connection: sa.Connection) -> None:
            self._connection = connection

        def execute(self, *given: Any) -> Any:
            found = self._connection.execute(*given)
            if not messages.shown(library.user, conversation.id):
                messages.ask(library.user, conversation.id, "Which tea?")
            return found

    with library.database.read() as connection:
        assert message_rows.tree(cast("sa.Connection", Asking(connection)), conversation.id) == []
    assert len(messages.tree(library.user, conversation.id)) == 2
