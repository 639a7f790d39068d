"""Scripts that the browser loads once, from `web.scripts`, because a page has many of their components.

Streamlit sends a component's script with each of its elements, in each run of the page.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

ADDRESS = "api/scripts"
SCRIPTS = {path.name: path for path in (Path(__file__).parent / "actions.js",)}


def loading(name: str) -> str:
    """The script of a component that is the one called `name`, from an address that changes with its content."""
    version = hashlib.sha256(SCRIPTS[name].read_bytes()).hexdigest()[:16]
    return (
        f'const url = new URL("{ADDRESS}/{name}?version={version}", document.baseURI)\n'
        "export default (await import(url.href)).default\n"
    )
