"""The documents of a knowledge base: one line each, with what is in progress first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import streamlit as st

from kb.access import Permission
from kb.access.tickets import Action
from kb.embedding import ModelState
from kb.errors import RedisUnavailable, from_code
from kb.extracts import escape_markdown as escape
from kb.library import QUEUE_PLACES
from kb.models import Document, DocumentOrder, KnowledgeBase, Progress, User, Version, VersionState
from kb.notes import NoteKind
from kb.parsing import extensions_like
from kb.progress import WorkerInfo
from pages.ui import tickets
from pages.ui.feedback import confirm, errors_flashed, live_fragment, missing_worker, redraw, show_error
from pages.ui.i18n import _, duration, error_text, join_sentences, language, moment, ngettext, number, size
from pages.ui.notes import note_text
from pages.ui.passages import open_chunks
from pages.ui.progress import describe_progress
from pages.ui.resources import services
from pages.ui.unsearchable import draw_remedy, draw_unreadable

HERE = Path(__file__).parent
PAGE_DOCUMENTS = 50
FEW_DOCUMENTS = 5  # that need no search and no filter
POLL_SECONDS = 1.0

PAGE_KEY = "documents_page"
GROUP_KEY = "documents_group"
SEARCH_KEY = "documents_search"
ORDER_KEY = "documents_order"
TABLE_KEY = "documents_table"

ALL, PENDING, READY, GIVEN_UP = "all", "pending", "ready", "given_up"
GROUPS = {
    ALL: tuple(VersionState),
    PENDING: tuple(state for state in VersionState if state.is_pending),
    READY: (VersionState.READY,),
    GIVEN_UP: tuple(state for state in VersionState if state.is_given_up),
}

_table = st.components.v2.component(
    "zhiwen.documents",
    html=(HERE / "documents.html").read_text(encoding="utf-8"),
    css=(HERE / "documents.css").read_text(encoding="utf-8"),
    js=(HERE / "documents.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


@dataclass(frozen=True, slots=True)
class Activity:
    """What is going on around the documents right now; empty where Redis does not tell."""

    progress: Mapping[UUID, Progress]
    workers: Sequence[WorkerInfo]
    places: Mapping[UUID, int | None]


def draw_documents(user: User, base: KnowledgeBase) -> None:
    """One page of the documents, redrawn each second while any is in progress."""
    counts = services().documents.count_by_state(user.principal, base.id)
    pending = any(state.is_pending for state in counts)
    draw_unreadable(base)

    @live_fragment(POLL_SECONDS if pending else None)
    def live() -> None:
        lost = draw_remedy(user.principal, base.unsearchable_count, base)
        current = services().documents.count_by_state(user.principal, base.id)
        if current:
            _draw_summary(current, lost, _time_left(base) if any(state.is_pending for state in current) else None)
        elif base.permission.includes(Permission.EDIT):
            st.caption(_("No documents yet. Drop files above; you can ask about them as soon as they are “ready”."))
        else:
            st.caption(_("No documents yet."))
        with st.container(key="documents", gap="small"):
            _draw_page(user, base, current)
        if pending != any(state.is_pending for state in current):
            redraw()  # to start or stop polling, and to update the counts elsewhere

    live()


def show_newest() -> None:
    """Show the first page of all documents, with what is in progress first."""
    _show_first_page()
    st.session_state[GROUP_KEY] = ALL
    st.session_state[SEARCH_KEY] = ""
    st.session_state[ORDER_KEY] = DocumentOrder.ACTIVITY


def _show_first_page() -> None:
    st.session_state[PAGE_KEY] = 1


def _time_left(base: KnowledgeBase) -> float | None:
    """About how many seconds until all documents are done, where that can be told."""
    try:
        return services().backlog.seconds_left(base.id, services().board.workers())
    except RedisUnavailable:
        return None  # the list says so


def _draw_summary(counts: Mapping[VersionState, int], lost: int, seconds_left: float | None) -> None:
    """`lost` of the ready ones cannot be searched."""
    total, ready = sum(counts.values()), max(0, counts.get(VersionState.READY, 0) - lost)
    failed = counts.get(VersionState.FAILED, 0)
    pending = sum(count for state, count in counts.items() if state.is_pending)
    parts = [_("{ready} of {total} ready").format(ready=number(ready), total=number(total))]
    if pending:
        parts.append(_("{count} in progress").format(count=number(pending)))
    if lost:
        parts.append(ngettext("{count} not searchable", "{count} not searchable", lost))
    if failed:
        parts.append(_("{count} failed").format(count=number(failed)))
    if cancelled := counts.get(VersionState.CANCELLED, 0):
        parts.append(_("{count} cancelled").format(count=number(cancelled)))
    if seconds_left is not None:
        parts.append(_("about {time} left").format(time=duration(seconds_left)))
    if pending:
        st.progress(ready / total, " · ".join(parts))
    else:
        st.caption(" · ".join(parts))


def _draw_page(user: User, base: KnowledgeBase, counts: Mapping[VersionState, int]) -> None:
    total = sum(counts.values())
    states, search = _draw_filters() if total > FEW_DOCUMENTS else (GROUPS[ALL], "")
    order = DocumentOrder(st.session_state.get(ORDER_KEY, DocumentOrder.ACTIVITY))
    documents = services().documents
    if search:
        found = documents.count(user.principal, base.id, states, search)
    else:
        found = sum(counts.get(state, 0) for state in states)
    pages = -(-found // PAGE_DOCUMENTS)
    if st.session_state.get(PAGE_KEY, 1) > max(pages, 1):
        st.session_state[PAGE_KEY] = max(pages, 1)  # the list has become shorter
    page = st.session_state.get(PAGE_KEY, 1)
    shown = documents.list(user.principal, base.id, (page - 1) * PAGE_DOCUMENTS, PAGE_DOCUMENTS, states, search, order)
    activity = _look(user, base, shown, any(state.is_pending for state in counts))
    _draw_table(user, base, shown, activity, order)
    if total and not shown:
        st.caption(_("No document matches."))
    if pages > 1:
        st.pagination(pages, key=PAGE_KEY)


def _draw_filters() -> tuple[Collection[VersionState], str]:
    """The states to show, and what the names must contain."""
    names = {ALL: _("All"), PENDING: _("In progress"), READY: _("Ready"), GIVEN_UP: _("Failed or cancelled")}
    with st.container(horizontal=True, vertical_alignment="center", key="documents-filters"):
        search = st.text_input(
            _("Search by name"),
            type="search",
            key=SEARCH_KEY,
            placeholder=_("Search by name"),
            icon=":material/search:",
            label_visibility="collapsed",
            live=True,
            width=260,
            on_change=_show_first_page,
        )
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
    return GROUPS[group], search


def _look(user: User, base: KnowledgeBase, documents: Sequence[Document], pending: bool) -> Activity:
    """Progress, workers and queue places. Shows what keeps the workers from working, if anything does."""
    _draw_model_status(base.embedding_model)
    if not pending:
        return Activity({}, [], {})
    waiting = [document.latest.id for document in documents if document.latest.state is VersionState.QUEUED]
    running = [document.latest.id for document in documents if document.latest.state.is_running]
    places = services().documents.queue_places(user.principal, waiting) if waiting else {}
    try:
        activity = Activity(services().board.read(running), services().board.workers(), places)
    except RedisUnavailable as error:
        show_error(error)
        return Activity({}, [], places)
    if not activity.workers:
        st.warning(missing_worker(), icon=":material/engineering:")
    return activity


def _draw_model_status(name: str) -> None:
    """Show the download of a built-in embedding model. It happens once, and documents wait for it."""
    status = services().embeddings.status(name)
    if status and status.failure:
        show_error(status.failure)
    elif status and status.is_unpacking:
        st.progress(1.0, _("Unpacking the embedding model (only once)…"))
    elif status and status.state is ModelState.FETCHING:
        share = status.done / status.total if status.total else 0.0
        text = _("Downloading the embedding model (only once): {done} of {total}").format(
            done=size(status.done), total=size(status.total)
        )
        st.progress(share, text)


# --- the table ---


def _draw_table(
    user: User, base: KnowledgeBase, documents: Sequence[Document], activity: Activity, order: DocumentOrder
) -> None:
    data = {
        "base": str(base.id),
        "ticket": tickets.issue(Action.DOWNLOAD, user.principal, base.id),
        "code": language(),
        "order": order.value,
        "columns": _columns(),
        "words": {
            "title": _("Documents"),
            "sort": _("Sort by this column"),
            "unsort": _("In progress first"),
            "cancel": _("Cancel"),
            "retry": _("Retry"),
            "chunks": _("Show its chunks"),
            "replace": _("Upload a new version…"),
            "download": _("Download the original"),
            "delete": _("Delete"),
        },
        "rows": [_row(document, activity, base.permission) for document in documents],
    }
    result = _table(key=TABLE_KEY, data=[data], on_pressed_change=lambda: _act(user))
    pressed = result.pressed if isinstance(result.pressed, dict) else {}
    document = next((document for document in documents if str(document.id) == pressed.get("id")), None)
    if document and pressed.get("action") == "chunks":
        open_chunks(user, document)
    elif document and pressed.get("action") == "delete":
        question = _("Delete “{name}” and all its chunks? This cannot be undone.").format(name=escape(document.name))
        confirm(_("Delete document"), question, _("Delete"), lambda: _delete(user, document), "confirm_delete")


def _columns() -> list[dict[str, str]]:
    return [
        {"name": "state", "label": _("State"), "order": DocumentOrder.STATE, "direction": "ascending"},
        {"name": "name", "label": _("Name"), "order": DocumentOrder.NAME, "direction": "ascending"},
        {"name": "chunks", "label": _("Chunks")},
        {"name": "size", "label": _("Size"), "order": DocumentOrder.LARGEST, "direction": "descending"},
        {"name": "date", "label": _("Added"), "order": DocumentOrder.NEWEST, "direction": "descending"},
        {"name": "actions", "label": ""},
    ]


def _act(user: User) -> None:
    """What was pressed in the table, before the page is drawn; `_draw_table` opens the dialogs."""
    pressed = st.session_state[TABLE_KEY].pressed
    match pressed:
        case {"action": "sort", "order": str(order)}:
            known = order in list(DocumentOrder)
            st.session_state[ORDER_KEY] = DocumentOrder(order) if known else DocumentOrder.ACTIVITY
            _show_first_page()
        case {"action": "cancel" | "retry" as action, "id": str(document_id)}:
            documents = services().documents
            with errors_flashed():
                (documents.cancel if action == "cancel" else documents.retry)(user.principal, UUID(document_id))


def _delete(user: User, document: Document) -> None:
    with errors_flashed():
        services().documents.delete(user.principal, document.id)


# --- one row ---


def _row(document: Document, activity: Activity, permission: Permission) -> dict[str, object]:
    version = document.latest
    detail, progress = _detail(version, activity)
    state = "running" if version.state.is_running else version.state.value
    if _is_unsearchable(version):
        state = VersionState.FAILED.value  # looks alike
    return {
        "id": str(document.id),
        "version": str(version.id),
        "name": document.name,
        "state": state,
        "icon": state,
        "label": _state_name(version),
        "chunks": number(version.chunks) if version.state is VersionState.READY else "",
        "size": size(version.size_bytes),
        "date": moment(version.created_at),
        "note": _note(document, activity),
        "hint": "\n".join(map(note_text, version.notes)) if version.state is VersionState.READY else "",
        "detail": detail,
        "progress": progress,
        "actions": _actions(document, permission),
        "accept": ",".join(extensions_like(document.name)),
    }


def _note(document: Document, activity: Activity) -> str:
    """What stands beside the name."""
    version, earlier = document.latest, ""
    if document.live_version_id and document.live_version_id != version.id:
        earlier = _("The earlier version still answers.")
    return join_sentences(_note_on(version, activity), earlier)


def _note_on(version: Version, activity: Activity) -> str:
    """Its place in the queue, or that its chunks lack something of the file."""
    if version.state is VersionState.QUEUED:
        return _queue_text(version, activity.places)
    if version.file_missing:
        return _("the original file is missing")
    if version.state is VersionState.READY and version.notes:
        is_whole = all(note.kind == NoteKind.RECOGNISED for note in version.notes)
        return _("text recognised in images (OCR)") if is_whole else _("read only in part")
    return ""


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
        return _("cancelling…")
    if _is_unsearchable(version):
        return _("not searchable")
    return names[version.state]


def _is_unsearchable(version: Version) -> bool:
    return version.state is VersionState.READY and version.missing_chunks > 0


def _actions(document: Document, permission: Permission) -> list[str]:
    version, may_edit = document.latest, permission.includes(Permission.EDIT)
    possible = {
        "cancel": may_edit and version.state.is_pending and not version.cancel_requested,
        "retry": may_edit and version.can_retry,
        "chunks": document.live_version_id is not None,
        "replace": may_edit,
        "download": True,
        "delete": may_edit,
    }
    return [action for action, is_possible in possible.items() if is_possible]


def _detail(version: Version, activity: Activity) -> tuple[str, float | None]:
    """The line below a document that is being processed or has failed, and its progress (0 to 1)."""
    match version.state:
        case VersionState.PARSING | VersionState.EMBEDDING | VersionState.INDEXING:
            return describe_progress(version, activity.progress.get(version.id))
        case VersionState.FAILED:
            return join_sentences(*error_text(from_code(version.error, version.error_values))), None
    return "", None


def _queue_text(version: Version, places: Mapping[UUID, int | None]) -> str:
    if version.error and version.retry_at:
        message, _remedy = error_text(from_code(version.error, version.error_values))
        seconds = round((version.retry_at - datetime.now(UTC)).total_seconds())
        when = _("Next try in {time}.").format(time=duration(seconds)) if seconds > 0 else _("Trying again soon.")
        return join_sentences(message, when)
    if version.id not in places:
        return _("Waiting for a worker.")
    place = places[version.id]
    if place is None:
        return _("More than {count} ahead in the queue.").format(count=number(QUEUE_PLACES))
    return _("Place {place} in the queue.").format(place=number(place))
