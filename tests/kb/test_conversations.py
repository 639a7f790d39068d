"""Conversations and messages, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb import message_store as store
from kb.conversations import UNDO_SECONDS, Conversations
from kb.database.tables import message_parts
from kb.errors import AnswerRunning, InvalidName, ModelTimeout, NotFound
from kb.messages import Message, Rating, SourcesPart, TextPart
from kb.models import NOWHERE, Conversation, MessageState, Mode, Retrieval, RetrievalProfile, Role, Scope, Trace
from tests.conftest import Clock, Library
from tests.messages import said


@pytest.fixture
def conversations(library: Library) -> Conversations:
    return Conversations(library.database)


def start(conversations: Conversations, library: Library, question: str = "What is HNSW?") -> Conversation:
    return conversations.create(library.user, question, Mode.LLM)


def answered(conversations: Conversations, library: Library, conversation: Conversation, question: str) -> Message:
    answer = conversations.ask(library.user, conversation.id, question)
    conversations.finish(library.user, answer.id, MessageState.DONE, said(f"Answer to {question}", model="m"))
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
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, Scope.of(knowledge_base.id))
    answer = conversations.ask(library.user, conversation.id, "Q")
    assert (answer.state, answer.mode, answer.scope) == (
        MessageState.STREAMING,
        Mode.KNOWLEDGE,
        Scope.of(knowledge_base.id),
    )
    found = Retrieval("Q", (), Trace((), RetrievalProfile(), 1.0))
    assert conversations.finish(library.user, answer.id, MessageState.DONE, said("A [1]", model="m", retrieval=found))
    question, answer = conversations.messages(library.user, conversation.id)
    assert (question.role, question.content, question.ordinal) == (Role.USER, "Q", 0)
    assert (answer.role, answer.content, answer.model, answer.retrieval) == (Role.ASSISTANT, "A [1]", "m", None)
    assert conversations.message(library.user, answer.id).retrieval == found


def test_reasoning_is_stored_apart_from_the_answer(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    conversations.finish(library.user, answer.id, MessageState.STOPPED, said("A", reasoning="Hm,\0 well"))
    (_, listed) = conversations.messages(library.user, answer.conversation_id)
    assert (listed.content, listed.reasoning) == ("A", "Hm, well")


def test_answer_is_finished_once(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    error = ModelTimeout(host="h", model="m", seconds=60)
    assert conversations.finish(library.user, answer.id, MessageState.FAILED, said("half", error=error))
    assert not conversations.finish(library.user, answer.id, MessageState.DONE, said("whole"))
    found = conversations.message(library.user, answer.id)
    assert (found.state, found.content, found.error.code) == (MessageState.FAILED, "half", "model_timeout")
    assert found.error.values == {"host": "h", "model": "m", "seconds": "60"}


def again(conversations: Conversations, library: Library, answer: Message) -> Message:
    """The answer, as it is to be written again."""
    regenerated = conversations.regenerate(library.user, answer.id, answer.run_id)
    assert regenerated
    return regenerated


def test_answer_without_text_is_written_again_in_its_place(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answer = conversations.ask(library.user, conversation.id, "Q")
    assert conversations.regenerate(library.user, answer.id, answer.run_id) is None
    conversations.finish(library.user, answer.id, MessageState.FAILED, said(reasoning="Hm", error=ModelTimeout()))
    second = again(conversations, library, answer)
    assert (second.id, second.state, second.parts) == (answer.id, MessageState.STREAMING, ())
    assert second.run_id != answer.run_id
    assert len(conversations.messages(library.user, conversation.id)) == 2


def test_answer_is_written_again_beside_the_old_one(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    old = answered(conversations, library, conversation, "Q")
    new = again(conversations, library, old)
    conversations.finish(library.user, new.id, MessageState.DONE, said("Another answer"))
    question, shown = conversations.messages(library.user, conversation.id)
    assert (shown.id, shown.content, shown.siblings) == (new.id, "Another answer", (old.id, new.id))
    assert question.siblings == (question.id,)
    assert conversations.asked(library.user, new.id).question.id == question.id
    conversations.show(library.user, old.id)
    assert conversations.messages(library.user, conversation.id)[1].content == "Answer to Q"


def test_answer_without_text_gets_another_one_beside_it_in_another_mode(
    conversations: Conversations, library: Library
) -> None:
    conversation = start(conversations, library)
    old = conversations.ask(library.user, conversation.id, "Q")
    conversations.finish(library.user, old.id, MessageState.DONE, [SourcesPart()])
    new = conversations.regenerate(library.user, old.id, old.run_id, is_beside=True, mode=Mode.WEB)
    assert new
    assert (new.mode, new.parent_id) == (Mode.WEB, old.parent_id)
    assert conversations.messages(library.user, conversation.id)[1].siblings == (old.id, new.id)
    assert conversations.get(library.user, conversation.id).mode is conversation.mode is Mode.LLM


def texts(conversations: Conversations, library: Library, conversation: Conversation) -> list[str]:
    return [message.content for message in conversations.messages(library.user, conversation.id)]


def test_question_is_asked_in_other_words_beside_the_old_branch(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    for question in ("one", "two", "three"):
        answered(conversations, library, conversation, question)
    second = conversations.messages(library.user, conversation.id)[2]
    edited = conversations.edit(library.user, second.id, "2")
    assert [message.content for message in conversations.asked(library.user, edited.id).history] == [
        "one",
        "Answer to one",
    ]
    conversations.finish(library.user, edited.id, MessageState.DONE, said("Answer to 2"))
    answered(conversations, library, conversation, "3")
    assert texts(conversations, library, conversation) == [
        *("one", "Answer to one", "2", "Answer to 2", "3", "Answer to 3")
    ]
    shown = conversations.messages(library.user, conversation.id)
    assert [len(message.siblings) for message in shown] == [1, 1, 2, 1, 1, 1]
    conversations.show(library.user, second.id)  # to the end of its branch
    assert texts(conversations, library, conversation)[2:] == ["two", "Answer to two", "three", "Answer to three"]
    conversations.show(library.user, shown[2].id)
    assert texts(conversations, library, conversation)[2:] == ["2", "Answer to 2", "3", "Answer to 3"]


def test_first_question_can_be_edited(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answered(conversations, library, conversation, "one")
    first = conversations.messages(library.user, conversation.id)[0]
    edited = conversations.edit(library.user, first.id, "1")
    conversations.finish(library.user, edited.id, MessageState.DONE, said("Answer to 1"))
    shown = conversations.messages(library.user, conversation.id)
    assert (shown[0].content, len(shown[0].siblings), shown[1].siblings) == ("1", 2, (edited.id,))


def test_question_goes_where_its_tab_shows(conversations: Conversations, library: Library) -> None:
    """Another tab may switch the same conversation's knowledge base at any moment."""
    kitchen, garden = Scope.of(library.knowledge_base("Kitchen").id), Scope.of(library.knowledge_base("Garden").id)
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, kitchen)
    conversations.choose(library.user, conversation.id, Mode.WEB)
    answer = conversations.ask(library.user, conversation.id, "Q", choice=(Mode.KNOWLEDGE, garden))
    conversations.finish(library.user, answer.id, MessageState.DONE, said("A"))
    assert (answer.mode, answer.scope) == (Mode.KNOWLEDGE, garden)
    shown = conversations.messages(library.user, conversation.id)
    assert [message.role for message in shown] == [Role.NOTICE, Role.USER, Role.ASSISTANT]
    assert (shown[0].mode, shown[0].scope) == (Mode.KNOWLEDGE, garden)
    edited = conversations.edit(library.user, shown[1].id, "Q2", (Mode.KNOWLEDGE, kitchen))
    assert (edited.mode, edited.scope) == (Mode.KNOWLEDGE, kitchen)
    assert len(conversations.messages(library.user, conversation.id)[1].siblings) == 2
    assert conversations.get(library.user, conversation.id).scope == kitchen


