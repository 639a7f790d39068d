"""Page numbers in lines of text, as documents in many languages write them."""

from __future__ import annotations

import re
from collections.abc import Callable

_PAGE = (
    r"(?:pages?|p\.?|pp\.?|seite|páginas?|pág\.?|pagina|blad|side|sida|sivu|strona|strana|oldal|sayfa|trang|halaman"
    r"|стр(?:аница|\.)?|s\.)"
)
_OF = r"(?:of|/|von|van|av|af|de|sur|di|z|od|из|\||,?\s*共)"
_NUMBER = r"(?:\d{1,5}|[ivxlc]{1,7})"
_PAGE_NUMBER = re.compile(
    rf"[-–—~·•|\[(（]*\s*(?:{_PAGE}\s*{_NUMBER}?(?:\s*{_OF}\s*{_NUMBER}?)?|{_NUMBER}(?:\s*{_OF}\s*{_NUMBER})?"
    r"|第\s*\d*\s*[页頁](?:\s*[,，/]?\s*共\s*\d*\s*[页頁])?|共\s*\d*\s*[页頁]\s*[,，]?\s*第\s*\d*\s*[页頁]"
    r"|\d*\s*ページ|\d+\s*/\s*\d+\s*[页頁])\s*[-–—~·•|\])）]*",
    re.IGNORECASE,
)
_SAYS_PAGE = re.compile(
    rf"\b{_PAGE}\s*\d{{1,5}}(?:\s*{_OF}\s*\d{{1,5}})?|第\s*\d{{1,5}}\s*[页頁](?:\s*[,，/]?\s*共\s*\d{{1,5}}\s*[页頁])?",
    re.IGNORECASE,
)


def is_page_number(line: str) -> bool:
    """Whether `line` holds nothing but a page number: `- 3 -`, `Page 2 of 4`, `第 2 页 共 4 页`."""
    return bool(_PAGE_NUMBER.fullmatch(line.strip()))


def replace_page_numbers(text: str, replacement: Callable[[re.Match[str]], str]) -> str:
    """The text with its page numbers replaced. A bare number counts only if it is the whole text."""
    return (_PAGE_NUMBER if is_page_number(text) else _SAYS_PAGE).sub(replacement, text)
