"""Uploading files into a knowledge base: a component in the browser that sends them to the upload route."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from kb.access.tickets import Action
from kb.errors import UploadTooLarge
from kb.models import KnowledgeBase, User
from kb.parsing import SUPPORTED_EXTENSIONS
from pages.ui import tickets
from pages.ui.documents import show_newest
from pages.ui.feedback import announce, live_fragment, redraw
from pages.ui.i18n import _, error_text, join_list, join_sentences, language, ngettext, number, size
from pages.ui.resources import services

UPLOAD_KEY = "upload"
HERE = Path(__file__).parent

_uploader = st.components.v2.component(
    "zhiwen.uploader",
    html=(HERE / "uploader.html").read_text(encoding="utf-8"),
    css=(HERE / "uploader.css").read_text(encoding="utf-8"),
    js=(HERE / "uploader.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def draw_upload(user: User, base: KnowledgeBase) -> None:
    """Takes files and folders. Uploads continue while other pages are open, each into the base it was dropped on."""

    @live_fragment(None)
    def upload() -> None:
        with st.container(key=UPLOAD_KEY):
            result = _uploader(key="uploader", data=[_data(user, base)], on_saved_change=lambda: None)
            _draw_usage(user, base)
        if isinstance(result.saved, dict):
            _announce(result.saved, base)

    upload()


def _draw_usage(user: User, base: KnowledgeBase) -> None:
    """How much of the quotas is used, where there are some."""
    usage = services().documents.usage(user.principal, base.id)
    if usage is None:
        return
    is_own = base.owner_id == user.principal.user_id
    texts, explanation = [], None
    if usage.most_bytes:
        explanation = _(
            "Files of replaced versions count, too: answers cite them. They go when their document is deleted."
        )
        text = _("{used} of {most} used by you") if is_own else _("{used} of {most} used by the owner")
        texts.append(text.format(used=size(usage.stored_bytes), most=size(usage.most_bytes)))
    if usage.most_queued:
        text = _("{queued} of at most {most} documents in the queue")
        texts.append(text.format(queued=number(usage.queued), most=number(usage.most_queued)))
    with st.container(key="usage"):
        st.caption(" · ".join(texts), help=explanation)


def _announce(report: dict[str, object], base: KnowledgeBase) -> None:
    """Have the list follow while files are saved; say so when all are."""
    match report:
        case {"saved": 0, "present": int(present)} if present > 0:
            redraw()  # somebody else may just have added them
        case {"saved": int(saved), "knowledge_bases": list(names), "is_done": bool(is_done), **more} if saved > 0:
            if not is_done and more.get("is_first") and str(base.id) in names:
                show_newest()
            elif is_done and more.get("workers_told"):
                announce(ngettext("{count} file saved", "{count} files saved", saved), icon=":material/check:")
            elif is_done:
                text = _("Your files are saved, and are processed as soon as all services are back.")
                announce(text, icon=":material/save:", duration="long")
            redraw()


def _data(user: User, base: KnowledgeBase) -> dict[str, object]:
    limit = services().settings.max_upload_mb
    # The browser puts each file's name in, and asks the server to check the size again.
    too_large, remedy = error_text(UploadTooLarge(name="{name}", limit=limit))
    return {
        "id": str(base.id),
        "name": base.name,
        "ticket": tickets.issue(Action.UPLOAD, user.principal, base.id),
        "limitBytes": limit << 20,
        "tooLarge": join_sentences(too_large, remedy),
        "language": language(),
        "words": _words(base, limit),
    }


def _words(base: KnowledgeBase, limit: int) -> dict[str, str]:
    """The component's texts; it fills in the placeholders that are left."""
    action = _("Upload a new version…")  # of the list of documents
    kinds = join_list(extension.removeprefix(".").upper() for extension in SUPPORTED_EXTENSIONS)
    return {
        "label": _("Upload files into “{name}”").format(name=base.name),
        "drop": _("Drop files or folders here"),
        "hint": _("Up to {limit} MB a file. Supported: {kinds}, and plain text under any name").format(
            limit=number(limit), kinds=kinds
        ),
        "files": _("Choose files"),
        "folder": _("Choose a folder"),
        "saved": _("{done} of {total} saved"),
        "failed": _("{count} failed"),
        "presentOne": _("{count} was there already"),
        "present": _("{count} were there already"),
        "sharesNameOne": _(
            "{count} has the name of another document. To replace that one, use “{action}” in its row."
        ).replace("{action}", action),
        "shareNames": _(
            "{count} have the names of other documents. To replace one of those, use “{action}” in its row."
        ).replace("{action}", action),
        "newVersion": _("New version of “{document}”: {name}"),
        "bytes": _("{done} of {total}"),
        "waiting": _("{count} more waiting"),
        "moreFailed": _("{count} more failed"),
        "saving": _("saving…"),
        "reconnecting": _("connection lost, trying again…"),
        "leftOut": _("Skipped temporary, hidden and system files: {count} ({names})"),
        "cancel": _("Cancel"),
        "cancelAll": _("Cancel all"),
        "retry": _("Retry"),
        "retryAll": _("Retry all"),
        "dismiss": _("Dismiss"),
        "lost": _("The connection to the server was lost."),
        "unconfirmed": _(
            "The connection was lost before the server confirmed. You can retry: what has arrived is not added again."
        ),
        "closed": _("This page is out of date. Open “{name}” again, then retry.").format(name=base.name),
        "unreadable": _("The browser cannot read this file. It may have been moved or changed."),
        "refused": _("The server refused the upload (status {status})."),
    }
