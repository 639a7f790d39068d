"""Answers of chat models over OpenAI's protocol, piece by piece."""

from kb.completions.client import ChatClient, preload
from kb.completions.pieces import Piece, Reasoning, TextPiece, TextWasReasoning, Usage, text_of
from kb.completions.thoughts import Thoughts

__all__ = [
    "ChatClient",
    "Piece",
    "Reasoning",
    "TextPiece",
    "TextWasReasoning",
    "Thoughts",
    "Usage",
    "preload",
    "text_of",
]
