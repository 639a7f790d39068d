"""Lists of conversations: the sidebar's on every page, and the history page's. Each is one component (talks.js)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.access.tickets import CONVERSATIONS, Action
from kb.conversations import CONVERSATION
from kb.errors import KbError, NotFound
from kb.models import Conversation
from pages.ui import tickets
from pages.ui.chat_sidebar import has_model
from pages.ui.conversation_link import open_link
from pages.ui.feedback import TALKS, errors_flashed, errors_shown, live_fragment, redraw
from pages.ui.i18n import _, language, time_zone
from pages.ui.resources import current_principal, services
from pages.ui.state import Deleted, forget_id, open_conversation_id, state

HERE = Path(__file__).parent
MORE_TALKS = 30
UNDO_SECONDS = 30.0
NAMING_SECONDS = 60.0
LOOK_SECONDS = 3.0
SIDEBAR_KEY, PAGE_KEY = "talks", "history_talks"
CHAT, HISTORY = "", "history"  # paths of pages

_list = st.components.v2.component(
    "zhiwen.talks",
    html=(HERE / "talks.html").read_text(encoding="utf-8"),
    css=(HERE / "talks.css").read_text(encoding="utf-8"),
    js=(HERE / "talks.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


# --- the sidebar ---


def draw_talks(path: str) -> None:
    """Draw "New conversation" and the list in the sidebar of the page `path`."""
    is_clicked = st.sidebar.button(
        _("New conversation"),
        key="new_conversation",
        icon=":material/add_comment:",
        width="stretch",
        shortcut="Alt+N",
        on_click=start_new_conversation,
    )
    if is_clicked and path != CHAT:
        st.switch_page("chat.py")

    @live_fragment(key=TALKS)
    def draw() -> None:
        _draw_sidebar_list(path)

    is_awaited = path == CHAT and _is_being_named()

    # Apart from the list, so that looking does not read and send it again.
    @live_fragment(LOOK_SECONDS if is_awaited else None)
    def look_for_name() -> None:
        if is_awaited and not _is_being_named():
            redraw()  # to end the polling

    with st.sidebar:
        draw()
        look_for_name()


def start_new_conversation() -> None:
    forget_id("conversation")
    current = state()
    current.choices += 1
    current.conversation_id = None
    current.switched, current.refused = False, None


def _is_being_named() -> bool:
    """Whether a model may be about to name the open conversation."""
    open_id = open_conversation_id()
    if open_id is None or open_id != state().begun or not services().settings.conversation_titles or not has_model():
        return False
    try:
        conversation = services().conversations.get(current_principal(), open_id)
    except KbError:
        return False  # the list itself says what is wrong
    age = datetime.now(conversation.updated_at.tzinfo) - conversation.updated_at
    return not conversation.is_named and age < timedelta(seconds=NAMING_SECONDS)


def _draw_sidebar_list(path: str) -> None:
    current = state()
    shown = current.shown_talks
    found = services().conversations.search(current_principal(), current.talk_search, limit=shown + 1)
    open_id = open_conversation_id() if path == CHAT else None
    draw_list(
        SIDEBAR_KEY,
        path,
        _groups(found[:shown], _period, lambda _conversation: "", open_id),
        {
            "kind": "sidebar",
            "search": current.talk_search,
            "canSearch": bool(found or current.talk_search),
            "hasMore": len(found) > shown,
            "empty": _("No conversation contains these words.") if current.talk_search and not found else "",
        },
    )


def _period(conversation: Conversation) -> str:
    date = conversation.updated_at.astimezone(time_zone()).date()
    days = (datetime.now(time_zone()).date() - date).days
    if days <= 0:
        return _("Today")
    if days == 1:
        return _("Yesterday")
    return _("Last 7 days") if days < 7 else _("Older")


# --- any list ---


def draw_page_list(
    found: Sequence[Conversation],
    label: Callable[[Conversation], str],
    note: Callable[[Conversation], str],
    export: dict[str, str],
    empty: str,
) -> None:
    """Draw conversations on the history page. `export` is the search whose finds can be downloaded all at once."""
    options: dict[str, object] = {"kind": "page", "all": export if found else None, "empty": empty}
    draw_list(PAGE_KEY, HISTORY, _groups(found, label, note), options)


def draw_list(key: str, path: str, groups: list[dict[str, object]], options: dict[str, object]) -> None:
    result = _list(key=key, data=[_data(groups, options)], on_pressed_change=lambda: _act(key, path))
    match result.pressed:
        case {"action": "open", "id": str(wanted)} if path != CHAT:
            st.switch_page("chat.py", query_params={"conversation": wanted})
        case {"action": "share", "id": str(wanted)}:
            with errors_shown():
                principal = current_principal()
                open_link(principal, services().conversations.get(principal, _id(wanted)))


def _groups(
    found: Iterable[Conversation],
    label: Callable[[Conversation], str],
    note: Callable[[Conversation], str],
    open_id: UUID | None = None,
) -> list[dict[str, object]]:
    """The conversations under their labels, in the order in which they were found: pinned ones come first."""

    def label_of(conversation: Conversation) -> str:
        return _("Pinned") if conversation.pinned_at else label(conversation)

    return [
        {
            "label": title,
            "talks": [
                {
                    "id": str(each.id),
                    "title": each.title,
                    "note": note(each),
                    "isPinned": each.pinned_at is not None,
                    "isOpen": each.id == open_id,
                }
                for each in group
            ],
        }
        for title, group in groupby(found, key=label_of)
    ]


def _data(groups: list[dict[str, object]], options: dict[str, object]) -> dict[str, object]:
    ticket = tickets.issue(Action.EXPORT, current_principal(), CONVERSATIONS)
    standard = {"search": "", "canSearch": False, "hasMore": False, "empty": "", "all": None}
    return (
        standard
        | options
        | {
            "groups": groups,
            "undo": _undo(),
            "download": {"ticket": ticket, "language": language()},
            "words": _words(options.get("all")),
        }
    )


def _words(export: object) -> dict[str, str]:
    """`export` is the search whose finds can be downloaded: of everything, if its parts are empty."""
    is_narrowed = isinstance(export, dict) and any(export.values())
    return {
        "search": _("Search conversations"),
        "menu": _("More"),
        "rename": _("Rename"),
        "pin": _("Pin"),
        "unpin": _("Unpin"),
        "share": _("Share by a link…"),
        "md": _("Download as Markdown"),
        "json": _("Download as JSON"),
        "all_md": _("Download what was found as Markdown") if is_narrowed else _("Download all as Markdown"),
        "all_json": _("Download what was found as JSON") if is_narrowed else _("Download all as JSON"),
        "delete": _("Delete"),
        "undo": _("Undo"),
        "more": _("Show more"),
    }


def _undo() -> dict[str, object] | None:
    """The last deletion, as long as the pages offer to undo it."""
    current = state()
    current.deleted = [each for each in current.deleted if each.until > time.monotonic()]
    if not current.deleted:
        return None
    last = current.deleted[-1]
    return {
        "id": str(last.id),
        "token": f"{last.id} {last.until}",
        "text": _("“{name}” was deleted.").format(name=last.title),
        "seconds": round(last.until - time.monotonic(), 1),
    }


# --- what was pressed, before the page is drawn ---


def _act(key: str, path: str) -> None:
    pressed: object = st.session_state[key].pressed
    match pressed:
        case {"action": "search", "text": str(text)}:
            state().talk_search, state().shown_talks = text, MORE_TALKS
        case {"action": "more"}:
            state().shown_talks += MORE_TALKS
        case {"action": str(action), "id": str(wanted), **others}:
            with errors_flashed():
                _act_on(action, _id(wanted), others, path)
            # Another list on the page, or the conversation itself, changes, too.
            is_open_concerned = path == CHAT and action in ("open", "delete", "restore")
            if is_open_concerned or (path == HISTORY and action not in ("open", "share")):
                st.rerun()


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(what=CONVERSATION) from None


def _act_on(action: str, conversation_id: UUID, others: dict[object, object], path: str) -> None:
    """Errors: `NotFound`; `InvalidName` for a title."""
    conversations, principal = services().conversations, current_principal()
    match action:
        case "open":
            state().choices += 1
            if path == CHAT:
                st.query_params["conversation"] = str(conversation_id)
        case "rename":
            conversations.rename(principal, conversation_id, str(others.get("title", "")))
        case "pin" | "unpin":
            conversations.pin(principal, conversation_id, action == "pin")
        case "delete":
            _delete(principal, conversation_id)
        case "restore":
            _restore(principal, conversation_id, path)


def _delete(principal: Principal, conversation_id: UUID) -> None:
    current = state()
    title = services().conversations.get(principal, conversation_id).title
    services().conversations.delete(principal, conversation_id)
    was_open = open_conversation_id() == conversation_id
    if was_open:
        current.conversation_id, current.refused = None, None
        forget_id("conversation")
    current.deleted.append(Deleted(conversation_id, title, time.monotonic() + UNDO_SECONDS, was_open))


def _restore(principal: Principal, conversation_id: UUID, path: str) -> None:
    current = state()
    services().conversations.restore(principal, conversation_id)
    deleted = next((each for each in current.deleted if each.id == conversation_id), None)
    current.deleted = [each for each in current.deleted if each.id != conversation_id]
    if deleted and deleted.was_open and open_conversation_id() is None:
        if path == CHAT:
            st.query_params["conversation"] = str(conversation_id)
        else:
            current.conversation_id = conversation_id
