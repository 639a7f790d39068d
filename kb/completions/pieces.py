"""The pieces of a model's answer, as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thinks before, or while, it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class TextWasReasoning:
    """All text so far was reasoning: its closing tag came without an opening one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How many tokens the whole request and the whole answer took, as the server counts them. Comes last, if at all."""

    input_tokens: int
    output_tokens: int


Piece = TextPiece | Reasoning | TextWasReasoning | Usage


async def text_of(pieces: AsyncIterator[Piece], most_characters: int | None = None) -> str:
    """What a model says in all, without its thoughts; read no further once it has more than `most_characters`."""
    text = ""
    async for piece in pieces:
        match piece:
            case TextPiece():
                text += piece.text
            case TextWasReasoning():
                text = ""
        if most_characters is not None and len(text) > most_characters:
            break
    return text
