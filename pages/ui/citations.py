"""Citations: the [1] in an answer, checked against its passages, and the drawer that shows the chunk."""

from __future__ import annotations

import re

import streamlit as st
from markdown_it import MarkdownIt

from kb.models import Passage, Retrieval
from pages.ui.feedback import dialog
from pages.ui.i18n import _
from pages.ui.passages import draw_passage, place

# As the prompt asks for it, [1], and as models write it all the same: [1, 2], 【1】, 【1†source】.
_NUMBERS = r"[ \t]*(\d{1,2}(?:[ \t]*[,，、][ \t]*\d{1,2})*)[ \t]*"
_CITATION = re.compile(rf"\[{_NUMBERS}\](?!\()|[【［]{_NUMBERS}(?:†[^】］\n]{{0,200}})?[】］]")
# What begins an image. Looked for from the start of a run only: models that go astray write thousands of them.
_IMAGE = re.compile(r"(?<!!)!++(?=\[)")
# Code and formulas, in which nothing is a citation.
_VERBATIM = re.compile(
    r"^[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:(`{3,})[^`\n]*|(~{3,})[^\n]*)(?:\n.*?^[ \t]*(?:\1|\2)|.*\Z)"
    r"|(?<![`\\])(`+)(?!`)[^\n]+?(?<!`)\3(?!`)"
    r"|\$\$.+?\$\$|(?<![\\$])\$(?![\s$])[^$\n]*(?<![\s\\])\$(?!\d)",
    re.MULTILINE | re.DOTALL,
)
# What Streamlit's Markdown would take for markup, and people write as text: two ranges such as 5~10 strike out what is
# between them, and a colon makes a directive of the brackets after it. `~~` and an address (/~name) stay as they are.
_RANGE = re.compile(r"(?<![~\\/])~(?!~)")
_DIRECTIVE = re.compile(r"(?<!\\):(?=[\w-]*[\[{])")
_LABEL_CHARACTERS = 40
_MARKDOWN = MarkdownIt().enable("table")


def cited(content: str, retrieval: Retrieval | None) -> list[Passage]:
    """The passages that `content` cites, in the order of their ranks."""
    ranks = _ranks(retrieval)
    numbers = {number for match in _CITATION.finditer(_VERBATIM.sub(" ", content)) for number in _cited(match, ranks)}
    return [passage for passage in retrieval.passages if passage.rank in numbers] if retrieval else []


def safe_markdown(content: str, retrieval: Retrieval | None = None) -> str:
    """An answer for showing: no image is loaded (it becomes a link), and citations that hold are marked. Code stays.

    A number without a passage behind it stays plain text: it links to nothing, and must not look as if it did.
    """
    ranks = _ranks(retrieval)

    def mark(match: re.Match[str]) -> str:
        return "".join(f":blue-badge[{number}]" for number in _cited(match, ranks)) or match[0]

    def mark_up(prose: str) -> str:
        return _CITATION.sub(mark, _DIRECTIVE.sub(r"\:", _RANGE.sub(r"\~", _IMAGE.sub("", prose))))

    parts, end = [], 0
    for verbatim in _VERBATIM.finditer(content):
        is_formula = verbatim[0].startswith("$")
        parts += [
            mark_up(content[end : verbatim.start()]),
            _IMAGE.sub("", verbatim[0]) if is_formula else verbatim[0],
        ]
        end = verbatim.end()
    shown = "".join(parts) + mark_up(content[end:])
    return _IMAGE.sub("", shown) if _holds_image(shown) else shown


def _holds_image(text: str) -> bool:
    """Whether Markdown finds an image in what was taken for code."""
    if not _IMAGE.search(text):
        return False
    blocks = _MARKDOWN.parse(text)
    return any(inline.type == "image" for block in blocks for inline in block.children or ())


def _ranks(retrieval: Retrieval | None) -> set[int]:
    return {passage.rank for passage in retrieval.passages} if retrieval else set()


def _cited(match: re.Match[str], ranks: set[int]) -> list[int]:
    """The passages that a `_CITATION` names; none if one of them is not there: then it is a list of other things."""
    numbers = [int(number) for number in re.findall(r"\d+", match[1] or match[2])]
    return numbers if ranks.issuperset(numbers) else []


def draw_citations(content: str, retrieval: Retrieval, key_suffix: str = "") -> None:
    """A button for each cited passage; a click opens the chunk."""
    passages = cited(content, retrieval)
    if not passages:
        return
    with st.container(horizontal=True, gap="small", key=f"cited{key_suffix}"):
        for passage in passages:
            label = place(passage)
            if len(label) > _LABEL_CHARACTERS:
                label = label[: _LABEL_CHARACTERS - 12] + "…" + label[-11:]
            text = f"{passage.rank} · {label}"
            if st.button(_escape_label(text), key=f"citation-{passage.rank}{key_suffix}", type="tertiary"):
                open_passage(passage, retrieval)


def open_passage(passage: Passage, retrieval: Retrieval) -> None:
    """The chunk in a drawer, with what surrounds it."""

    @dialog(_("Passage {rank}").format(rank=passage.rank), width="medium", position="right")
    def drawer() -> None:
        with st.container(key="drawer"):
            draw_passage(passage, retrieval.trace.terms)
        if passage.context and passage.context != passage.chunk.text:
            with st.expander(_("With the text around it, as the model saw it")):
                st.text(passage.context)

    drawer()


def _escape_label(text: str) -> str:
    return re.sub(r"([\\`*_\[\]~$:])", r"\\\1", text)
