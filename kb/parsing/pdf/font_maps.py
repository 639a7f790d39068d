"""Text of PDF pages whose fonts do not say which characters their glyphs are, so that the text looks garbled."""

from __future__ import annotations

import re

import pypdfium2
import pypdfium2.raw as pdfium

from kb.parsing.pdf.glyphs import SPACES

_SAMPLE = 400  # characters of a page, evenly spaced
_FEWEST = 10  # a few bullets or signs of a formula do no harm
_MOST_UNMAPPED = 0.3  # of a page's characters
_ORDINARY = re.compile(r"[A-Za-z0-9.,:;()%/-]")
_VOWELS = re.compile("[aeiouAEIOU]")
_LETTERS = re.compile("[A-Za-z]")
_LEAST_ORDINARY = 0.9
_VOWEL_SHARE = (0.25, 0.6)  # of the letters of European languages; about a third


def looks_garbled(textpage: pypdfium2.PdfTextPage) -> bool:
    """Whether much of a page's text comes from fonts without a map to characters, and does not read like text.

    Without a map, PDFium takes the glyphs' numbers for characters. In some fonts, such as those of Matplotlib's charts,
    these are the right ones.
    """
    total = textpage.count_chars()
    codes = unmapped = 0
    found: list[str] = []
    for index in range(0, total, max(1, total // _SAMPLE)):
        code = pdfium.FPDFText_GetUnicode(textpage.raw, index)
        if code in SPACES:
            continue
        codes += 1
        if pdfium.FPDFText_HasUnicodeMapError(textpage.raw, index) == 1:
            unmapped += 1
            found.append(chr(code))
    return unmapped >= _FEWEST and unmapped > _MOST_UNMAPPED * codes and not _is_readable("".join(found))


def _is_readable(text: str) -> bool:
    letters = len(_LETTERS.findall(text))
    if len(_ORDINARY.findall(text)) < _LEAST_ORDINARY * len(text):
        return False
    least, most = _VOWEL_SHARE
    return not letters or least * letters <= len(_VOWELS.findall(text)) <= most * letters
