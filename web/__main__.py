"""`zhiwen [OPTION…]`, or `python -m web`: `streamlit run` for an installed Zhiwen, from any folder."""

from __future__ import annotations

import sys
from pathlib import Path

from streamlit.web import cli

# Streamlit reads its settings from the folder `.streamlit` beside it.
LAUNCHER = Path(__file__).resolve().parents[1] / "webui_st.py"


def main() -> None:
    """Run the launcher with the options of `streamlit run`, such as `--server.port=8600`."""
    cli.main(["run", str(LAUNCHER), *sys.argv[1:]], prog_name="streamlit")


if __name__ == "__main__":
    main()
