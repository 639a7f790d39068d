"""The documents of a knowledge base, with their live progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import streamlit as st

from kb.embedding import ModelState, model_status
from kb.errors import RedisUnavailable, from_code
from kb.extracts import escape_markdown as escape
from kb.models import Document, KnowledgeBase, Progress, User, Version, VersionState
from kb.progress import WorkerInfo
from pages.ui.chunks import open_chunks
from pages.ui.feedback import confirm, errors_flashed, live_fragment, missing_worker, redraw, show_error
from pages.ui.i18n import _, ago, error_text, ngettext, number, size
from pages.ui.resources import services

PAGE_DOCUMENTS = 30
POLL_SECONDS = 1.0
PAGE_KEY = "documents_page"
GROUP_KEY = "documents_group"

ICONS = {
    VersionState.QUEUED: ":gray[:material/schedule:]",
    VersionState.PARSING: ":blue[:material/description:]",
    VersionState.EMBEDDING: ":blue[:material/hub:]",
    VersionState.INDEXING: ":blue[:material/database:]",
    VersionState.READY: ":green[:material/check_circle:]",
    VersionState.FAILED: ":red[:material/error:]",
    VersionState.CANCELLED: ":gray[:material/cancel:]",
}


# What a list that is longer than a page can be narrowed to.
ALL, PENDING, GIVEN_UP = "all", "pending", "given_up"
GROUPS = {
    ALL: tuple(VersionState),
    PENDING: tuple(state for state in VersionState if state.is_pending),
    GIVEN_UP: tuple(state for state in VersionState if state.is_given_up),
}


@dataclass(frozen=True, slots=True)
class Activity:
    """What goes on around the documents right now; empty where Redis does not tell."""

    progress: Mapping[UUID, Progress]
    workers: list[WorkerInfo]
    places: Mapping[UUID, int]


def draw_documents(user: User, base: KnowledgeBase) -> None:
    """All documents, the newest first; redrawn each second while anything is under way."""
    counts = services().documents.count_by_state(user.id, base.id)
    pending = sum(count for state, count in counts.items() if state.is_pending)

    @live_fragment(POLL_SECONDS if pending else None)
    def live() -> None:
        current = services().documents.count_by_state(user.id, base.id)
        _draw_summary(current)
        with st.container(key="documents", gap="small"):
            _draw_page(user, base, current)
        if bool(pending) != any(state.is_pending for state in current):
            redraw()  # begin to look each second, or stop it; and the counts elsewhere are new

    live()


def _draw_summary(counts: Mapping[VersionState, int]) -> None:
    total, ready = sum(counts.values()), counts.get(VersionState.READY, 0)
    if not total:
        st.caption(
            _("There is nothing here yet. Drop files above: they become searchable as soon as they read “ready”.")
        )
        return
    failed = counts.get(VersionState.FAILED, 0)
    pending = sum(count for state, count in counts.items() if state.is_pending)
    parts = [_("{ready} of {total} ready").format(ready=number(ready), total=number(total))]
    if pending:
        parts.append(_("{count} in progress").format(count=number(pending)))
    if failed:
        parts.append(_("{count} failed").format(count=number(failed)))
    if cancelled := counts.get(VersionState.CANCELLED, 0):
        parts.append(_("{count} cancelled").format(count=number(cancelled)))
    st.progress(ready / total, " · ".join(parts))


def _draw_page(user: User, base: KnowledgeBase, counts: Mapping[VersionState, int]) -> None:
    states = _draw_groups() if sum(counts.values()) > PAGE_DOCUMENTS else tuple(VersionState)
    pages = -(-sum(counts.get(state, 0) for state in states) // PAGE_DOCUMENTS)
    if st.session_state.get(PAGE_KEY, 1) > max(pages, 1):
        st.session_state[PAGE_KEY] = max(pages, 1)  # the list has become shorter
    page = st.session_state.get(PAGE_KEY, 1)
    documents = services().documents.list(user.id, base.id, (page - 1) * PAGE_DOCUMENTS, PAGE_DOCUMENTS, states)
    activity = _look(user, documents, any(state.is_pending for state in counts))
    for document in documents:
        _draw_document(user, document, activity)
    if counts and not documents:
        st.caption(_("No document is in this state."))
    if pages > 1:
        st.pagination(pages, key=PAGE_KEY)


def _draw_groups() -> tuple[VersionState, ...]:
    """Which documents to show: one that failed must not be looked for page by page."""
    names = {ALL: _("All"), PENDING: _("In progress"), GIVEN_UP: _("Failed or cancelled")}
    group = st.segmented_control(
        _("Show"),
        list(GROUPS),
        default=ALL,
        required=True,
        format_func=names.__getitem__,
        key=GROUP_KEY,
        label_visibility="collapsed",
        on_change=_show_first_page,
    )
    return GROUPS[group]


def _show_first_page() -> None:
    st.session_state[PAGE_KEY] = 1


def show_newest() -> None:
    """Begin the list anew: at its first page, with all documents."""
    _show_first_page()
    st.session_state[GROUP_KEY] = ALL


def _look(user: User, documents: list[Document], pending: bool) -> Activity:
    """Progress, workers and queue places; says what stands in the way of the work, if anything does."""
    if not pending:
        return Activity({}, [], {})
    waiting = [document.latest.id for document in documents if document.latest.state is VersionState.QUEUED]
    running = [document.latest.id for document in documents if document.latest.state.is_running]
    places = services().documents.queue_places(user.id, waiting) if waiting else {}
    try:
        activity = Activity(services().board.read(running), services().board.workers(), places)
    except RedisUnavailable as error:
        show_error(error)
        return Activity({}, [], places)
    if not activity.workers:
        st.warning(missing_worker(), icon=":material/engineering:")
    _draw_model_status()
    return activity


def _draw_model_status() -> None:
    """Show the download of the built-in embedding model. It happens once, and documents wait for it."""
    status = model_status(services().settings)
    if status and status.failure:
        show_error(status.failure)
    elif status and status.state is ModelState.FETCHING:
        share = status.done / status.total if status.total else 0.0
        text = _("Downloading the embedding model (only once): {done} of {total}").format(
            done=size(status.done), total=size(status.total)
        )
        st.progress(share, text)


# --- one document ---


def _draw_document(user: User, document: Document, activity: Activity) -> None:
    version = document.latest
    with st.container(border=True, key=f"document-{document.id}", gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"line-{document.id}"):
            st.markdown(f"{ICONS[version.state]} **{escape(document.name)}**", width="stretch")
            st.caption(f"{_state_name(version)} · {size(version.size_bytes)}", width="content")
            _draw_actions(user, document)
        _draw_detail(version, activity)


def _state_name(version: Version) -> str:
    names = {
        VersionState.QUEUED: _("waiting"),
        VersionState.PARSING: _("reading"),
        VersionState.EMBEDDING: _("embedding"),
        VersionState.INDEXING: _("indexing"),
        VersionState.READY: _("ready"),
        VersionState.FAILED: _("failed"),
        VersionState.CANCELLED: _("cancelled"),
    }
    if version.state.is_running and version.cancel_requested:
        return _("being cancelled…")
    if version.state is VersionState.READY:
        return " · ".join([names[version.state], ngettext("{count} chunk", "{count} chunks", version.chunks)])
    return names[version.state]


def _draw_detail(version: Version, activity: Activity) -> None:
    match version.state:
        case VersionState.QUEUED:
            st.caption(_queue_text(version, activity.places.get(version.id)))
        case VersionState.PARSING | VersionState.EMBEDDING | VersionState.INDEXING:
            _draw_progress(version, activity.progress.get(version.id))
        case VersionState.FAILED:
            message, remedy = error_text(from_code(version.error, version.error_values))
            st.markdown(f":red[{escape(message)}] {escape(remedy)}")


def _queue_text(version: Version, place: int | None) -> str:
    if version.error and version.retry_at:
        message, _remedy = error_text(from_code(version.error, version.error_values))
        seconds = round((version.retry_at - datetime.now(UTC)).total_seconds())
        when = _("Next try in {seconds} s.").format(seconds=seconds) if seconds > 0 else _("It is tried again soon.")
        return f"{escape(message)} {when}"
    if place is None:
        return _("Waiting for a worker.")
    return _("Place {place} in the queue.").format(place=number(place))


def _draw_progress(version: Version, progress: Progress | None) -> None:
    """n of m, the rate, and the last sign of life. What was reported of another stage is an earlier attempt's."""
    if progress and progress.stage is not version.state:
        progress = None
    signs = [moment for moment in (version.heartbeat_at, progress.at if progress else None) if moment]
    seen = _("last sign of life {ago}").format(ago=ago(max(signs))) if signs else ""
    done, total = 0, 0
    if progress:
        done, total = progress.done, progress.total
    elif version.state is not VersionState.PARSING:
        done, total = version.stored_chunks, version.chunks
    rate = _("{rate} a second").format(rate=number(progress.rate, 1)) if progress and progress.rate else ""
    text = _progress_text(version.state, total).format(done=number(done), total=number(total))
    st.progress(min(done / total, 1.0) if total else 0.0, " · ".join(filter(None, [text, rate, seen])))


