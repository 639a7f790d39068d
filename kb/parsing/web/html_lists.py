"""The numbers that browsers write before the items of ordered lists."""

from __future__ import annotations

import re

from bs4 import Tag

from kb.parsing.numerals import count
from kb.parsing.web.html_parts import integer

_TYPES = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_STYLES = {
    "lower-alpha": "lowerLetter",
    "lower-latin": "lowerLetter",
    "upper-alpha": "upperLetter",
    "upper-latin": "upperLetter",
    "lower-roman": "lowerRoman",
    "upper-roman": "upperRoman",
    "decimal-leading-zero": "decimalZero",
    "cjk-ideographic": "chineseCounting",
    "simp-chinese-informal": "chineseCounting",
    "trad-chinese-informal": "chineseCounting",
    "none": "none",
}
_STYLE = re.compile(r"list-style(?:-type)?\s*:\s*([\w-]+)")


def item_number(item: Tag) -> str:
    """What a browser writes before an item of an ordered list."""
    items = item.parent
    if items is None or items.name != "ol":
        return ""
    styled = _STYLE.search(str(items.get("style", "")).lower())
    style = _STYLES.get(styled.group(1)) if styled else _TYPES.get(str(items.get("type")))
    if style == "none":
        return ""
    number = _place(item, items)
    return f"{count(number, style or 'decimal')}. "


def _place(item: Tag, items: Tag) -> int:
    """The number of an item; kept with the list, so that a long one does not take quadratic time."""
    if item.get("data-zhiwen-number") is None:
        entries = items.find_all("li", recursive=False)
        step = -1 if items.has_attr("reversed") else 1
        number = integer(items.get("start"), len(entries) if step < 0 else 1)
        for entry in entries:
            number = integer(entry.get("value"), number)
            entry["data-zhiwen-number"] = str(number)
            number += step
    return integer(item.get("data-zhiwen-number"), 1)
