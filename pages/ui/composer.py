"""The composer: where a question goes, its files, the field for it, and what became of one that was not asked yet."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from kb.errors import (
    KbError,
    NotFound,
    NothingToSearch,
    QuestionTooLong,
    SignedOut,
    StorageFull,
    TooManyAnswers,
    UnsupportedFormat,
    UploadTooLarge,
)
from kb.extracts import escape_markdown as escape
from kb.messages import Attached, Message
from kb.models import Conversation, KnowledgeBase, MessageState, Mode, Scope, User
from kb.questions import check_question
from pages.ui import resources
from pages.ui.attachments import draw_attachments
from pages.ui.chat_sidebar import mode_names
from pages.ui.feedback import CHOICE, FRAME, TAIL, errors_flashed, flash, live_fragment, redraw_parts, show_error
from pages.ui.i18n import _, join_list, number
from pages.ui.resources import current_principal, current_user, services
from pages.ui.running import HowToAnswer, start_answer
from pages.ui.saving import noted, under_way
from pages.ui.scope import scope_label
from pages.ui.state import AskedNext, Draft, Refused, State, state

QUESTION_KEY = "question"
ASK_REFUSED_KEY = "ask_refused"


def draw_composer(
    conversation: Conversation | None, messages: Sequence[Message], knowledge_bases: list[KnowledgeBase]
) -> bool:
    """Draw all of it; returns whether the conversation has files."""
    is_running = any(message.state is MessageState.STREAMING for message in messages)
    is_running = is_running or bool(conversation and under_way(conversation.id))
    if conversation and not is_running:
        ask_next(conversation.id)
    draw_refused()
    draw_choice(knowledge_bases)
    with st.bottom:
        if conversation:
            draw_next(conversation.id)
        has_files = bool(conversation and draw_attachments(conversation))
        draw_file_refused()
    draw_question(is_running, knowledge_bases, has_files)
    return has_files


def draw_choice(knowledge_bases: list[KnowledgeBase]) -> None:
    """The row above the input field: where a question goes, for when the sidebar is closed, and the button Stop.

    style.css hides the one while the sidebar is open, and puts the other into the field. A click on the choice opens
    the sidebar (frame.js).
    """

    @live_fragment(key=CHOICE)
    def draw() -> None:
        current = state()
        chosen = [mode_names()[current.mode]]
        if current.mode.uses_documents:
            chosen += [scope_label(current.chosen, knowledge_bases)]
        label = " · ".join(filter(None, chosen))
        st.button(escape(label), key="choice", type="tertiary", icon=":material/tune:", wrap=False)
        if current.running:
            st.button(
                _("Stop"),
                key="stop",
                icon=":material/stop_circle:",
                on_click=_stop,
                args=(current.running,),
                help=_("Esc stops the answer, too"),
            )

    with st.bottom:
        draw()


def draw_question(is_running: bool, knowledge_bases: list[KnowledgeBase], has_files: bool) -> None:
    """Draw the input field. It is no part of a fragment: there, Streamlit would not scroll to what is new."""
    mode = state().mode
    lacks_base = mode.uses_documents and not knowledge_bases
    placeholder = _("Your next question") if is_running else _("Your question")
    if lacks_base and mode is Mode.TEST:
        placeholder = _("Create a knowledge base first")
    elif lacks_base and not has_files:
        placeholder = _("Attach files, then ask them")
    # The callback asks before the page is drawn; otherwise each question would draw the page twice.
    st.chat_input(
        placeholder,
        key=QUESTION_KEY,
        accept_file="multiple",
        max_upload_size=services().settings.max_upload_mb,
        disabled=lacks_base and mode is Mode.TEST,
        on_submit=_submit_written,
    )


def draw_file_refused() -> None:
    """Say why nothing is sent while the browser refuses a file: style.css shows it then, and frame.js sends nothing."""
    limit = services().settings.max_upload_mb
    text = _("A file was not attached. The limit is {limit} MB. Remove the file to send the question.")
    with st.container(key="file_refused"):
        st.caption(f":red[{text.format(limit=number(limit))}]")


def draw_next(conversation_id: UUID) -> None:
    """The question that is asked once the running answer has ended."""
    draft = state().next_questions.get(conversation_id)
    if draft is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="next_question"):
        question = " ".join(draft.question.split())
        st.caption(_("Asked next: {question}").format(question=escape(question)), width="stretch")
        st.button(
            _("Do not ask"),
            key="drop_next",
            type="tertiary",
            icon=":material/close:",
            on_click=_drop_next,
            args=(conversation_id,),
        )


def draw_refused() -> None:
    """Show a refused question with its reason, so that neither its text nor its files are lost."""
    if refused := state().refused:
        show_error(refused.reason)
        st.text(refused.draft.question)
        names = [upload.name for upload in refused.draft.uploads] + [each.name for each in refused.draft.attached]
        if names:
            st.caption(_("With {names}").format(names=escape(join_list(names))))
        if _may_try_again(refused):
            label = _("Ask without this file") if refused.without else _("Try again")
            st.button(label, key=ASK_REFUSED_KEY, icon=":material/refresh:", on_click=_ask_refused)


def _may_try_again(refused: Refused) -> bool:
    """Whether a retry would go to the mode and knowledge base that the question was meant for."""
    current = state()
    is_same_scope = not current.mode.uses_documents or current.scope == refused.scope
    return current.mode is refused.mode and is_same_scope


# --- asking, in callbacks ---


def _submit_written() -> None:
    written = st.session_state[QUESTION_KEY]
    try:
        current_principal()
    except SignedOut:
        state().unsent, state().has_unsent_files = written.text, bool(written.files)
        return
    draft = Draft(written.text.strip(), list(written.files))
    if not draft.question and not draft.uploads:
        return
    try:
        check_question(_after_waiting(draft).question)
        if not draft.uploads:
            _check_sources()
    except (QuestionTooLong, NothingToSearch) as error:
        st.session_state[QUESTION_KEY] = written.text  # back into the field
        flash(error)
        draft.question = ""
    if draft.question or draft.uploads:
        _submit(draft)
    refused = state().refused
    if refused and isinstance(refused.reason, TooManyAnswers) and not (draft.attached or draft.uploads):
        st.session_state[QUESTION_KEY] = written.text  # nothing of it was saved
        flash(refused.reason)
        state().refused = None
    if draft.attached or draft.uploads:
        st.rerun()
    redraw_parts(FRAME, TAIL, CHOICE)


def _check_sources() -> None:
    """Errors: `NothingToSearch` without a knowledge base and without files. A failure is told by `ask`."""
    current = state()
    if current.mode is not Mode.KNOWLEDGE or current.scope.knowledge_base_ids:
        return
    principal, conversation_id = current_principal(), current.conversation_id
    if conversation_id is None or not services().attachments.list(principal, conversation_id):
        raise NothingToSearch


def ask_or_keep(question: str) -> None:
    """Ask, or keep the question with the reason for the refusal."""
    _submit(Draft(question))


def _ask_refused() -> None:
    refused = state().refused
    if refused and _may_try_again(refused):
        draft = refused.draft
        if refused.without:
            del draft.uploads[0]  # by its place: another one may have its name, and errors have names in one spelling
        _submit(draft)


def _submit(draft: Draft) -> None:
    """Save the files and ask, now or once the running answer has ended; or keep it all with the reason why not."""
    current = state()
    try:
        ask(current_user(), draft)
    except KbError as error:
        # A question whose knowledge base was deleted must not go to another one.
        scope = None if isinstance(error, NotFound) else current.scope
        without = (
            error.values.get("name", "") if isinstance(error, UnsupportedFormat | UploadTooLarge | StorageFull) else ""
        )
        current.refused = Refused(draft, error, current.mode, scope, without)
        current.has_parts = False
    else:
        current.refused = None


def ask(user: User, draft: Draft) -> None:
    """Add the question to the open conversation, or to a new one, and start its answer."""
    current = state()
    scope, how = current.scope, HowToAnswer.chosen(current.mode)
    try:
        _save_and_start(current, user, draft, scope, how)
    finally:
        if current.conversation_id:
            st.query_params["conversation"] = str(current.conversation_id)


def _save_and_start(current: State, user: User, draft: Draft, scope: Scope, how: HowToAnswer) -> None:
    """All in one piece: the session is not touched, because that would end the script if the page is reloaded."""
    conversations = services().conversations
    for knowledge_base_id in scope.knowledge_base_ids:
        services().knowledge_bases.get(user.principal, knowledge_base_id)  # raises `NotFound` if it was deleted
    must_wait = bool(current.running or (current.conversation_id and under_way(current.conversation_id)))
    if draft.question and not must_wait:
        services().request_limits.count_answer(user.principal)
    if current.conversation_id is None:
        first = draft.question or draft.uploads[0].name
        conversation = conversations.create(user.principal, first, current.mode, scope, current.take_new_id())
        current.conversation_id = current.begun = conversation.id
        if current.switched:
            conversations.note_choice(user.principal, conversation.id)
            current.switched = False
    with noted(current.conversation_id, draft.question, [upload.name for upload in draft.uploads]):
        save_uploads(user, current.conversation_id, draft)
        if not draft.question:
            return
        if must_wait:
            _put_next(current, current.conversation_id, draft)
            return
        choice = current.mode, scope
        message = services().messages.ask(
            user.principal, current.conversation_id, draft.question, draft.attached, choice
        )
    start_answer(user.principal, message, how)


def _put_next(current: State, conversation_id: UUID, draft: Draft) -> None:
    """Keep the question until the running answer has ended, after what is kept already."""
    current.next_questions[conversation_id] = _after_waiting(draft)
    current.has_parts = False


def _after_waiting(draft: Draft) -> Draft:
    """The draft, after what waits already in the open conversation: they are asked together."""
    conversation_id = state().conversation_id
    waiting = state().next_questions.get(conversation_id) if conversation_id else None
    if waiting is None:
        return draft
    both = f"{waiting.question}\n\n{draft.question}"
    return Draft(both, draft.uploads, [*waiting.attached, *draft.attached])


def ask_next(conversation_id: UUID) -> None:
    """Ask the question that waited for the end of an answer."""
    current = state()
    if current.refused or conversation_id not in current.next_questions:
        return
    draft = current.next_questions.pop(conversation_id)
    _submit(draft)
    if not current.refused:
        current.asked_next = AskedNext(conversation_id, draft.question, current.asked_next.number + 1)
    st.rerun()


def _drop_next(conversation_id: UUID) -> None:
    """Put the question back into the field."""
    if draft := state().next_questions.pop(conversation_id, None):
        st.session_state[QUESTION_KEY] = draft.question


def _stop(run_id: UUID) -> None:
    with errors_flashed():
        resources.answers().stop(current_principal(), run_id)


# --- files ---


def save_uploads(user: User, conversation_id: UUID, draft: Draft) -> None:
    """Give the files to the conversation, and free Streamlit's memory of them. What is saved moves to `attached`.

    Errors: `UploadTooLarge` and `UnsupportedFormat` for one of them; those of `Attachments.add`.
    """
    limit = services().settings.max_upload_mb
    while draft.uploads:
        upload = draft.uploads[0]
        if upload.size > limit << 20:
            raise UploadTooLarge(name=upload.name, limit=limit)
        upload.seek(0)
        document = services().attachments.add(user.principal, conversation_id, upload.name, upload)
        draft.attached.append(Attached(str(document.id), document.name, document.latest.media_type))
        draft.uploads.pop(0)
        _forget(upload)


def _forget(upload: UploadedFile) -> None:
    """Streamlit would keep the file in memory, and keeps it after the tab is closed."""
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, upload.file_id)
