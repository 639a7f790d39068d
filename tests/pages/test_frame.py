"""The frame around the pages: Streamlit's own words against the installed Streamlit."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import streamlit

from pages.ui.frame import PAGES, PAGES_FOLDER, STREAMLIT_WORDS
from tests.real_services import ROOT

SCRIPTS = Path(streamlit.__file__).parent / "static" / "static" / "js"
WORDS = sorted({text for _selector, _attribute, texts in STREAMLIT_WORDS for text in texts})
TEST_IDS = sorted({name for selector, *_rest in STREAMLIT_WORDS for name in re.findall(r"data-testid=(\w+)", selector)})


@cache
def scripts() -> str:
    """Streamlit's front end, without the libraries of charts and diagrams."""
    return "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS.glob("[A-Ziu]*.js"))


@pytest.mark.parametrize("text", WORDS)
def test_streamlit_still_says(text: str) -> None:
    """A word that Streamlit has changed would appear in English on a Chinese page."""
    pieces = [piece for piece in re.split(r"\{\w+\}", text) if piece.strip()]
    assert all(piece.strip() in scripts() for piece in pieces)


@pytest.mark.parametrize("name", TEST_IDS)
def test_streamlit_still_has_the_element(name: str) -> None:
    assert name in scripts()


@pytest.mark.parametrize("path", PAGES)
def test_page_file_exists(path: str) -> None:
    assert (PAGES_FOLDER / PAGES[path][0]).is_file()


def test_pages_do_not_load_pandas() -> None:
    """It takes 80 MB, which an idle web process need not load: a dict given to a component makes Streamlit load it."""
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from streamlit.testing.v1 import AppTest
before = "pandas" in sys.modules
app = AppTest.from_string("from pages.ui.frame import draw_frame; draw_frame('')", default_timeout=60).run()
assert not app.exception, app.exception
print(len(app.get("bidi_component")), before, "pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False", "False"]
