"""Conversations, on SQLite and PostgreSQL: creating, finding, naming, choosing, deleting, and whose they are."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb.conversations import UNDO_SECONDS, Conversations, Messages
from kb.database.tables import message_parts
from kb.errors import InvalidName, NotFound
from kb.messages import Rating
from kb.models import NOWHERE, MessageState, Mode, Role, Scope
from tests.conftest import Clock, Library
from tests.kb.talks import answered, start, texts
from tests.messages import said
from tests.statements import counted_statements


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


def test_mode_switches_leave_one_notice(conversations: Conversations, messages: Messages, library: Library) -> None:
    conversation = start(conversations, library)
    answered(messages, library, conversation, "one")
    first, second = library.knowledge_base("First"), library.knowledge_base("Second")
    choices = [(Mode.KNOWLEDGE, first.id), (Mode.TEST, first.id), (Mode.KNOWLEDGE, second.id)]
    for mode, knowledge_base in [*choices, choices[-1]]:
        conversations.choose(library.user, conversation.id, mode, Scope.of(knowledge_base))
    notice = messages.shown(library.user, conversation.id)[-1]
    assert (notice.role, notice.mode, notice.content) == (Role.NOTICE, Mode.KNOWLEDGE, "Second")
    assert [message.ordinal for message in messages.shown(library.user, conversation.id)] == [0, 1, 2]
    found = conversations.get(library.user, conversation.id)
    assert (found.mode, found.scope) == (Mode.KNOWLEDGE, Scope.of(second.id))


def test_characters_that_databases_refuse_are_dropped(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library, "a\0b")
    answer = messages.ask(library.user, conversation.id, "What\0 is\ud800 it?")
    messages.finish(library.user, answer.id, MessageState.DONE, said("It\0 is."))
    shown = messages.shown(library.user, conversation.id)
    assert [message.content for message in shown] == ["What is it?", "It is."]
    assert conversations.count(library.user, "Wh\0at") == 1


def test_search_covers_titles_and_messages(conversations: Conversations, messages: Messages, library: Library) -> None:
    titled = start(conversations, library, "Milvus 索引")
    spoken = start(conversations, library, "Other")
    answered(messages, library, spoken, "100% of what an INDEX costs_x")
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
    conversations: Conversations, messages: Messages, library: Library, text: str, search: str
) -> None:
    titled, renamed, asked, replied, _other = (start(conversations, library, name) for name in (text, *"BCDE"))
    conversations.rename(library.user, renamed.id, text)
    messages.ask(library.user, asked.id, text)
    answer = messages.ask(library.user, replied.id, "Q")
    messages.finish(library.user, answer.id, MessageState.DONE, said(text))
    found = {conversation.id for conversation in conversations.search(library.user, search)}
    assert found == {titled.id, renamed.id, asked.id, replied.id}


def test_pinned_conversations_come_first(conversations: Conversations, messages: Messages, library: Library) -> None:
    first, second, third = (start(conversations, library, name) for name in "ABC")
    for pinned in (first, second, first):  # pinned already: it keeps its place
        conversations.pin(library.user, pinned.id)
    answered(messages, library, third, "later")

    def listed() -> list[str]:
        return [found.title for found in conversations.search(library.user)]

    assert listed() == ["B", "A", "C"]
    conversations.pin(library.user, second.id, is_pinned=False)
    assert listed() == ["A", "C", "B"]
    assert conversations.get(library.user, first.id).pinned_at
    assert not conversations.get(library.user, second.id).pinned_at


def test_search_is_narrowed_to_a_mode_and_a_knowledge_base(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
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
    answered(messages, library, switched, "What is tea?")
    conversations.choose(library.user, switched.id, Mode.WEB)
    conversations.choose(library.user, switched.id, Mode.KNOWLEDGE, Scope.of(garden.id))
    answered(messages, library, switched, "And here?")
    conversations.choose(library.user, switched.id, Mode.TEST, Scope.of(kitchen.id))
    assert found("anywhere", mode=Mode.LLM) == found("anywhere", base=garden.id) == ["Tea anywhere"]
    assert found("anywhere", mode=Mode.TEST) == found("anywhere", base=kitchen.id) == ["Tea anywhere"]
    assert found("anywhere", mode=Mode.WEB) == []


def test_deleted_conversation_is_not_found_until_it_is_restored(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    user, conversation = library.user, start(conversations, library)
    answer = answered(messages, library, conversation, "one")
    question = messages.shown(user, conversation.id)[0]
    conversations.delete(user, conversation.id)
    calls: list[Callable[[], object]] = [
        lambda: conversations.get(user, conversation.id),
        lambda: conversations.rename(user, conversation.id, "New"),
        lambda: conversations.pin(user, conversation.id),
        lambda: conversations.delete(user, conversation.id),
        lambda: conversations.choose(user, conversation.id, Mode.LLM),
        lambda: conversations.note_choice(user, conversation.id),
        lambda: messages.shown(user, conversation.id),
        lambda: messages.tree(user, conversation.id),
        lambda: messages.get(user, answer.id),
        lambda: messages.ask(user, conversation.id, "Q"),
        lambda: messages.edit(user, question.id, "Q"),
        lambda: messages.regenerate(user, answer.id, answer.run_id),
        lambda: messages.go_on(user, answer.id, answer.run_id),
        lambda: messages.show(user, answer.id),
        lambda: messages.rate(user, answer.id, Rating(1)),
        lambda: messages.state(user, answer.run_id or answer.id),
        lambda: messages.asked(user, answer.id),
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
    assert texts(messages, library, conversation) == ["one", "Answer to one"]
    assert conversations.count(user, "one") == 1


def test_purge_removes_what_was_deleted_an_hour_ago(
    conversations: Conversations, messages: Messages, library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.conversations.catalogue.now", clock)
    old, late, kept = (start(conversations, library, name) for name in ("Old", "Late", "Kept"))
    answer = answered(messages, library, old, "one")
    conversations.delete(library.user, old.id)
    clock.advance(UNDO_SECONDS)
    conversations.delete(library.user, late.id)
    assert conversations.purge() == 0
    clock.advance(1)
    assert conversations.purge() == 1
    with pytest.raises(NotFound):
        conversations.restore(library.user, old.id)
    with pytest.raises(NotFound):
        messages.finish(library.user, answer.id, MessageState.DONE, said("late"))
    with library.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(message_parts)) == 0
    conversations.restore(library.user, late.id)
    assert {found.id for found in conversations.search(library.user)} == {late.id, kept.id}


def test_many_conversations_are_purged_some_at_a_time(
    conversations: Conversations, library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.conversations.catalogue.now", clock)
    monkeypatch.setattr("kb.conversations.catalogue.PURGED_AT_ONCE", 2)
    for number in range(5):
        conversations.delete(library.user, start(conversations, library, str(number)).id)
    clock.advance(UNDO_SECONDS + 1)
    with counted_statements(library.database) as statements:
        assert conversations.purge() == 5
    assert [statement.split()[0] for statement in statements] == ["SELECT", "DELETE"] * 3


def test_conversations_without_a_question_for_long_expire(
    conversations: Conversations, messages: Messages, library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("catalogue", "asking"):
        monkeypatch.setattr(f"kb.conversations.{module}.now", clock)
    _old, pinned, active = (start(conversations, library, name) for name in ("Old", "Pinned", "Active"))
    conversations.pin(library.user, pinned.id)
    clock.advance(20 * 86_400)
    answered(messages, library, active, "one")
    clock.advance(10 * 86_400)
    assert conversations.expire(days=30) == 0
    clock.advance(1)
    assert conversations.expire(days=30) == 1
    assert {found.id for found in conversations.search(library.user)} == {pinned.id, active.id}
    assert conversations.purge() == 0
    clock.advance(UNDO_SECONDS + 1)
    assert conversations.purge() == 1  # as what a user deleted; a worker then clears its files


def test_model_names_a_conversation_once(conversations: Conversations, messages: Messages, library: Library) -> None:
    answer = answered(messages, library, start(conversations, library), "one")
    assert conversations.lacks_title(library.user, answer.id)
    assert not conversations.suggest_title(library.user, answer.id, " \u200b\n")
    assert conversations.suggest_title(library.user, answer.id, " HNSW\n  индекс ")
    assert not conversations.lacks_title(library.user, answer.id)
    assert not conversations.suggest_title(library.user, answer.id, "Another")
    named = conversations.get(library.user, answer.conversation_id)
    assert (named.title, named.is_named) == ("HNSW индекс", True)
    assert conversations.search(library.user, "ИНДЕКС") == [named]


def test_title_of_the_user_is_never_replaced(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    conversation = start(conversations, library)
    answer = answered(messages, library, conversation, "one")
    conversations.rename(library.user, conversation.id, conversation.title)
    assert not conversations.suggest_title(library.user, answer.id, "The model's")
    assert conversations.get(library.user, conversation.id).title == conversation.title


def test_conversations_outlive_their_knowledge_base(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    knowledge_base = library.knowledge_base()
    conversation = conversations.create(library.user, "Q", Mode.KNOWLEDGE, Scope.of(knowledge_base.id))
    answered(messages, library, conversation, "one")
    library.knowledge_bases.delete(library.user, knowledge_base.id)
    assert len(messages.shown(library.user, conversation.id)) == 2


def test_deleted_knowledge_base_cannot_be_chosen(conversations: Conversations, library: Library) -> None:
    conversation = start(conversations, library)
    for gone in (uuid4(), library.knowledge_base("Theirs", owner=library.stranger).id):
        with pytest.raises(NotFound):
            conversations.choose(library.user, conversation.id, Mode.KNOWLEDGE, Scope.of(gone))
    assert conversations.get(library.user, conversation.id).scope == NOWHERE


def test_other_users_cannot_access_conversations(
    conversations: Conversations, messages: Messages, library: Library
) -> None:
    stranger, theirs = library.stranger, library.knowledge_base("Theirs", owner=library.stranger)
    conversation = start(conversations, library)
    answer = messages.ask(library.user, conversation.id, "Q")
    calls: list[Callable[[], object]] = [
        lambda: conversations.get(stranger, conversation.id),
        lambda: conversations.rename(stranger, conversation.id, "Mine"),
        lambda: conversations.pin(stranger, conversation.id),
        lambda: conversations.delete(stranger, conversation.id),
        lambda: conversations.restore(stranger, conversation.id),
        lambda: messages.tree(stranger, conversation.id),
        lambda: conversations.choose(stranger, conversation.id, Mode.LLM),
        lambda: conversations.choose(stranger, conversation.id, Mode.KNOWLEDGE, Scope.of(theirs.id)),
        lambda: conversations.note_choice(stranger, conversation.id),
        lambda: messages.shown(stranger, conversation.id),
        lambda: messages.get(stranger, answer.id),
        lambda: messages.ask(stranger, conversation.id, "Q"),
        lambda: messages.edit(stranger, messages.shown(library.user, conversation.id)[0].id, "Q"),
        lambda: messages.regenerate(stranger, answer.id, answer.run_id),
        lambda: messages.go_on(stranger, answer.id, answer.run_id),
        lambda: messages.show(stranger, answer.id),
        lambda: messages.rate(stranger, answer.id, Rating(1)),
        lambda: messages.state(stranger, answer.run_id or answer.id),
        lambda: messages.asked(stranger, answer.id),
        lambda: messages.finish(stranger, answer.id, MessageState.DONE, said("x")),
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
    assert messages.get(library.user, answer.id).state is MessageState.STREAMING
    assert conversations.get(library.user, conversation.id).mode is Mode.LLM
