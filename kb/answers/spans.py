"""How an answer appears in a trace."""

from __future__ import annotations

from uuid import UUID

from kb import tracing
from kb.answering import Question
from kb.errors import KbError
from kb.models import MessageState


def answer_span(question: Question, message_id: UUID | None = None) -> tracing.Span:
    """`message_id`: of the answer, where a conversation keeps it; the log knows it, too."""
    if not tracing.is_on():
        return tracing.NO_SPAN
    ids = {"zhiwen.message.id": message_id, "gen_ai.conversation.id": question.conversation_id}
    mode = question.mode.value
    attributes = {"zhiwen.answer.mode": mode, **{name: str(value) for name, value in ids.items() if value}}
    return tracing.span(f"answer {mode}", attributes)


def note_end(span: tracing.Span, state: MessageState, error: KbError | None, first_token_ms: float, model: str) -> None:
    """`first_token_ms` is 0, and `model` empty, if none answered."""
    span.note({"zhiwen.answer.state": state.value})
    if model:
        span.note({"gen_ai.request.model": model})
    if first_token_ms:
        span.event("first token", first_token_ms)
    if error:
        span.fail(error)
