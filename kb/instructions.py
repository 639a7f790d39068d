"""Instructions that a program gives with its question, as the system messages of OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Sequence

from kb.languages import Language
from kb.prompts import ChatMessage

# They stand behind the rules and passages, so that what they say of the form counts, and that of the sources stays.
LEAD_EN = """\
Follow these instructions, too. Where they differ from the rules above on the language, the form or the tone of the \
answer, these count:"""
LEAD_ZH = "此外请遵守以下指令。如果它们对回答的语言、形式或语气的要求与上面的要求不同，以这些指令为准："


def add_instructions(messages: Sequence[ChatMessage], instructions: str, language: Language) -> list[ChatMessage]:
    """With the instructions behind our own rules for an answer from passages."""
    if not instructions:
        return list(messages)
    (role, rules), *others = messages
    return [(role, f"{rules}\n\n{language.pick(LEAD_EN, LEAD_ZH)}\n\n{instructions}"), *others]


def replace_rules(messages: Sequence[ChatMessage], instructions: str) -> list[ChatMessage]:
    """With the instructions in place of ours for a plain chat, which are about the language only."""
    if not instructions:
        return list(messages)
    return [("system", instructions), *messages[1:]]
