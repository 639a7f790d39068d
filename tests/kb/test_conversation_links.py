"""Links to conversations, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from kb.conversations import ConversationLinks, Conversations, Messages
from kb.database.tables import now, users
from kb.errors import NotFound
from kb.models import Conversation, Mode
from tests.conftest import Library
from tests.kb.talks import again, answered, start


@pytest.fixture
def links(library: Library) -> ConversationLinks:
    return ConversationLinks(library.database)


@pytest.fixture
def conversation(conversations: Conversations, messages: Messages, library: Library) -> Conversation:
    conversation = start(conversations, library)
    answered(messages, library, conversation, "one")
    return conversation


def read(links: ConversationLinks, token: str) -> list[str]:
    return [message.content for message in links.read(token).messages]


def test_link_shows_what_was_said_until_then(
    links: ConversationLinks, messages: Messages, library: Library, conversation: Conversation
) -> None:
    assert links.find(library.user, conversation.id) is None
    link = links.share(library.user, conversation.id)
    assert links.find(library.user, conversation.id) == link
    shared = links.read(link.token)
    assert (shared.title, shared.owner_name) == (conversation.title, "user")
    assert read(links, link.token) == ["one", "Answer to one"]
    later = answered(messages, library, conversation, "two")
    assert read(links, link.token) == ["one", "Answer to one"]
    with pytest.raises(NotFound):
        links.message(link.token, later.id)
    found = links.find(library.user, conversation.id)
    assert found
    assert found.is_older
    renewed = links.share(library.user, conversation.id)
    assert (renewed.token, renewed.is_older) == (link.token, False)
    assert read(links, link.token)[2:] == ["two", "Answer to two"]
    assert links.message(link.token, later.id).content == "Answer to two"


def test_link_opens_nothing_while_its_owner_is_suspended(
    links: ConversationLinks, library: Library, conversation: Conversation
) -> None:
    token = links.share(library.user, conversation.id).token
    suspend = sa.update(users).where(users.c.id == library.user.user_id)
    with library.database.write() as connection:
        connection.execute(suspend.values(suspended_at=now()))
    with pytest.raises(NotFound):
        links.read(token)
    with library.database.write() as connection:
        connection.execute(suspend.values(suspended_at=None))
    assert read(links, token)


def test_switched_mode_changes_no_link(
    links: ConversationLinks, conversations: Conversations, library: Library, conversation: Conversation
) -> None:
    """The notice that ends a branch goes as soon as another one follows."""
    conversations.choose(library.user, conversation.id, Mode.WEB)
    link = links.share(library.user, conversation.id)
    assert links.find(library.user, conversation.id) == link
    conversations.choose(library.user, conversation.id, Mode.LLM)
    assert links.find(library.user, conversation.id) == link
    assert read(links, link.token) == ["one", "Answer to one"]


def test_other_versions_are_not_shared(
    links: ConversationLinks, messages: Messages, library: Library, conversation: Conversation
) -> None:
    """Only the branch that was shown, also if another one is shown since."""
    token = links.share(library.user, conversation.id).token
    first = messages.shown(library.user, conversation.id)[-1]
    other = again(messages, library, messages.get(library.user, first.id))
    assert read(links, token) == ["one", "Answer to one"]
    with pytest.raises(NotFound):
        links.message(token, other.id)
    assert links.message(token, first.id).content == "Answer to one"


def test_answer_that_is_being_written_is_shown_once_it_has_ended(
    links: ConversationLinks, messages: Messages, library: Library, conversation: Conversation
) -> None:
    messages.ask(library.user, conversation.id, "two")
    assert read(links, links.share(library.user, conversation.id).token) == ["one", "Answer to one", "two"]


@pytest.mark.parametrize("token", ["", "x", "\0", "\ud800", "x" * 10_000])
def test_made_up_link_opens_nothing(links: ConversationLinks, conversation: Conversation, token: str) -> None:
    with pytest.raises(NotFound):
        links.read(token)


def test_withdrawn_link_opens_nothing(
    links: ConversationLinks, messages: Messages, library: Library, conversation: Conversation
) -> None:
    token = links.share(library.user, conversation.id).token
    message = messages.shown(library.user, conversation.id)[-1]
    links.withdraw(library.user, conversation.id)
    links.withdraw(library.user, conversation.id)
    assert links.find(library.user, conversation.id) is None
    for wrong in (token, "", "x" * 5000):
        with pytest.raises(NotFound):
            links.read(wrong)
        with pytest.raises(NotFound):
            links.message(wrong, message.id)
    assert links.share(library.user, conversation.id).token != token


def test_deleted_conversation_is_not_shared(
    links: ConversationLinks, conversations: Conversations, library: Library, conversation: Conversation
) -> None:
    token = links.share(library.user, conversation.id).token
    conversations.delete(library.user, conversation.id)
    with pytest.raises(NotFound):
        links.read(token)
    conversations.restore(library.user, conversation.id)
    assert read(links, token) == ["one", "Answer to one"]


def test_only_the_owner_makes_and_sees_links(
    links: ConversationLinks, library: Library, conversation: Conversation
) -> None:
    links.share(library.user, conversation.id)
    for call in (links.share, links.find, links.withdraw):
        with pytest.raises(NotFound):
            call(library.stranger, conversation.id)


def test_conversation_without_a_question_cannot_be_shared(
    links: ConversationLinks, conversations: Conversations, library: Library
) -> None:
    with pytest.raises(NotFound):
        links.share(library.user, start(conversations, library).id)
