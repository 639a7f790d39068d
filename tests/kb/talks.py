"""Conversations of tests, and what is asked in them."""

from __future__ import annotations

from kb.conversations import Conversations, Messages
from kb.messages import Message
from kb.models import Conversation, MessageState, Mode
from tests.conftest import Library
from tests.messages import said


def start(conversations: Conversations, library: Library, question: str = "What is HNSW?") -> Conversation:
    return conversations.create(library.user, question, Mode.LLM)


def answered(messages: Messages, library: Library, conversation: Conversation, question: str) -> Message:
    answer = messages.ask(library.user, conversation.id, question)
    messages.finish(library.user, answer.id, MessageState.DONE, said(f"Answer to {question}", model="m"))
    return messages.get(library.user, answer.id)


def again(messages: Messages, library: Library, answer: Message) -> Message:
    """The answer, as it is to be written again."""
    regenerated = messages.regenerate(library.user, answer.id, answer.run_id)
    assert regenerated
    return regenerated


def texts(messages: Messages, library: Library, conversation: Conversation) -> list[str]:
    return [message.content for message in messages.shown(library.user, conversation.id)]
