"""The messages of conversations: asking on one of their branches, the runs of an answer, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from kb.access import Permission, Principal, can
from kb.conversations import message_rows, rows
from kb.conversations.message_rows import MESSAGE
from kb.database import Database
from kb.database.tables import conversations, messages, now
from kb.errors import AnswerRunning, NotFound
from kb.formats import to_json
from kb.messages import (
    Attached,
    AttachmentsPart,
    ErrorPart,
    Message,
    Part,
    PassagesPart,
    Rating,
    SupportPart,
    TextPart,
    UsagePart,
    WebPart,
)
from kb.models import NOWHERE, MessageState, Mode, Role, Scope, known
from kb.names import clean_text
from kb.questions import check_question
from kb.usage import AnswerEnd, record_answer

REASON_CHARACTERS = 1_000  # of what somebody has against an answer
HISTORY_MESSAGES = 200  # read before a question: more than the window of most models holds

_STATE = (
    sa.select(messages.c.state)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(messages.c.run_id == sa.bindparam("of_run"), rows.OF_USER)
)


@dataclass(frozen=True, slots=True)
class Streaming:
    """A running answer of any user."""

    message_id: UUID
    run_id: UUID
    owner_id: UUID
    is_unwanted: bool = False  # its conversation was deleted


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, its question, and the messages before the question on its branch, oldest first.

    The messages before have their texts alone.
    """

    answer: Message
    question: Message
    history: Sequence[Message]


