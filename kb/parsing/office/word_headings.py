"""Which paragraphs of Word are headings: by their own outline level, or by their style."""

from __future__ import annotations

from collections.abc import Mapping

from docx.oxml.ns import qn

from kb.parsing.elements import Element

_PPR, _STYLE, _OUTLINE, _VAL = (qn(f"w:{name}") for name in ("pPr", "pStyle", "outlineLvl", "val"))
_BODY_LEVEL = 9  # Word's outline level for body text
_MAX_STYLE_CHAIN = 20


def heading_level(paragraph: Element, levels: Mapping[str, int]) -> int:
    """The paragraph's own outline level, else its style's; 0 for body text."""
    properties = paragraph.find(_PPR)
    if properties is None:
        return 0
    own = properties.find(_OUTLINE)
    if own is not None:
        return _outline_level(own)
    style = properties.find(_STYLE)
    return levels.get(style.get(_VAL), 0) if style is not None else 0


def _outline_level(element: Element) -> int:
    value = element.get(_VAL) or ""
    return int(value) + 1 if value.isdigit() and int(value) < _BODY_LEVEL else 0


def style_levels(styles: Mapping[str, Element]) -> dict[str, int]:
    """Heading level by style id. In the file, Word's built-in styles have English names in every language."""
    return {style_id: level for style_id, style in styles.items() if (level := _style_level(style, styles))}


def _style_level(style: Element, styles: Mapping[str, Element]) -> int:
    for _ in range(_MAX_STYLE_CHAIN):
        name = style.find(qn("w:name"))
        words = (name.get(_VAL) or "").lower().split() if name is not None else []
        if words == ["title"]:
            return 1
        if len(words) == 2 and words[0] in ("heading", "标题", "標題") and words[1].isdigit():
            return max(1, int(words[1]))
        outline = style.find(f"{_PPR}/{_OUTLINE}")
        if outline is not None:
            return _outline_level(outline)
        parent = style.find(qn("w:basedOn"))
        if parent is None or parent.get(_VAL) not in styles:
            return 0
        style = styles[parent.get(_VAL)]
    return 0
