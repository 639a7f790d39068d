"""Where the body of a page begins, as browsers see it.

libxml2 knows the elements of HTML 4: an <article> without a <body> stays in the head for it.
"""

from __future__ import annotations

import re

_ATTRIBUTES = r"""\b(?:[^>"']|"[^"]*"|'[^']*')*+"""
_HEAD = re.compile(
    r"\s+|<!--.*?-->|<[!?][^>]*>"
    rf"|</?(?:html|head){_ATTRIBUTES}>|</(?:title|style|script|noscript|template|meta|link|base)\s*>"
    rf"|<(?:meta|link|base|basefont|bgsound){_ATTRIBUTES}>"
    rf"|<(title|style|script|template){_ATTRIBUTES}(?:(?<=/)>|>.*?</\1\s*>)"
    rf"|<noscript>(?:\s|<(?:meta|link){_ATTRIBUTES}>|<style{_ATTRIBUTES}>.*?</style\s*>|<!--.*?-->)*+</noscript\s*>",
    re.IGNORECASE | re.DOTALL,
)
_OPEN_TITLE = re.compile(r"<title\b[^>]*>[^<]*(?!.*</title)", re.IGNORECASE | re.DOTALL)
_BODY = re.compile(rf"<body{_ATTRIBUTES}>", re.IGNORECASE)
_FRAMES = re.compile(r"<frameset\b", re.IGNORECASE)
_WITHOUT_FRAMES = re.compile(r"<noframes\b[^>]*>(.*?)</noframes\s*>", re.IGNORECASE | re.DOTALL)
_PREFIX = re.compile(r"""\sxmlns:([\w-]+)\s*=\s*["']http://www\.w3\.org/1999/xhtml["']""")
_BEGINNING = 4_000  # characters, in which XML declares its prefixes


def with_body(page: str) -> str:
    """The page with the <body> that it leaves out; of one in frames, what it shows to programs without them."""
    page = _without_prefix(page)
    start = 0
    while found := _HEAD.match(page, start):
        start = found.end()
    if title := _OPEN_TITLE.match(page, start):
        return f"{page[: title.end()]}</title><body>{page[title.end() :]}"
    if _BODY.match(page, start):
        return page
    rest = page[start:]
    if _FRAMES.match(rest):
        rest = "".join(_WITHOUT_FRAMES.findall(rest))
        if _BODY.match(rest.lstrip()):
            return page[:start] + rest
    return f"{page[:start]}<body>{rest}" if rest else page


def _without_prefix(page: str) -> str:
    """XHTML without the prefix of its names, such as <h:p>."""
    prefix = _PREFIX.search(page, 0, _BEGINNING)
    return re.sub(rf"<(/?){re.escape(prefix[1])}:", r"<\1", page) if prefix else page
