"""The elements of a page as a tree that is no deeper than a browser's: much that reads it takes time by its depth."""

from __future__ import annotations

import warnings
from typing import Any

from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
from bs4.builder._lxml import LXMLTreeBuilder  # bs4.builder re-exports it, but not for mypy

DEPTH = 512  # as in Chromium
_NEVER_DEEP = ("script", "style", "textarea", "select", "option", "img", "input", "br")


def tree_of(page: str) -> BeautifulSoup:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        return BeautifulSoup(page, builder=_Builder())


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
