"""Formulas of Office (OMML: ECMA-376, part 1, 22.1) and of web pages (MathML) → one line of readable TeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lxml import etree

from kb.normalizing import normalize
from kb.parsing.elements import Element

_SIMPLE = re.compile(r"-?(?:[\w.,]+|\\[A-Za-z]+)")
_AFTER_FRACTION = re.compile(r"(?<=\w) (?=[^\w\s\\(\[{^_&])")
_PRODUCT = re.compile(r"-?\d[\d.,]*[^\W\d].*")  # 2a
_ACCENTS = {
    "\u0302": "hat",
    "^": "hat",
    "ˆ": "hat",
    "\u0303": "tilde",
    "~": "tilde",
    "˜": "tilde",
    "\u0304": "bar",
    "\u0305": "bar",
    "¯": "bar",
    "‾": "bar",
    "\u20d7": "vec",
    "→": "vec",
    "\u0307": "dot",
    "˙": "dot",
    ".": "dot",
    "\u0308": "ddot",
    "¨": "ddot",
}
_FUNCTION = re.compile(
    r"sinh?|cosh?|tanh?|cot|sec|csc|arc(?:sin|cos|tan)|log|ln|lg|exp|min|max|lim|sup|inf|det|dim|gcd"
)
_LARGE = {"∑": "\\sum", "∏": "\\prod", "∫": "\\int", "∬": "\\iint", "∮": "\\oint", "⋃": "\\bigcup", "⋂": "\\bigcap"}
_FENCES = {"{": "\\{", "}": "\\}", "‖": "\\|", "〈": "\\langle ", "〉": "\\rangle "}
_INVISIBLE = str.maketrans("", "", "\u2061\u2062\u2063\u2064")


def omml_text(formula: Element) -> str:
    """The TeX of an `m:oMath` or `m:oMathPara`."""
    return _tidy(_office(formula))


def mathml_text(formula: Element) -> str:
    """The TeX of a `math` element (of lxml): what its author wrote, if the page holds that."""
    for note in formula.iter():
        if _name(note) == "annotation" and "tex" in (note.get("encoding") or "").lower() and (note.text or "").strip():
            return _tidy(note.text.strip())
    return _tidy(_web(formula))


def fraction(above: str, below: str) -> str:
    """3/4, or \\frac{a+b}{2a} where the parts are no single terms."""
    above, below = above.strip(), below.strip()
    if _SIMPLE.fullmatch(above) and _SIMPLE.fullmatch(below) and not _PRODUCT.fullmatch(below):
        return f"{above}/{below} "  # what follows is no part of the denominator
    return f"\\frac{{{above}}}{{{below}}}"


def _tidy(text: str) -> str:
    text = normalize("NFKC", text.translate(_INVISIBLE)) if _is_styled(text) else text.translate(_INVISIBLE)
    return _AFTER_FRACTION.sub("", " ".join(text.split()))


def _is_styled(text: str) -> bool:
    """Whether it holds mathematical letters (𝑥, 𝐀), which no one can type."""
    return any("\U0001d400" <= char <= "\U0001d7ff" for char in text)


def _name(element: Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _power(base: str, mark: str, sign: str) -> str:
    base, mark = base.strip(), mark.strip()
    if not mark:
        return base
    if len(base) > 1 and not _SIMPLE.fullmatch(base) and not (base[0] in "([{|\\" and base[-1] in ")]}|"):
        base = f"{{{base}}}"
    return f"{base}{sign}{mark}" if len(mark) == 1 or mark.isdigit() else f"{base}{sign}{{{mark}}}"


def _scripted(base: str, below: str, above: str) -> str:
    is_long = bool(above.strip()) and below.strip().isdigit() and len(below.strip()) > 1
    lowered = f"{base.strip()}_{{{below.strip()}}}" if is_long else _power(base, below, "_")
    return lowered + _power("", above, "^")


def _rows(rows: Iterator[list[str]]) -> str:
    return "\\begin{matrix} " + " \\\\ ".join(" & ".join(row) for row in rows) + " \\end{matrix}"


def _root(degree: str, body: str) -> str:
    return f"\\sqrt[{degree.strip()}]{{{body.strip()}}}" if degree.strip() else f"\\sqrt{{{body.strip()}}}"


def _accent(sign: str, body: str) -> str:
    name = _ACCENTS.get(sign.strip())
    return f"\\{name}{{{body.strip()}}}" if name else f"{body}{sign}"


# --- OMML ---


def _office(element: Element) -> str:
    """All that is inside `element`."""
    return "".join(map(_office_element, element.iterchildren()))


def _office_element(element: Element) -> str:
    name = _name(element)
    if name == "t":
        return str(element.text or "")
    if name.endswith("Pr") or name in ("del", "moveFrom"):
        return ""
    write = _OFFICE.get(name)
    return write(element) if write else _office(element)


def _part(element: Element, name: str) -> str:
    child = element.find(f"{{*}}{name}")
    return _office(child) if child is not None else ""


def _property(element: Element, name: str, default: str = "") -> str:
    """A property's value; `default` if it is not set."""
    found = element.find(f"{{*}}{_name(element)}Pr/{{*}}{name}")
    if found is None:
        return default
    return next((str(value) for key, value in found.attrib.items() if etree.QName(key).localname == "val"), "")