def test_answer_is_rated(conversations: Conversations, library: Library) -> None:
    answer = answered(conversations, library, start(conversations, library), "one")
    assert answer.rating == Rating()
    conversations.rate(library.user, answer.id, Rating(-1, "It is\0 outdated"))
    assert conversations.messages(library.user, answer.conversation_id)[1].rating == Rating(-1, "It is outdated")


def test_only_questions_are_edited(conversations: Conversations, library: Library) -> None:
    answer = answered(conversations, library, start(conversations, library), "one")
    with pytest.raises(NotFound):
        conversations.edit(library.user, answer.id, "What?")


def test_branches_rest_while_an_answer_is_written(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    first = answered(conversations, library, conversation, "one")
    question = conversations.messages(library.user, conversation.id)[0]
    conversations.ask(library.user, conversation.id, "two")
    calls: list[Callable[[], object]] = [
        lambda: conversations.edit(library.user, question.id, "1"),
        lambda: conversations.show(library.user, first.id),
        lambda: conversations.regenerate(library.user, first.id, first.run_id),
    ]
    for call in calls:
        with pytest.raises(AnswerRunning):
            call()


def test_cut_off_answer_is_written_on(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    conversations.finish(library.user, answer.id, MessageState.STOPPED, said("Half of", error=ModelTimeout()))
    begun = conversations.go_on(library.user, answer.id, answer.run_id)
    assert begun
    assert (begun.id, begun.state, begun.content) == (answer.id, MessageState.STREAMING, "Half of")
    assert conversations.go_on(library.user, answer.id, begun.run_id) is None
    # Its process died before it wrote a word.
    assert conversations.finish(library.user, answer.id, MessageState.INTERRUPTED)
    assert conversations.message(library.user, answer.id).content == "Half of"
    assert conversations.go_on(library.user, answer.id, answer.run_id) is None  # a tab that has not seen this run
    whole = conversations.go_on(library.user, answer.id, begun.run_id)
    assert whole
    assert conversations.finish(library.user, answer.id, MessageState.DONE, said("Half of it"), whole.run_id)
    assert conversations.go_on(library.user, answer.id, whole.run_id) is None


def test_branch_of_a_thousand_messages_is_read_and_deleted(
    conversations: Conversations, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = start(conversations, library)
    chain: list[Message] = []
    for ordinal in range(1_500):
        parent = chain[-1].id if chain else None
        text = [TextPart(str(ordinal))]
        chain.append(store.new(conversation.id, ordinal, Role.USER, MessageState.DONE, Mode.LLM, NOWHERE, parent, text))
    with library.database.write() as connection:
        store.insert(connection, chain)
    conversations.show(library.user, chain[0].id)
    shown = conversations.messages(library.user, conversation.id, limit=3)
    assert [message.content for message in shown] == ["1497", "1498", "1499"]
    before = conversations.messages(library.user, conversation.id, limit=2, before=500)
    assert [message.content for message in before] == ["498", "499"]
    after = conversations.messages(library.user, conversation.id, after=1_498)
    assert [message.content for message in after] == ["1499"]
    conversations.delete(library.user, conversation.id)
    monkeypatch.setattr("kb.conversations.UNDO_SECONDS", 0)
    assert conversations.purge() == 1
    with library.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(message_parts)) == 0


def test_history_ends_before_the_question(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answered(conversations, library, conversation, "one")
    knowledge_base = library.knowledge_base("资料")
    conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, Scope.of(knowledge_base.id))
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
        conversations.choose(library.user, conversation.id, mode, Scope.of(knowledge_base))
    notice = conversations.messages(library.user, conversation.id)[-1]
    assert (notice.role, notice.mode, notice.content) == (Role.NOTICE, Mode.KNOWLEDGE, "Second")
    assert [message.ordinal for message in conversations.messages(library.user, conversation.id)] == [0, 1, 2]
    found = conversations.get(library.user, conversation.id)
    assert (found.mode, found.scope) == (Mode.KNOWLEDGE, Scope.of(second.id))


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
    conversations.finish(library.user, answer.id, MessageState.DONE, said("It\0 is."))
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
        conversations.finish(library.user, answer.id, MessageState.DONE, said("Answer"))
    messages = conversations.messages(library.user, conversation.id)
    assert [message.ordinal for message in messages] == list(range(6))


def test_answer_that_another_tab_regenerated_is_left(conversations: Conversations, library: Library) -> None:
    """A tab can still show the failure after another tab regenerated the answer."""
    answer = conversations.ask(library.user, start(conversations, library).id, "one")
    conversations.finish(library.user, answer.id, MessageState.FAILED, said(error=ModelTimeout()))
    again(conversations, library, answer)
    conversations.finish(library.user, answer.id, MessageState.DONE, said("Answer to one"))
    assert conversations.regenerate(library.user, answer.id, answer.run_id) is None
    assert conversations.message(library.user, answer.id).content == "Answer to one"


def test_producer_replaces_a_mistaken_interruption(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answer = conversations.ask(library.user, conversation.id, "Q")
    end = partial(conversations.finish, library.user, answer.id, MessageState.DONE, run_id=answer.run_id)
    assert conversations.finish(library.user, answer.id, MessageState.INTERRUPTED)
    assert end(said("whole"))
    assert not end(said("once more"))
    found = conversations.message(library.user, answer.id)
    assert (found.state, found.content) == (MessageState.DONE, "whole")


def test_earlier_run_does_not_overwrite_the_answer(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    conversations.finish(library.user, answer.id, MessageState.INTERRUPTED)
    second = again(conversations, library, answer)
    end = partial(conversations.finish, library.user, answer.id, MessageState.DONE)
    assert not end(said("the first try's"), run_id=answer.run_id)
    assert end(said("the second try's"), run_id=second.run_id)
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
        ("軟體的發票與頭髮", "发票与头发"),
        ("软件后面的历史", "歷史"),
    ],
)
def test_search_folds_case_in_every_script(
    conversations: Conversations, library: Library, text: str, search: str
) -> None:
    titled, renamed, asked, replied, _other = (start(conversations, library, name) for name in (text, *"BCDE"))
    conversations.rename(library.user, renamed.id, text)
    conversations.ask(library.user, asked.id, text)
    answer = conversations.ask(library.user, replied.id, "Q")
    conversations.finish(library.user, answer.id, MessageState.DONE, said(text))
    found = {conversation.id for conversation in conversations.search(library.user, search)}
    assert found == {titled.id, renamed.id, asked.id, replied.id}


def test_pinned_conversations_come_first(conversations: Conversations, library: Library) -> None:
    first, second, third = (start(conversations, library, name) for name in "ABC")
    for pinned in (first, second, first):  # pinned already: it keeps its place
        conversations.pin(library.user, pinned.id)
    answered(conversations, library, third, "later")

    def listed() -> list[str]:
        return [found.title for found in conversations.search(library.user)]

    assert listed() == ["B", "A", "C"]
    conversations.pin(library.user, second.id, is_pinned=False)
    assert listed() == ["A", "C", "B"]
    assert conversations.get(library.user, first.id).pinned_at
    assert not conversations.get(library.user, second.id).pinned_at


def test_search_is_narrowed_to_a_mode_and_a_knowledge_base(conversations: Conversations, library: Library) -> None:
    kitchen, garden = library.knowledge_base("Kitchen"), library.knowledge_base("Garden")
    start(conversations, library, "Chat about tea")
    for title, mode, scope in (
        ("Tea in the kitchen", Mode.KNOWLEDGE, Scope.of(kitchen.id)),
        ("Tea in both", Mode.TEST, Scope((garden.id, kitchen.id))),
    ):
        conversations.create(library.user, title, mode, scope)

    def found(search: str = "", mode: Mode | None = None, base: UUID | None = None) -> list[str]:
        titles = [each.title for each in conversations.search(library.user, search, 0, 9, mode, base)]
        assert conversations.count(library.user, search, mode, base) == len(titles)
        return titles

    assert found("TEA", mode=Mode.KNOWLEDGE) == ["Tea in the kitchen"]
    assert found(base=kitchen.id) == ["Tea in both", "Tea in the kitchen"]
    assert found(base=garden.id) == ["Tea in both"]
    assert found("kitchen", base=garden.id) == []
    assert found(mode=Mode.TEST, base=kitchen.id) == ["Tea in both"]
    assert found(base=uuid4()) == []
    # What was asked before a switch counts, too; a switch without a question does not.
    switched = conversations.create(library.user, "Tea anywhere", Mode.LLM)
    answered(conversations, library, switched, "What is tea?")
    conversations.choose(library.user, switched.id, Mode.WEB)
    conversations.choose(library.user, switched.id, Mode.KNOWLEDGE, Scope.of(garden.id))
    answered(conversations, library, switched, "And here?")
    conversations.choose(library.user, switched.id, Mode.TEST, Scope.of(kitchen.id))
    assert found("anywhere", mode=Mode.LLM) == found("anywhere", base=garden.id) == ["Tea anywhere"]
    assert found("anywhere", mode=Mode.TEST) == found("anywhere", base=kitchen.id) == ["Tea anywhere"]
    assert found("anywhere", mode=Mode.WEB) == []


def test_deleted_conversation_is_not_found_until_it_is_restored(conversations: Conversations, library: Library) -> None:
    user, conversation = library.user, start(conversations, library)
    answer = answered(conversations, library, conversation, "one")
    question = conversations.messages(user, conversation.id)[0]
    conversations.delete(user, conversation.id)
    calls: list[Callable[[], object]] = [
        lambda: conversations.get(user, conversation.id),
        lambda: conversations.rename(user, conversation.id, "New"),
        lambda: conversations.pin(user, conversation.id),
        lambda: conversations.delete(user, conversation.id),
        lambda: conversations.choose(user, conversation.id, Mode.LLM),
        lambda: conversations.note_choice(user, conversation.id),
        lambda: conversations.messages(user, conversation.id),
        lambda: conversations.tree(user, conversation.id),
        lambda: conversations.message(user, answer.id),
        lambda: conversations.ask(user, conversation.id, "Q"),
        lambda: conversations.edit(user, question.id, "Q"),
        lambda: conversations.regenerate(user, answer.id, answer.run_id),
        lambda: conversations.go_on(user, answer.id, answer.run_id),
        lambda: conversations.show(user, answer.id),
        lambda: conversations.rate(user, answer.id, Rating(1)),
        lambda: conversations.state(user, answer.run_id or answer.id),
        lambda: conversations.asked(user, answer.id),
        lambda: conversations.get(user, uuid4()),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert conversations.search(user) == []
    assert conversations.count(user, "one") == 0
    assert not conversations.lacks_title(user, answer.id)
    assert not conversations.suggest_title(user, answer.id, "Late")
    with pytest.raises(NotFound):
        conversations.restore(library.stranger, conversation.id)
    conversations.restore(user, conversation.id)
    assert texts(conversations, library, conversation) == ["one", "Answer to one"]
    assert conversations.count(user, "one") == 1


def test_answer_of_a_deleted_conversation_keeps_its_text(conversations: Conversations, library: Library) -> None:
    answer = conversations.ask(library.user, start(conversations, library).id, "Q")
    assert [each.is_unwanted for each in conversations.streaming()] == [False]
    conversations.delete(library.user, answer.conversation_id)
    assert [each.is_unwanted for each in conversations.streaming()] == [True]
    assert conversations.finish(library.user, answer.id, MessageState.STOPPED, said("Half"), answer.run_id)
    conversations.restore(library.user, answer.conversation_id)
    assert conversations.message(library.user, answer.id).content == "Half"


def test_purge_removes_what_was_deleted_an_hour_ago(
    conversations: Conversations, library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.conversations.now", clock)
    old, late, kept = (start(conversations, library, name) for name in ("Old", "Late", "Kept"))
    answer = answered(conversations, library, old, "one")
    conversations.delete(library.user, old.id)
    clock.advance(UNDO_SECONDS)
    conversations.delete(library.user, late.id)
    assert conversations.purge() == 0
    clock.advance(1)
    assert conversations.purge() == 1
    with pytest.raises(NotFound):
        conversations.restore(library.user, old.id)
    with pytest.raises(NotFound):
        conversations.finish(library.user, answer.id, MessageState.DONE, said("late"))
    with library.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(message_parts)) == 0
    conversations.restore(library.user, late.id)
    assert {found.id for found in conversations.search(library.user)} == {late.id, kept.id}


def test_model_names_a_conversation_once(conversations: Conversations, library: Library) -> None:
    answer = answered(conversations, library, start(conversations, library), "one")
    assert conversations.lacks_title(library.user, answer.id)
    assert not conversations.suggest_title(library.user, answer.id, " \u200b\n")
    assert conversations.suggest_title(library.user, answer.id, " HNSW\n  индекс ")
    assert not conversations.lacks_title(library.user, answer.id)
    assert not conversations.suggest_title(library.user, answer.id, "Another")
    named = conversations.get(library.user, answer.conversation_id)
    assert (named.title, named.is_named) == ("HNSW индекс", True)
    assert conversations.search(library.user, "ИНДЕКС") == [named]


def test_title_of_the_user_is_never_replaced(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    answer = answered(conversations, library, conversation, "one")
    conversations.rename(library.user, conversation.id, conversation.title)
    assert not conversations.suggest_title(library.user, answer.id, "The model's")
    assert conversations.get(library.user, conversation.id).title == conversation.title


def test_tree_holds_all_branches_with_all_parts(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    old = answered(conversations, library, conversation, "Q")
    new = again(conversations, library, old)
    found = Retrieval("Q", (), Trace((), RetrievalProfile(), 1.0))
    conversations.finish(library.user, new.id, MessageState.DONE, said("Other [1]", retrieval=found))
    question, first, second = conversations.tree(library.user, conversation.id)
    assert [message.content for message in (question, first, second)] == ["Q", "Answer to Q", "Other [1]"]
    assert first.parent_id == second.parent_id == question.id
    assert second.retrieval == found


def test_conversations_outlive_their_knowledge_base(conversations: Conversations, library: Library) -> None:
    knowledge_base = library.knowledge_base()
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, Scope.of(knowledge_base.id))
    answered(conversations, library, conversation, "one")
    library.knowledge_bases.delete(library.user, knowledge_base.id)
    assert len(conversations.messages(library.user, conversation.id)) == 2


def test_deleted_knowledge_base_cannot_be_chosen(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    for gone in (uuid4(), library.knowledge_base("Theirs", owner=library.stranger).id):
        with pytest.raises(NotFound):
            conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, Scope.of(gone))
    assert conversations.get(library.user, conversation.id).scope == NOWHERE


def test_other_users_cannot_access_conversations(conversations: Conversations, library: Library) -> None:
    stranger, theirs = library.stranger, library.knowledge_base("Theirs", owner=library.stranger)
    conversation = start(conversations, library)
    answer = conversations.ask(library.user, conversation.id, "Q")
    calls: list[Callable[[], object]] = [
        lambda: conversations.get(stranger, conversation.id),
        lambda: conversations.rename(stranger, conversation.id, "Mine"),
        lambda: conversations.pin(stranger, conversation.id),
        lambda: conversations.delete(stranger, conversation.id),
        lambda: conversations.restore(stranger, conversation.id),
        lambda: conversations.tree(stranger, conversation.id),
        lambda: conversations.choose(stranger, conversation.id, Mode.LLM),
        lambda: conversations.choose(stranger, conversation.id, Mode.KNOWLEDGE, Scope.of(theirs.id)),
        lambda: conversations.note_choice(stranger, conversation.id),
        lambda: conversations.messages(stranger, conversation.id),
        lambda: conversations.message(stranger, answer.id),
        lambda: conversations.ask(stranger, conversation.id, "Q"),
        lambda: conversations.edit(stranger, conversations.messages(library.user, conversation.id)[0].id, "Q"),
        lambda: conversations.regenerate(stranger, answer.id, answer.run_id),
        lambda: conversations.go_on(stranger, answer.id, answer.run_id),
        lambda: conversations.show(stranger, answer.id),
        lambda: conversations.rate(stranger, answer.id, Rating(1)),
        lambda: conversations.state(stranger, answer.run_id or answer.id),
        lambda: conversations.asked(stranger, answer.id),
        lambda: conversations.finish(stranger, answer.id, MessageState.DONE, said("x")),
        lambda: conversations.create(library.user, "Q", Mode.KNOWLEDGE, Scope.of(theirs.id)),
        lambda: conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, Scope.of(theirs.id)),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert not conversations.lacks_title(stranger, answer.id)
    assert not conversations.suggest_title(stranger, answer.id, "Mine")
    assert conversations.search(stranger) == []
    assert conversations.count(stranger) == 0
    assert conversations.message(library.user, answer.id).state is MessageState.STREAMING
    assert conversations.get(library.user, conversation.id).mode is Mode.LLM
