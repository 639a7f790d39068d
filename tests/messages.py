"""What the messages of tests consist of."""

from __future__ import annotations

from kb.errors import KbError
from kb.messages import ErrorPart, Part, ReasoningPart, TextPart, UsagePart, given_from
from kb.models import Retrieval


def said(
    text: str = "",
    model: str = "",
    reasoning: str = "",
    retrieval: Retrieval | None = None,
    error: KbError | None = None,
) -> list[Part]:
    """The parts of a message, as the run of an answer makes them."""
    parts: list[Part] = [ReasoningPart(reasoning)] if reasoning else []
    parts += [TextPart(text)] if text else []
    parts += given_from(retrieval) if retrieval else []
    parts += [UsagePart(model)] if model else []
    parts += [ErrorPart(error.code, error.values)] if error else []
    return parts