def _progress_text(stage: VersionState, total: int) -> str:
    if stage is VersionState.INDEXING:
        return _("Making it searchable…")
    if stage is VersionState.EMBEDDING and total:
        return _("Chunk {done} of {total}")
    return _("Page {done} of {total}") if total else _("Reading the file…")


def _draw_actions(user: User, document: Document) -> None:
    version = document.latest
    if version.state.is_pending and not version.cancel_requested:
        _action(
            _("Cancel"), "close", f"cancel-{document.id}", lambda: services().documents.cancel(user.id, document.id)
        )
    if version.state.is_given_up:
        _action(_("Retry"), "refresh", f"retry-{document.id}", lambda: services().documents.retry(user.id, document.id))
    if document.live_version_id and st.button(
        _("Show its chunks"),
        icon=":material/view_agenda:",
        key=f"chunks-{document.id}",
        type="tertiary",
        help=_("Show its chunks"),
    ):
        open_chunks(user, document)
    if st.button(_("Delete"), icon=":material/delete:", key=f"delete-{document.id}", type="tertiary", help=_("Delete")):
        question = _("Delete “{name}” and all its chunks? This cannot be undone.").format(name=escape(document.name))
        confirm(_("Delete document"), question, _("Delete"), lambda: _delete(user, document), "confirm_delete")


def _action(label: str, icon: str, key: str, act: Callable[[], object]) -> None:
    def guarded() -> None:
        with errors_flashed():
            act()

    st.button(label, icon=f":material/{icon}:", key=key, type="tertiary", help=label, on_click=guarded)


def _delete(user: User, document: Document) -> None:
    with errors_flashed():
        services().documents.delete(user.id, document.id)
