"""What may be asked, in a chat and in a test."""

from __future__ import annotations

from kb.errors import QuestionTooLong

QUESTION_CHARACTERS = 20_000


def check_question(question: str) -> None:
    """Errors: `QuestionTooLong`."""
    if len(question) > QUESTION_CHARACTERS:
        raise QuestionTooLong(count=f"{len(question):,}", most=f"{QUESTION_CHARACTERS:,}")
