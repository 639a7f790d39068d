"""The files of a conversation above the input field: their states, and what can be done with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import streamlit as st

from kb.errors import RedisUnavailable, from_code
from kb.extracts import escape_markdown as escape
from kb.models import Conversation, Document, Mode, Progress, VersionState
from kb.pictures import MEDIA_TYPES
from pages.ui.feedback import confirm, errors_flashed, live_fragment, missing_worker, redraw
from pages.ui.i18n import _, error_text, join_sentences, number
from pages.ui.progress import describe_progress
from pages.ui.resources import current_principal, services
from pages.ui.state import state

POLL_SECONDS = 0.7
MOST_SHOWN = 20


def draw_attachments(conversation: Conversation) -> bool:
    """Draw the files, anew while any is in progress; returns whether there are any."""
    documents = _list(conversation.id)
    if not documents:
        return False
    is_pending = any(document.latest.state.is_pending for document in documents)

    @live_fragment(POLL_SECONDS if is_pending else None)
    def draw() -> None:
        now = _list(conversation.id)
        if is_pending and not any(document.latest.state.is_pending for document in now):
            redraw()
        progress = _progress(now) if is_pending else {}
        with st.container(key="attached", horizontal=True):
            for document in now[-MOST_SHOWN:]:
                _draw_file(conversation.id, document, progress.get(document.latest.id))
        if is_pending and not _has_worker():
            st.caption(missing_worker())
        if state().mode is Mode.WEB:
            st.caption(_("Web-search Q&A answers from the web alone. Choose another mode to ask these files."))
        elif state().mode is Mode.TEST:
            st.caption(
                _("Retrieval testing searches the knowledge base alone. Choose another mode to ask these files.")
            )

    draw()
    return True


def _list(conversation_id: UUID) -> Sequence[Document]:
    return services().attachments.list(current_principal(), conversation_id)


def _progress(documents: Sequence[Document]) -> Mapping[UUID, Progress]:
    try:
        running = [document.latest.id for document in documents if document.latest.state.is_running]
        return services().board.read(running)
    except RedisUnavailable:
        return {}


def _has_worker() -> bool:
    try:
        return bool(services().board.workers())
    except RedisUnavailable:
        return True  # that is another failure, which other parts tell


def _draw_file(conversation_id: UUID, document: Document, progress: Progress | None) -> None:
    version, icon = document.latest, "image" if document.latest.media_type in MEDIA_TYPES else "draft"
    reason, detail = "", ""
    match version.state:
        case VersionState.READY if version.missing_chunks:
            label = f":red[:material/search_off: {escape(document.name)}]"
            reason = _("It cannot be searched: Milvus does not have all its text. The System page offers a remedy.")
        case VersionState.READY:
            label = f":material/{icon}: {escape(document.name)}"
        case VersionState.FAILED:
            message, remedy = error_text(from_code(version.error, version.error_values))
            reason = join_sentences(message, remedy)
            label = f":red[:material/error: {escape(document.name)}]"
        case VersionState.CANCELLED:
            label = f":gray[:material/block: {escape(document.name)}]"
        case VersionState.QUEUED:
            label, detail = f":material/hourglass_empty: {escape(document.name)}", _("waiting")
            if version.error:
                reason = error_text(from_code(version.error, version.error_values))[0]
        case _:
            share = describe_progress(version, progress)[1]
            label, detail = (
                f":material/progress_activity: {escape(document.name)}",
                f"{number(100 * share)} %" if share else "",
            )
    with st.container(key=f"attached-{document.id}", border=True, width="content"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"{label} :gray[{escape(detail)}]" if detail else label, width="content")
            if version.can_retry:
                st.button(
                    _("Retry"),
                    key=f"retry_attached-{document.id}",
                    type="tertiary",
                    icon=":material/refresh:",
                    on_click=_retry,
                    args=(document,),
                )
            if st.button(
                _("Remove {name}").format(name=escape(document.name)),
                key=f"remove_attached-{document.id}",
                type="tertiary",
                icon=":material/close:",
            ):
                _confirm_removal(conversation_id, document)
        if reason:
            st.caption(escape(reason))


def _retry(document: Document) -> None:
    with errors_flashed():
        services().documents.retry(current_principal(), document.id)
    st.rerun()


def _confirm_removal(conversation_id: UUID, document: Document) -> None:
    question = _("Remove “{name}” from this conversation? Answers that cite it stay.").format(
        name=escape(document.name)
    )
    confirm(_("Remove file"), question, _("Remove"), lambda: _remove(conversation_id, document), "remove_attached")


def _remove(conversation_id: UUID, document: Document) -> None:
    with errors_flashed():
        services().attachments.remove(current_principal(), conversation_id, document.id)
