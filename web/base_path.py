"""Where the app is below its host, as Streamlit's option server.baseUrlPath says: its own routes move there."""

from __future__ import annotations

from starlette.types import Scope

from pages.ui.session_cookie import home_path


def page_path(scope: Scope) -> str:
    """The path of a request below the base path, without slashes at its ends."""
    return f"{scope['path']}/".removeprefix(home_path()).strip("/")  # the chat may be asked for without the slash
