"""What Word's properties and fields show: raised text, symbols, descriptions of images, states of forms."""

from __future__ import annotations

from docx.oxml.ns import qn

from kb.parsing.alt_texts import alt_text
from kb.parsing.elements import Element
from kb.parsing.inline import LOWERED, RAISED
from kb.parsing.symbols import read_symbols

_VAL = qn("w:val")
_BOX, _DRAWN = qn("w:txbxContent"), qn("wp:docPr")
_MAX_SPAN = 1_000  # columns
_RAISED_BY = 4  # half-points


def number_of(properties: Element | None, name: str, default: int) -> int:
    found = properties.find(qn(name)) if properties is not None else None
    value = found.get(_VAL) if found is not None else None
    return min(int(value), _MAX_SPAN) if value and value.isdigit() else default


def is_on(properties: Element | None, name: str) -> bool:
    found = properties.find(qn(name)) if properties is not None else None
    return found is not None and found.get(_VAL) not in ("0", "false", "none")


def raised_level(properties: Element | None) -> int | None:
    """Whether these properties raise or lower a run, by its kind or by hand; None if they say nothing."""
    if properties is None:
        return None
    align, position = properties.find(qn("w:vertAlign")), properties.find(qn("w:position"))
    value = align.get(_VAL) if align is not None else ""
    if value in ("superscript", "subscript"):
        return RAISED if value == "superscript" else LOWERED
    moved = (position.get(_VAL) or "").lstrip("+") if position is not None else ""
    if moved.lstrip("-").isdigit() and abs(int(moved)) >= _RAISED_BY:
        return RAISED if int(moved) > 0 else LOWERED
    return None if align is None and position is None else 0


def font_of(properties: Element | None) -> str:
    fonts = properties.find(qn("w:rFonts")) if properties is not None else None
    return (fonts.get(qn("w:ascii")) or "") if fonts is not None else ""


def image_text(drawing: Element) -> str:
    """What the author describes an image with."""
    if next(drawing.iter(_BOX), None) is not None:
        return ""
    described = next((text for each in drawing.iter(_DRAWN) if (text := alt_text(each.get("descr")))), "")
    return f" {described} " if described else ""


def symbol_text(symbol: Element) -> str:
    code = symbol.get(qn("w:char")) or ""
    try:
        char = chr(int(code, 16))
    except ValueError:
        return ""
    return read_symbols(char, symbol.get(qn("w:font")) or "")


def field_value(field: Element) -> str:
    """The state of a check box or a drop-down list of an old form."""
    data = field.find(qn("w:ffData"))
    box = data.find(qn("w:checkBox")) if data is not None else None
    if box is not None:
        state = box.find(qn("w:checked"))
        state = box.find(qn("w:default")) if state is None else state
        return "☒" if state is not None and state.get(_VAL) not in ("0", "false") else "☐"
    choices = data.find(qn("w:ddList")) if data is not None else None
    if choices is None:
        return ""
    entries = [entry.get(_VAL) or "" for entry in choices.iterchildren(qn("w:listEntry"))]
    chosen = number_of(choices, "w:result", number_of(choices, "w:default", 0))
    return entries[chosen] if chosen < len(entries) else ""


def is_placeholder(control: Element) -> bool:
    """Whether a content control shows only its prompt, such as "Click here to enter text"."""
    return is_on(control.find(qn("w:sdtPr")), "w:showingPlcHdr")
