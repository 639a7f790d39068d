"""The launcher: `streamlit run webui_st.py`. One port for the pages and the HTTP routes; the services start with it."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

from pages.ui.feedback import show_defect
from web.app import build_middleware, build_routes, lifespan

SCRIPT = Path(__file__).resolve().parent / "pages" / "app.py"
# Streamlit puts the script's folder on `sys.path` for each run and takes it off again. An import that goes along the
# path in another thread meanwhile can skip an entry and miss its module. A folder that is there already is left alone.
if str(SCRIPT.parent) not in sys.path:
    sys.path.append(str(SCRIPT.parent))

routes = build_routes()
# Streamlit looks for this very form of call, without running the file.
app = st.App(
    SCRIPT,
    routes=routes,
    middleware=build_middleware(routes),
    lifespan=lifespan,
    on_script_error=show_defect,
)
