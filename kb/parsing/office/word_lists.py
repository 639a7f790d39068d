"""The automatic numbers of Word's lists, clauses and headings (ECMA-376, part 1, 17.9)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from docx.oxml.ns import qn

from kb.parsing.elements import Element
from kb.parsing.numerals import count

_LEVELS = 9
_MAX_CHAIN = 20  # of styles that are based on each other
_PLACE = re.compile(r"%([1-9])")
_WITHOUT_NUMBER = ("none", "bullet")


class WordNumbers:
    """Numbers the paragraphs of a document, which must be asked in order."""

    def __init__(self, numbering: Element | None, styles: Mapping[str, Element]) -> None:
        self._styles = styles
        parts = list(numbering) if numbering is not None else []
        self._lists = {part.get(qn("w:numId")): part for part in parts if part.tag == qn("w:num")}
        self._kinds = {part.get(qn("w:abstractNumId")): part for part in parts if part.tag == qn("w:abstractNum")}
        self._levels: dict[str, tuple[str, list[Element | None]]] = {}
        self._counts: dict[str, list[int | None]] = {}  # by abstract list
        self._begun: set[tuple[str, int]] = set()  # levels whose own start was used, by list

    def next(self, paragraph: Element) -> str:
        """What Word writes before `paragraph`, with a space if any; empty before one without a number."""
        list_id, level = self._place(paragraph)
        kind, levels = self._levels_of(list_id) if list_id else ("", [])
        if not levels or level >= _LEVELS or levels[level] is None:
            return ""
        counts = self._counts.setdefault(kind, [None] * _LEVELS)
        number = counts[level]
        start = self._own_start(list_id, level)
        if start is not None:
            counts[level] = start
        else:
            counts[level] = _number(levels[level], "w:start", 1) if number is None else number + 1
        for below in range(level + 1, _LEVELS):
            restart = _number(levels[below], "w:lvlRestart", below)
            if restart and level < restart:
                counts[below] = None
        text = _written(levels, level, counts)
        return text + _gap(levels[level], text) if text else ""

    def _place(self, paragraph: Element) -> tuple[str, int]:
        """The list and the level of a paragraph, by itself or by its style."""
        properties = paragraph.find(qn("w:pPr"))
        own = properties.find(qn("w:numPr")) if properties is not None else None
        list_id, level = _value(own, "w:numId"), _value(own, "w:ilvl")
        style_id = _value(properties, "w:pStyle") or self._default_style
        for _ in range(_MAX_CHAIN):
            style = self._styles.get(style_id)
            if style is None or list_id:
                break
            of_style = style.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
            list_id = _value(of_style, "w:numId")
            if list_id:
                level = level or _value(of_style, "w:ilvl") or str(self._level_of_style(list_id, style_id))
            style_id = _value(style, "w:basedOn")
        return ("" if list_id == "0" else list_id), int(level) if level.isdigit() else 0

    @property
    def _default_style(self) -> str:
        return "Normal" if "Normal" in self._styles else ""

    def _level_of_style(self, list_id: str, style_id: str) -> int:
        _kind, levels = self._levels_of(list_id)
        named = [index for index, level in enumerate(levels) if _value(level, "w:pStyle") == style_id]
        return named[0] if named else 0

    def _levels_of(self, list_id: str) -> tuple[str, list[Element | None]]:
        """The abstract list's id and its levels, with the changes of this list."""
        if list_id not in self._levels:
            self._levels[list_id] = self._find_levels(list_id)
        return self._levels[list_id]

    def _find_levels(self, list_id: str) -> tuple[str, list[Element | None]]:
        levels: list[Element | None] = [None] * _LEVELS
        part = self._lists.get(list_id)
        kind = _value(part, "w:abstractNumId")
        for _ in range(_MAX_CHAIN):  # a list may be defined by a style
            linked = self._styles.get(_value(self._kinds.get(kind), "w:numStyleLink"))
            other = linked.find(f"{qn('w:pPr')}/{qn('w:numPr')}") if linked is not None else None
            if other is None:
                break
            kind = _value(self._lists.get(_value(other, "w:numId")), "w:abstractNumId")
        for source in (self._kinds.get(kind), *(part.iterchildren(qn("w:lvlOverride")) if part is not None else ())):
            for level in source.iterchildren(qn("w:lvl")) if source is not None else ():
                index = level.get(qn("w:ilvl")) or ""
                if index.isdigit() and int(index) < _LEVELS:
                    levels[int(index)] = level
        return kind, levels

    def _own_start(self, list_id: str, level: int) -> int | None:
        """Where this list begins, at its first paragraph of `level`, if it does not continue the lists like it."""
        if (list_id, level) in self._begun:
            return None
        self._begun.add((list_id, level))
        for override in self._lists[list_id].iterchildren(qn("w:lvlOverride")):
            start = _value(override, "w:startOverride")
            if override.get(qn("w:ilvl")) == str(level) and start.isdigit():
                return int(start)
        return None


def _written(levels: list[Element | None], level: int, counts: list[int | None]) -> str:
    pattern = _value(levels[level], "w:lvlText")
    styles = [_value(each, "w:numFmt") or "decimal" for each in levels]
    if styles[level] in _WITHOUT_NUMBER:
        return "" if styles[level] == "bullet" else _PLACE.sub("", pattern).strip()
    legal = levels[level].find(qn("w:isLgl"))  # type: ignore[union-attr]
    is_legal = legal is not None and legal.get(qn("w:val")) not in ("0", "false")

    def write(match: re.Match[str]) -> str:
        place = int(match.group(1)) - 1
        number = counts[place]
        number = _number(levels[place], "w:start", 1) if number is None else number
        return count(number, "decimal" if is_legal else styles[place]) if styles[place] not in _WITHOUT_NUMBER else ""

    return _PLACE.sub(write, pattern).strip()


def _gap(level: Element, text: str) -> str:
    """Nothing only where Word puts nothing, and the number cannot run into the text."""
    return "" if _value(level, "w:suff") == "nothing" and not text[-1].isalnum() else " "


def _value(parent: Element | None, name: str) -> str:
    """The value of a child element, or nothing."""
    child = parent.find(qn(name)) if parent is not None else None
    return (child.get(qn("w:val")) or "") if child is not None else ""


def _number(parent: Element | None, name: str, default: int) -> int:
    value = _value(parent, name)
    return int(value) if value.isdigit() else default
