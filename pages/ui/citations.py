"""The text of an answer as models write it → Markdown as Streamlit shows it: citations, formulas, money, no images."""

from __future__ import annotations

import re
from collections.abc import Collection

from markdown_it import MarkdownIt

from kb.citations import Citation, Found, Ranked, find_citations, ranks_of, rewrite
from kb.verbatim import Kind, Verbatim, split_verbatim
from pages.ui.i18n import ngettext

# What begins an image. Looked for from the start of a run only: models that go astray write thousands of them.
_IMAGE = re.compile(r"(?<!!)!++(?=\[)")
# Two ranges such as 5~10 strike out what is between them, and a colon makes a directive of the brackets after it.
# `~~` and an address (/~name) stay as they are.
_RANGE = re.compile(r"(?<![~\\/])~(?!~)")
_DIRECTIVE = re.compile(r"(?<!\\):(?=[\w-]*[\[{])")
_DOLLAR = re.compile(r"(?<!\\)\$")
_BREAK = re.compile(r"(?<![ \t])[ \t]*+</?br[ \t]*+/?>[ \t]*+", re.IGNORECASE)
_LINE_END = re.compile(r"[ \t]*$", re.MULTILINE)
# A line that has only its sign so far: of a quotation, a list, a heading or a cell of a table.
_LINE_START = re.compile(r"(?:^|\n|\|)[ \t>]*+(?:[-*+]|#{1,6}|\d{1,9}[.)])?[ \t]*\Z")
_WITH_SPACE, _WITHOUT_SPACE = "\u00a0", "\u202f"
# Badges that could begin a line of their own: after code or a formula, and after other badges.
_BADGES_FIRST = re.compile(r"\A[ \t]*(?=:blue-badge\[)")
_SPACED_BADGES = re.compile(r"(?<=\])[ \t]+(?=:blue-badge\[)")
_LOOK_BACK = 40
_MARKDOWN = MarkdownIt().enable("table")


def safe_markdown(content: str, found: Found[Ranked] | None = None, has_formulas: bool = True) -> str:
    """An answer for showing: citations that hold are marked, formulas and money are told apart, images become links.

    Code stays as it is. Our own quotations have no formulas, but escaped brackets, which look like some. A citation
    that points nowhere is left out: see `kb.citations.count_dangling`. Takes time in proportion to the length, also for
    text that breaks off anywhere.
    """
    ranks = ranks_of(found)
    parts, is_in_line = [], False  # whether code or a formula stands before, in the same line
    for verbatim, text in split_verbatim(content, has_formulas):
        if verbatim is None:
            prose = _prose(text, ranks)
            # A formula, whose parts browsers take for pictures, needs actions.js, too.
            parts.append(_BADGES_FIRST.sub(_WITHOUT_SPACE, prose) if is_in_line else prose)
        else:
            parts.append(_formula_or_code(verbatim, content))
        is_in_line = verbatim is not None and verbatim.kind is not Kind.FENCED
    shown = "".join(parts)
    return _IMAGE.sub("", shown) if _holds_image(shown) else shown


def dangling_text(count: int, code: str | None = None) -> str:
    """How many citations of the model were left out of its answer, because they point to no passage."""
    return ngettext(
        "{count} citation points to no passage and was left out",
        "{count} citations point to no passage and were left out",
        count,
        code,
    )


def _formula_or_code(found: Verbatim, content: str) -> str:
    text = content[found.start : found.end]
    if found.is_code:
        return text
    if found.kind is Kind.INLINE:
        return _IMAGE.sub("", text)
    formula = found.body.strip()
    if found.kind is Kind.ROUND:
        return _inline_formula(formula)
    before = content[max(0, found.start - _LOOK_BACK) : found.start].rpartition("\n")[2]
    if before.strip() or not _LINE_END.match(content, found.end):
        return _inline_formula(rf"\displaystyle {formula}")
    # Markdown shows a formula in its middle only between lines of two dollars, indented as the text around it.
    body = "\n".join(before + line.strip() for line in formula.splitlines())
    return _IMAGE.sub("", f"$$\n{body}\n{before}$$")


def _inline_formula(formula: str) -> str:
    text = " ".join(_IMAGE.sub("", formula).split())
    return f"$${text}$$" if "$" in text else f"${text}$"


def _prose(text: str, ranks: Collection[int]) -> str:
    text = _IMAGE.sub("", text)
    if _BREAK.search(text):
        text = "\n".join(_break_lines(line) for line in text.split("\n"))
    text = _DOLLAR.sub(r"\$", _DIRECTIVE.sub(r"\:", _RANGE.sub(r"\~", text)))
    return _SPACED_BADGES.sub(_WITH_SPACE, rewrite(text, find_citations(text, ranks), _marked))


def _marked(before: str, citation: Citation) -> str:
    return _tie(before) + _badges(citation) if citation.ranks else before.rstrip(" \t")


def _tie(before: str) -> str:
    """The text before badges with a space that keeps them on its line (style.css has them flow as text does)."""
    words = before.rstrip(" \t")
    if not words or _LINE_START.search(before[-_LOOK_BACK:]):
        return before
    return words + (_WITH_SPACE if words != before else _WITHOUT_SPACE)


def _badges(citation: Citation) -> str:
    """A badge for each passage, and the page that was named."""
    badges = "".join(f":blue-badge[{rank}]" for rank in citation.ranks)
    return f"{badges} ({citation.page})" if citation.page else badges


def _break_lines(line: str) -> str:
    """In a row of a table, where a line's end would end the row, the character itself; style.css keeps it."""
    return _BREAK.sub("&#10;" if "|" in line else r"\\\n", line)


def _holds_image(text: str) -> bool:
    """Whether Markdown finds an image in what was taken for code."""
    if not _IMAGE.search(text):
        return False
    blocks = _MARKDOWN.parse(text)
    return any(inline.type == "image" for block in blocks for inline in block.children or ())