class Messages:
    """Every call but `streaming` takes the acting user."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading ---

    def shown(
        self,
        principal: Principal,
        conversation_id: UUID,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
    ) -> Sequence[Message]:
        """The last `limit` messages between two ordinals on the branch that is shown, the oldest first.

        They name their passages (`sources`), but lack the retrieval.
        """
        with self._database.read() as connection:
            rows.own(connection, principal, conversation_id)
            # Read with the messages: another notice may take the place of the last one meanwhile.
            shown = sa.select(conversations.c.shown_id).where(conversations.c.id == conversation_id).scalar_subquery()
            found = message_rows.branch(connection, shown, limit, before, after)
            return message_rows.with_siblings(connection, conversation_id, found)

    def tree(self, principal: Principal, conversation_id: UUID) -> Sequence[Message]:
        """All messages of all branches with all their parts, the oldest first."""
        with self._database.read() as connection:
            rows.own(connection, principal, conversation_id)
            return message_rows.tree(connection, conversation_id)

    def get(self, principal: Principal, message_id: UUID) -> Message:
        """The message with all its parts, but without its siblings."""
        with self._database.read() as connection:
            return message_rows.read(connection, principal, message_id)

    def state(self, principal: Principal, run_id: UUID) -> MessageState:
        """The state of the answer of a run without its content, for frequent polling. Errors: `NotFound`."""
        with self._database.read() as connection:
            state = connection.scalar(_STATE, {"of_run": run_id} | principal.binds)
        if state is None:
            raise NotFound(what=MESSAGE)
        return MessageState(state)

    def streaming(self) -> list[Streaming]:
        """The running answers of all users, with those that nobody waits for any more."""
        columns = messages.c.id, messages.c.run_id, conversations.c.owner_id, conversations.c.deleted_at.is_not(None)
        statement = (
            sa.select(*columns)
            .join(conversations, conversations.c.id == messages.c.conversation_id)
            .where(messages.c.state == MessageState.STREAMING.value)
        )
        with self._database.read() as connection:
            return [Streaming(*row) for row in connection.execute(statement)]

    # --- asking: each returns the answer that a run is to write ---

    def ask(
        self,
        principal: Principal,
        conversation_id: UUID,
        question: str,
        attached: Sequence[Attached] = (),
        choice: tuple[Mode, Scope] | None = None,
        new_id: UUID | None = None,
    ) -> Message:
        """Add a question and its empty answer to the branch that is shown.

        `attached`: the files that come with it. `choice`: the mode and the scope that the user sees, which another tab
        may have switched since; without it, the conversation's. `new_id`: that of the answer. Errors: `NotFound`;
        `QuestionTooLong`; `AnswerRunning`, because a conversation has one running answer at a time.
        """
        check_question(question)
        with self._database.write() as connection:
            row = rows.own(connection, principal, conversation_id, lock=True)
            if choice and rows.choose(connection, principal, row, *choice):
                row = rows.own(connection, principal, conversation_id)
            return _ask(connection, row, row.shown_id, question, attached, new_id)

    def edit(
        self, principal: Principal, message_id: UUID, question: str, choice: tuple[Mode, Scope] | None = None
    ) -> Message:
        """Ask a question in other words; the old branch stays beside it. `choice` as in `ask`.

        The files that came with it come with it again. Errors: `NotFound`, `QuestionTooLong`, `AnswerRunning`.
        """
        check_question(question)
        with self._database.write() as connection:
            asked, row = rows.own_pair(connection, principal, message_id)
            if asked.role != Role.USER.value:
                raise NotFound(what=MESSAGE)
            if choice and rows.switch(connection, principal, row, *choice) is not None:
                row = rows.own(connection, principal, row.id)
            attached = message_rows.read(connection, principal, message_id).attached
            return _ask(connection, row, asked.parent_id, question, attached)

    def regenerate(
        self,
        principal: Principal,
        message_id: UUID,
        run_id: UUID | None,
        is_beside: bool = False,
        mode: Mode | None = None,
    ) -> Message | None:
        """Have the answer of a run written again: beside the old one, or in its place if that has no text.

        `is_beside`: beside it in any case. `mode`: in another mode than the old one, which is the conversation's still,
        and without its scope if that mode uses none.
        Returns None if it is being written, or if another run has written it since. Errors: `NotFound`,
        `AnswerRunning` if another answer is being written.
        """
        with self._database.write() as connection:
            old, row = rows.own_pair(connection, principal, message_id)
            ordinal, streaming = message_rows.state_of(connection, row.id)
            if streaming == message_id or old.run_id != run_id:
                return None
            if streaming:
                raise AnswerRunning
            if not is_beside and not message_rows.read(connection, principal, message_id).content:
                message_rows.replace_parts(connection, message_id, ())
                return _reopen(connection, principal, old, row)
            scope = NOWHERE if mode and not mode.uses_documents else message_rows.read_scope(old.scope)
            mode = mode or known(old.mode, Mode.KNOWLEDGE)
            again = message_rows.new(
                row.id, ordinal, Role.ASSISTANT, MessageState.STREAMING, mode, scope, old.parent_id
            )
            message_rows.insert(connection, [again])
            _show(connection, row.id, again.id)
            return again

    def go_on(self, principal: Principal, message_id: UUID, run_id: UUID | None) -> Message | None:
        """Have the answer of a run that ended early written on; what it says stays.

        Returns None if it is being written, or is complete by now. Errors: `NotFound`, `AnswerRunning`.
        """
        with self._database.write() as connection:
            old, row = rows.own_pair(connection, principal, message_id)
            if old.state in (MessageState.STREAMING.value, MessageState.DONE.value) or old.run_id != run_id:
                return None
            if message_rows.state_of(connection, row.id)[1]:
                raise AnswerRunning
            return _reopen(connection, principal, old, row)

    # --- for the run ---

    def asked(self, principal: Principal, message_id: UUID) -> Asked:
        """The answer `message_id` with its question and history. Errors: `NotFound`."""
        with self._database.read() as connection:
            message_rows.own_row(connection, principal, message_id)
            said = TextPart.kind, AttachmentsPart.kind
            *history, answer = message_rows.branch(connection, message_id, HISTORY_MESSAGES + 1, kinds=said)
            if answer.content:  # to be written on, with all that it has
                answer = message_rows.whole(connection, message_id)
        if not history or history[-1].role is not Role.USER:
            raise NotFound(what=MESSAGE)
        *history, question = history
        return Asked(answer, question, history)

    def finish(
        self,
        principal: Principal,
        message_id: UUID,
        state: MessageState,
        parts: Sequence[Part] | None = None,
        run_id: UUID | None = None,
    ) -> bool:
        """Store how an answer ended. Returns False, and changes nothing, if it had already ended.

        Without `parts` it keeps those that it has. With `run_id`, the producer's run, this also replaces a mistaken
        interruption, but never the answer of a later run. A deleted conversation, which can be restored, keeps the
        text, too. Errors: `NotFound` for a message that is gone for good.
        """
        open_states = [MessageState.STREAMING.value, *([MessageState.INTERRUPTED.value] if run_id else [])]
        own = sa.select(conversations.c.id).where(can(Permission.OWN, conversations, principal))
        is_own = sa.and_(messages.c.id == message_id, messages.c.conversation_id.in_(own))
        end = sa.update(messages).where(is_own, messages.c.state.in_(open_states))
        if run_id:
            end = end.where(messages.c.run_id == run_id)
        end = end.values(state=state.value, finished_at=now())
        ended = end.returning(messages.c.run_id, messages.c.parent_id, messages.c.mode)
        with self._database.write() as connection:
            row = connection.execute(ended).one_or_none()
            if row is None:
                if connection.scalar(sa.select(messages.c.id).where(is_own)) is None:
                    raise NotFound(what=MESSAGE)
                return False
            if parts is not None:
                message_rows.replace_parts(connection, message_id, parts)
            record_answer(connection, _end(principal, message_id, row, state, parts or ()))
            return True

    # --- afterwards ---

    def show(self, principal: Principal, message_id: UUID) -> None:
        """Show the branch through a message, to its newest end. Errors: `NotFound`, `AnswerRunning`."""
        with self._database.write() as connection:
            _message, row = rows.own_pair(connection, principal, message_id)
            if message_rows.state_of(connection, row.id)[1]:
                raise AnswerRunning
            shown = message_rows.newest_end(connection, message_id)
            connection.execute(rows.change(row.id).values(shown_id=shown))

    def rate(self, principal: Principal, message_id: UUID, rating: Rating) -> None:
        """Keep what the user thinks of an answer. Errors: `NotFound`."""
        kept = to_json(Rating(rating.value, clean_text(rating.reason)[:REASON_CHARACTERS]))
        with self._database.write() as connection:
            message_rows.own_row(connection, principal, message_id, lock=True)
            connection.execute(sa.update(messages).where(messages.c.id == message_id).values(rating=kept))

    def support(self, principal: Principal, message_id: UUID) -> SupportPart:
        """How its passages support an answer, for frequent polling. Errors: `NotFound`."""
        with self._database.read() as connection:
            message_rows.own_row(connection, principal, message_id)
            return message_rows.read_part(connection, message_id, SupportPart) or SupportPart()

    def note_support(self, principal: Principal, message_id: UUID, part: SupportPart) -> None:
        """Errors: `NotFound`."""
        with self._database.write() as connection:
            message_rows.own_row(connection, principal, message_id, lock=True)
            message_rows.replace_part(connection, message_id, part)

    def begin_check(self, principal: Principal, message_id: UUID, now_seconds: float, running_since: float) -> bool:
        """Note that a model is asked from now on; returns False if one is asked since `running_since` or later.

        Errors: `NotFound`.
        """
        with self._database.write() as connection:
            message_rows.own_row(connection, principal, message_id, lock=True)
            kept = message_rows.read_part(connection, message_id, SupportPart) or SupportPart()
            if running_since <= kept.asked_at <= now_seconds:  # later only if the clock was set back
                return False
            begun = replace(kept, asked_at=now_seconds, code="", values={})
            message_rows.replace_part(connection, message_id, begun)
            return True


def _ask(
    connection: sa.Connection,
    row: sa.Row[Any],
    parent_id: UUID | None,
    question: str,
    attached: Sequence[Attached],
    new_id: UUID | None = None,
) -> Message:
    """A question and its answer as children of `parent_id`, which are shown from now on."""
    ordinal, streaming = message_rows.state_of(connection, row.id)
    if streaming:
        raise AnswerRunning
    mode, scope = known(row.mode, Mode.KNOWLEDGE), message_rows.read_scope(row.scope)
    parts: list[Part] = [TextPart(clean_text(question))]
    parts += [AttachmentsPart(tuple(attached))] if attached else []
    asked = message_rows.new(row.id, ordinal, Role.USER, MessageState.DONE, mode, scope, parent_id, parts)
    answer = message_rows.new(row.id, ordinal + 1, Role.ASSISTANT, MessageState.STREAMING, mode, scope, asked.id)
    answer = replace(answer, id=new_id or answer.id)
    message_rows.insert(connection, [asked, answer])
    _show(connection, row.id, answer.id)
    return answer


def _end(
    principal: Principal, message_id: UUID, row: sa.Row[Any], state: MessageState, parts: Sequence[Part]
) -> AnswerEnd:
    """What is recorded of an answer."""
    usage = next((part for part in parts if isinstance(part, UsagePart)), UsagePart())
    return AnswerEnd(
        run_id=row.run_id or message_id,
        question_id=row.parent_id or message_id,
        user_id=principal.user_id,
        mode=known(row.mode, Mode.KNOWLEDGE),
        state=state,
        error=next((part.code for part in parts if isinstance(part, ErrorPart)), ""),
        model=usage.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        first_token_ms=usage.first_token_ms,
        total_ms=usage.total_ms,
        steps=[
            step for part in parts if isinstance(part, PassagesPart | WebPart) for step in part.retrieval.trace.steps
        ],
    )


def _reopen(connection: sa.Connection, principal: Principal, old: sa.Row[Any], row: sa.Row[Any]) -> Message:
    """Begin another run of an answer."""
    begun = {"state": MessageState.STREAMING.value, "run_id": uuid4(), "began_at": now(), "finished_at": None}
    connection.execute(sa.update(messages).where(messages.c.id == old.id).values(begun))
    _show(connection, row.id, message_rows.newest_end(connection, old.id))
    return message_rows.read(connection, principal, old.id)


def _show(connection: sa.Connection, conversation_id: UUID, message_id: UUID) -> None:
    """Let the branch that is shown end with a message that has just been written."""
    connection.execute(rows.change(conversation_id).values(shown_id=message_id, updated_at=now()))
