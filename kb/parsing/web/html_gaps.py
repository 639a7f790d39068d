"""Where a space belongs between neighbouring elements that are written without one, as labels and their values are."""

from __future__ import annotations

import re
from itertools import islice

from bs4 import Tag

from kb.parsing.web.html_parts import BLOCKS, classes, first_text

_ENDS_WITHIN = re.compile(r"[\s(\[{（【「“‘、，。；：！？/=\-–—$€£¥￥]$")
_BEGINS_WITHIN = re.compile(r"[\s(=)\]}）】」”’.,;:!?。，、；：！？%/\-–—'’]")
_WIDE = "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
_RUNS_ON = re.compile(rf"(?:[^\W\d_A-Z][^\W\d_A-Z]|\d\d|{_WIDE}{_WIDE})")  # two letters that one word may hold
_VERBATIM = ("code", "pre", "kbd", "samp", "ruby", "math")
_NEAR = 30  # elements around
_APART = ("a", "button", "label", "time", "summary", "kbd")


def are_apart(last: str, before: Tag, tag: Tag) -> bool:
    """Whether a space belongs between two elements that stand side by side, as people see them apart."""
    first = first_text(tag)[:2]
    if not first or before.name in BLOCKS or tag.name in ("sup", "sub", "wbr") or before.name in ("sup", "sub", "wbr"):
        return False
    if any(parent.name in _VERBATIM for parent in islice(tag.parents, _NEAR)):
        return False
    if _ENDS_WITHIN.search(last) or _BEGINS_WITHIN.match(first):
        return False
    if tag.name in _APART or before.name in _APART or tag.name != before.name or classes(tag) != classes(before):
        return True
    if _is_phrase(before) or _is_phrase(tag):  # no bits of one word
        return True
    return not _RUNS_ON.fullmatch(last[-1:] + first[:1])


def _is_phrase(tag: Tag) -> bool:
    """Whether the element holds words apart, as far as its first text tells."""
    return bool(re.search(r"\w\s+\w", first_text(tag)[:200]))
