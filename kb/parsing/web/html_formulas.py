"""Formulas of pages (MathML, KaTeX, MathJax, Wikipedia) → one line of readable TeX, once each."""

from __future__ import annotations

import re

from bs4 import Tag
from bs4.element import NavigableString
from lxml import html as lxml_html
from lxml.etree import LxmlError

from kb.parsing.formulas import fraction, mathml_text
from kb.parsing.web.html_parts import classes

# What holds one formula in several forms: KaTeX, MathJax 3 and 2, Wikipedia.
_FORMULAS = frozenset(("katex", "katex-display", "mwe-math-element", "MathJax", "MathJax_Display"))
_DISPLAY_STYLE = re.compile(r"\{\\(?:display|text)style\s+(.*)\}", re.DOTALL)
_DEEPEST = 300  # elements within elements


def formula_text(tag: Tag) -> str | None:
    """The TeX of a formula; None for anything else."""
    is_holder = not _FORMULAS.isdisjoint(classes(tag)) or tag.name == "mjx-container"
    if not is_holder and tag.name != "math":
        return None
    math = tag if tag.name == "math" else tag.find("math")
    if not isinstance(math, Tag):
        shown = tag.find(class_="katex-html")
        return _typeset_text(shown) if shown is not None else "" if tag.name == "mjx-container" else None
    try:
        text = mathml_text(lxml_html.fromstring(str(math)))
    except (LxmlError, ValueError):  # no formula that can be read as one
        return math.get_text(" ", strip=True)
    displayed = _DISPLAY_STYLE.fullmatch(text)
    return displayed.group(1).strip() if displayed else text


def has_typeset_twin(script: Tag) -> bool:
    """Whether the formula of a script stands before it as MathJax 2 shows it."""
    before = script.find_previous_sibling()
    return before is not None and not _FORMULAS.isdisjoint(classes(before)) and before.find("math") is not None


def _typeset_text(tag: Tag, depth: int = 0) -> str:
    """What the elements of class `katex-html` show, with its powers, indices, fractions and roots."""
    if depth > _DEEPEST:
        return tag.get_text()
    names = classes(tag)
    if "msupsub" in names:
        return _scripts(tag, depth)
    if "mfrac" in names:
        parts = _stacked(tag, depth)
        if len(parts) == 2:
            return fraction(parts[1], parts[0])
    pieces = [
        _typeset_text(child, depth + 1) if isinstance(child, Tag) else str(child)
        for child in tag.contents
        if isinstance(child, (Tag, NavigableString))
    ]
    text = "".join(pieces).replace("\u200b", "")
    return f"\\sqrt{{{text}}}" if "sqrt" in names else text


def _scripts(tag: Tag, depth: int) -> str:
    parts = _stacked(tag, depth)
    if len(parts) == 2:
        return _braced("_", parts[0]) + _braced("^", parts[1])
    is_lowered = tag.find(class_="vlist-t2") is not None
    return _braced("_" if is_lowered else "^", "".join(parts))


def _stacked(tag: Tag, depth: int) -> list[str]:
    """The texts that stand one above the other, the lowest first, without lines between them."""
    stack = tag.find(class_="vlist")
    rows = stack.find_all("span", recursive=False) if stack is not None else []
    return [text for row in rows if (text := _typeset_text(row, depth + 1).strip())]


def _braced(mark: str, text: str) -> str:
    return f"{mark}{text}" if len(text) == 1 else f"{mark}{{{text}}}" if text else ""
