"""Formulas that KaTeX set for the screen alone, without MathML → one line of readable TeX."""

from __future__ import annotations

from bs4 import Tag
from bs4.element import NavigableString

from kb.parsing.formulas import fraction
from kb.parsing.html_parts import classes

_DEEPEST = 300  # elements within elements


def typeset_text(tag: Tag, depth: int = 0) -> str:
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
        typeset_text(child, depth + 1) if isinstance(child, Tag) else str(child)
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
    return [text for row in rows if (text := typeset_text(row, depth + 1).strip())]


def _braced(mark: str, text: str) -> str:
    return f"{mark}{text}" if len(text) == 1 else f"{mark}{{{text}}}" if text else ""
