"""What repeats on the pages of a document and says nothing of its subject: page numbers, running headers, footers."""

from __future__ import annotations

import re

_PAGE = r"(?:pages?|p\.?|pp\.?|seite|página|pagina|strana|стр(?:аница|\.)?|s\.)"
_OF = r"(?:of|/|von|de|sur|di|из|\||,?\s*共)"
_NUMBER = r"(?:\d{1,5}|[ivxlc]{1,7})"
_PAGE_NUMBER = re.compile(
    rf"[-–—~·•|\[(（]*\s*(?:{_PAGE}\s*{_NUMBER}?(?:\s*{_OF}\s*{_NUMBER}?)?|{_NUMBER}(?:\s*{_OF}\s*{_NUMBER})?"
    r"|第\s*\d*\s*[页頁](?:\s*[,，/]?\s*共\s*\d*\s*[页頁])?|共\s*\d*\s*[页頁]\s*[,，]?\s*第\s*\d*\s*[页頁]"
    r"|\d*\s*ページ|\d+\s*/\s*\d+\s*[页頁])\s*[-–—~·•|\])）]*",
    re.IGNORECASE,
)


def is_page_number(line: str) -> bool:
    """Whether `line` holds nothing but a page number: `- 3 -`, `Page 2 of 4`, `第 2 页 共 4 页`."""
    return bool(_PAGE_NUMBER.fullmatch(line.strip()))
