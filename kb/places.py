"""What the place of a passage in its document is called: a page, a slide or a sheet, as its kind of document has them.

The pages and the prompts name it alike, so that models quote what people see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kb.errors import N_

PAGE, SLIDE, SHEET, NAMED_SHEET = N_("p. {page}"), N_("slide {number}"), N_("sheet {number}"), N_("sheet “{name}”")

_SLIDES = {".pptx", ".pptm", ".ppsx", ".ppt", ".odp"}
_WORKBOOKS = {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"}
_SEPARATOR = " > "  # between the headings above a chunk


def name_place(
    document_name: str,
    page: int,
    heading: str = "",
    translate: Callable[[str], str] = str,
    number: Callable[[int], str] = str,
) -> str:
    """The place in the language of `translate` and `number`. Empty without pages."""
    if not page:
        return ""
    extension = Path(document_name).suffix.lower()
    if extension in _SLIDES:
        return translate(SLIDE).format(number=number(page))
    if extension not in _WORKBOOKS:
        return translate(PAGE).format(page=number(page))
    if sheet := heading.split(_SEPARATOR)[0]:  # the parser makes the sheet's name its first heading
        return translate(NAMED_SHEET).format(name=sheet)
    return translate(SHEET).format(number=number(page))


def are_pages_whole(document_name: str) -> bool:
    """Whether each page is a thing of its own, as slides and sheets are: no text goes on from one to the next."""
    return Path(document_name).suffix.lower() in _SLIDES | _WORKBOOKS


def headings_below(document_name: str, page: int, heading: str) -> Sequence[str]:
    """The headings above a chunk, from the outermost, without one that its place names already."""
    titles = heading.split(_SEPARATOR) if heading else []
    is_sheet = bool(page) and Path(document_name).suffix.lower() in _WORKBOOKS
    return titles[1:] if is_sheet else titles
