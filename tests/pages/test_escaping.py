"""Names that files and servers bring along are shown as they are: Markdown in them means nothing."""

import re

from streamlit.testing.v1 import AppTest

from kb.models import Retrieval, RetrievalProfile, Step, Trace
from kb.retrieval import PARTLY_READ
from tests.pages.conftest import Installation, Visit

NAME = "![x](http://h/x) [y](http://h) :red[z] <http://h> `code`"
MARKUP = re.compile(r"(?<!\\)(?:!\[|\[|<|`|:red)")


def nothing_found(retrieval: object) -> None:
    from pages.ui.passages import draw_nothing_found

    draw_nothing_found(retrieval)  # type: ignore[arg-type]


def test_files_that_were_read_in_part() -> None:
    step = Step("partly_read", remaining=1, note=PARTLY_READ, note_values={"names": NAME})
    retrieval = Retrieval("?", trace=Trace((step,), RetrievalProfile(), 1.0))
    (caption,) = AppTest.from_function(nothing_found, args=(retrieval,)).run().caption
    assert "http" in caption.value
    assert not MARKUP.search(caption.value)


def test_model_that_answers(installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="![x](http://h/x)")
    (caption,) = [each.value for each in visit(mode="llm").app.caption if "Language model:" in each.value]
    assert not MARKUP.search(caption)
