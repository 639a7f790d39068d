"""`zhiwen run`: start the pages, and with them what is not configured, as `make run` does."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from kb.config import SOURCE

if TYPE_CHECKING:
    from kb.cli.connecting import OpenQueue

# Streamlit reads its settings from the folder `.streamlit` beside it.
LAUNCHER = SOURCE / "webui_st.py"


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    """Becomes `streamlit run` with the same options: signals and the exit code are Streamlit's own."""
    from kb.embedding.__main__ import main as fetch_model

    fetch_model()
    # -P: what lies in the current folder is not ours to import.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "streamlit", "run", str(LAUNCHER), *asked.options])
