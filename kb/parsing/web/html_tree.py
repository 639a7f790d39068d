"""The elements of a page as a tree that is no deeper than a browser's: much that reads it takes time by its depth."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import Any

from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
from bs4.builder._lxml import LXMLTreeBuilder  # bs4.builder re-exports it, but not for mypy

DEPTH = 512  # as in Chromium
_MANY_ENDS = 10_000
_TAG = re.compile(r"<(/?)([a-z][^\s/<>]*)[^<>]*>?", re.IGNORECASE)
_ENDS_THAT_SHOW = ("p", "br")  # also without a beginning
_NEVER_DEEP = ("script", "style", "textarea", "select", "option", "img", "input", "br")


def tree_of(page: str) -> BeautifulSoup:
    if page.count("</") > _MANY_ENDS:
        page = _without_stray_ends(page)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        return BeautifulSoup(page, builder=_Builder())


def _without_stray_ends(page: str) -> str:
    """Without end tags of elements that never began: for each, libxml2 looks through all that are open."""
    begun: Counter[str] = Counter()

    def replace(match: re.Match[str]) -> str:
        name = match[2].lower()
        if not match[1]:
            begun[name] += 1
        elif not begun[name] and name not in _ENDS_THAT_SHOW:
            return ""
        else:
            begun[name] -= 1
        return match[0]

    return _TAG.sub(replace, page)


class _Builder(LXMLTreeBuilder):
    """Takes the text of elements that are deeper for their parent's, with a space between."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[bool] = []  # the elements that are open, and whether each is in the tree

    def start(self, tag: Any, attrib: Any, nsmap: Any = {}) -> None:  # noqa: B006
        assert self.soup is not None
        is_kept = len(self.soup.tagStack) <= DEPTH or tag in _NEVER_DEEP
        self._open.append(is_kept)
        if is_kept:
            super().start(tag, attrib, nsmap)
        else:
            self.soup.handle_data(" ")

    def end(self, tag: Any) -> None:
        assert self.soup is not None
        if not self._open or self._open.pop():
            super().end(tag)
        else:
            self.soup.handle_data(" ")
