"""Conversations and the trees of their messages, in SQL.

`Conversations` finds, names and deletes them; `Messages` asks in them, and reads and keeps what was answered;
`ConversationLinks` shares them. The messages themselves, without SQL, are in `kb.messages`.
"""

from __future__ import annotations

from kb.conversations.asking import Asked, Messages, Streaming
from kb.conversations.catalogue import MOST_TITLE_CHARACTERS, UNDO_SECONDS, Conversations
from kb.conversations.links import ConversationLinks, Link, SharedConversation
from kb.conversations.message_rows import MESSAGE
from kb.conversations.rows import CONVERSATION

__all__ = [
    "CONVERSATION",
    "MESSAGE",
    "MOST_TITLE_CHARACTERS",
    "UNDO_SECONDS",
    "Asked",
    "ConversationLinks",
    "Conversations",
    "Link",
    "Messages",
    "SharedConversation",
    "Streaming",
]
