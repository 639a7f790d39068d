"""Where the app is below its host, as Streamlit's option server.baseUrlPath says: its own routes move there.

Ours answer there, and at the root, as probes of a container need not know of the option; nowhere else, since the checks
of `web.origins` and `web.signed_in` go by the path.
"""

from __future__ import annotations

import re

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.types import Scope

from pages.ui.session_cookie import home_path

# The path of each of our routes starts with it. They are made after Streamlit has read its options.
BASE_PATH = "/{base_path:base_path}"


class _BasePath(PathConvertor):
    @property
    def regex(self) -> str:  # type: ignore[override]  # a class variable of Starlette's, read when a route is made
        return f"(?:{re.escape(home_path()[1:])})?"


register_url_convertor("base_path", _BasePath())


def page_path(scope: Scope) -> str:
    """The path of a request below the base path, without slashes at its ends."""
    return f"{scope['path']}/".removeprefix(home_path()).strip("/")  # the chat may be asked for without the slash
