"""Uploads that are on their way from the browser: Streamlit shows a file only once it is there."""

from __future__ import annotations

import re
from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.state import state

_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/")

_arriving: Counter[str] = Counter()  # requests by session


class CountArrivals:
    """ASGI middleware that knows which sessions' files are on their way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = _UPLOAD.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if upload is None:
            await self._app(scope, receive, send)
            return
        session_id = upload[1]
        _arriving[session_id] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            _arriving[session_id] -= 1
            if not _arriving[session_id]:
                del _arriving[session_id]


def has_arrivals() -> bool:
    """Whether files of this session are on their way, or there and not taken by a page yet."""
    manager, session_id = _files()
    return session_id in _arriving or bool(manager and manager.file_storage.get(session_id))


def abandon_uploads() -> bool:
    """For a page without uploaders: they take along what is still on its way. Whether there was anything."""
    is_loss = bool(state().uploaders) and has_arrivals()
    state().uploaders.clear()
    return is_loss


def forget_files() -> None:
    """Free the memory that Streamlit holds for files of this session that no page took."""
    manager, session_id = _files()
    if manager:
        manager.remove_session_files(session_id)


def forget_file(file_id: str) -> None:
    """Free the memory that Streamlit holds for a file of this session."""
    manager, session_id = _files()
    if manager:
        manager.remove_file(session_id, file_id)


def _files() -> tuple[MemoryUploadedFileManager | None, str]:
    """Where Streamlit keeps the files that have arrived, and under which session."""
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        return context.uploaded_file_mgr, context.session_id
    return None, ""