def _office_fraction(element: Element) -> str:
    if _property(element, "type") == "noBar":
        return f"\\binom{{{_part(element, 'num')}}}{{{_part(element, 'den')}}}"
    return fraction(_part(element, "num"), _part(element, "den"))


def _office_fence(element: Element) -> str:
    begin, end = _property(element, "begChr", "("), _property(element, "endChr", ")")
    parts = [_office(part) for part in element.iterchildren("{*}e")]
    return _FENCES.get(begin, begin) + _property(element, "sepChr", "|").join(parts) + _FENCES.get(end, end)


def _office_function(element: Element) -> str:
    name, body = _part(element, "fName").strip(), _part(element, "e").strip()
    if _FUNCTION.fullmatch(name):
        name = f"\\{name}"
    return f"{name}{body}" if body[:1] in ("(", "[", "{", "|") else f"{name} {body} "


def _office_matrix(element: Element) -> str:
    return _rows([_office(cell).strip() for cell in row.iterchildren("{*}e")] for row in element.iterchildren("{*}mr"))


def _office_bar(element: Element) -> str:
    name = "underline" if _property(element, "pos") == "bot" else "overline"
    return f"\\{name}{{{_part(element, 'e')}}}"


def _office_before(element: Element) -> str:
    """Indices on the left, as of isotopes."""
    return _scripted("{}", _part(element, "sub"), _part(element, "sup")) + _part(element, "e")


_OFFICE: dict[str, Callable[[Element], str]] = {
    "f": _office_fraction,
    "sSup": lambda e: _power(_part(e, "e"), _part(e, "sup"), "^"),
    "sSub": lambda e: _power(_part(e, "e"), _part(e, "sub"), "_"),
    "sSubSup": lambda e: _scripted(_part(e, "e"), _part(e, "sub"), _part(e, "sup")),
    "sPre": _office_before,
    "rad": lambda e: _root(_part(e, "deg"), _part(e, "e")),
    "nary": lambda e: (
        _scripted(_LARGE.get(_property(e, "chr", "∫"), _property(e, "chr", "∫")), _part(e, "sub"), _part(e, "sup"))
        + f" {_part(e, 'e')}"
    ),
    "d": _office_fence,
    "func": _office_function,
    "m": _office_matrix,
    "eqArr": lambda e: " \\\\ ".join(_office(row).strip() for row in e.iterchildren("{*}e")),
    "acc": lambda e: _accent(_property(e, "chr", "\u0302"), _part(e, "e")),
    "bar": _office_bar,
    "limLow": lambda e: _power(_part(e, "e"), _part(e, "lim"), "_"),
    "limUpp": lambda e: _power(_part(e, "e"), _part(e, "lim"), "^"),
    "groupChr": lambda e: _part(e, "e"),
}


# --- MathML ---


def _web(element: Element) -> str:
    """All that is inside `element`."""
    return "".join([_leaf(element), *map(_web_element, _children(element))])


def _leaf(element: Element) -> str:
    return (element.text or "").strip() if _name(element) in ("mi", "mn", "mo", "mtext", "ms") else ""


def _children(element: Element) -> list[Element]:
    return [child for child in element if isinstance(child.tag, str)]


def _web_element(element: Element) -> str:
    name = _name(element)
    if name in ("annotation", "annotation-xml", "mphantom"):
        return ""
    if name == "mtext":
        return element.text or ""
    if name == "mspace":
        return " "
    if name == "mi" and _FUNCTION.fullmatch(_leaf(element)):
        return f"\\{_leaf(element)} "
    if name == "mo" and _leaf(element) in _LARGE:
        return _LARGE[_leaf(element)]
    if name in ("mtable", "mfenced"):
        return _web_rows(element) if name == "mtable" else _web_fence(element)
    parts = [_web_element(child) for child in _children(element)]
    write, least = _WEB.get(name, (None, 0))
    return write(parts) if write and len(parts) >= least else _leaf(element) + "".join(parts)


def _web_rows(element: Element) -> str:
    return _rows([_web(cell) for cell in _children(row)] for row in _children(element))


def _web_fence(element: Element) -> str:
    between = (element.get("separators") or ",").strip()[:1]
    return (
        str(element.get("open", "("))
        + between.join(map(_web_element, _children(element)))
        + str(element.get("close", ")"))
    )


def _over(parts: list[str]) -> str:
    if parts[1].strip() in _ACCENTS:
        return _accent(parts[1], parts[0])
    return _power(parts[0], parts[1], "^")


_WEB: dict[str, tuple[Callable[[list[str]], str], int]] = {
    "mfrac": (lambda parts: fraction(parts[0], parts[1]), 2),
    "msup": (lambda parts: _power(parts[0], parts[1], "^"), 2),
    "msub": (lambda parts: _power(parts[0], parts[1], "_"), 2),
    "msubsup": (lambda parts: _scripted(*parts[:3]), 3),
    "munder": (lambda parts: _power(parts[0], parts[1], "_"), 2),
    "mover": (_over, 2),
    "munderover": (lambda parts: _scripted(*parts[:3]), 3),
    "msqrt": (lambda parts: _root("", "".join(parts)), 1),
    "mroot": (lambda parts: _root(parts[1], parts[0]), 2),
}
