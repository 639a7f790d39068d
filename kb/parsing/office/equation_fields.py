"""Word's EQ fields: fractions, roots, characters in circles and more, written before Word had formulas → TeX."""

from __future__ import annotations

import re
from collections.abc import Callable

from kb.parsing.formulas import fraction
from kb.parsing.numerals import count

_SWITCH = re.compile(
    r"\\(?P<name>[abdfilorsx])(?P<options>(?:\s*\\[a-z]{2}\s*-?\d*(?:\\[^\w\s])?)*)\s*\(", re.IGNORECASE
)
_FORMATTING = re.compile(r'\\\*\s*(?:"[^"]*"|[^\s\\]+)')
_OPTION = re.compile(r"\\([a-z]{2})", re.IGNORECASE)
_CIRCLES = "○◯〇"
_MAX_DEPTH = 20
_SUMS = {"su": "\\sum", "pr": "\\prod"}


def equation_text(instruction: str) -> str:
    """What an EQ field shows; empty for other fields."""
    name, _, equation = instruction.strip().partition(" ")
    return _read(_FORMATTING.sub("", equation), 0).strip() if name.upper() == "EQ" else ""


def _read(text: str, depth: int) -> str:
    if depth > _MAX_DEPTH:
        return text
    pieces: list[str] = []
    at = 0
    while match := _SWITCH.search(text, at):
        pieces.append(_plain(text[at : match.start()]))
        arguments, at = _arguments(text, match.end())
        options = [each.lower() for each in _OPTION.findall(match["options"])]
        pieces.append(_WRITE[match["name"].lower()]([_read(each, depth + 1).strip() for each in arguments], options))
    return "".join([*pieces, _plain(text[at:])])


def _arguments(text: str, at: int) -> tuple[list[str], int]:
    """What stands between the parentheses that open before `at`, and where they are closed."""
    found, start, depth = [], at, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] in "\\(),;":
            at += 1
        elif char in ",;" and depth == 0:
            found.append(text[start:at])
            start = at + 1
        elif char == ")" and depth == 0:
            break
        else:
            depth += (char == "(") - (char == ")")
        at += 1
    return [*found, text[start:at]], at + 1


def _plain(text: str) -> str:
    return re.sub(r"\\([\\(),;])", r"\1", text)


def _fraction(parts: list[str], _options: list[str]) -> str:
    return fraction(parts[0], parts[1]).strip() if len(parts) > 1 else "".join(parts)


def _root(parts: list[str], _options: list[str]) -> str:
    return f"\\sqrt[{parts[0]}]{{{parts[1]}}}" if len(parts) > 1 and parts[0] else f"\\sqrt{{{parts[-1]}}}"


def _raised(parts: list[str], options: list[str]) -> str:
    if len(parts) > 1:
        return f"^{{{parts[0]}}}_{{{parts[1]}}}"
    return f"{'_' if 'do' in options else '^'}{{{parts[0]}}}"


def _over_each_other(parts: list[str], _options: list[str]) -> str:
    """Characters in the same place; a number in a circle is one character, and readings above are left out."""
    if len(parts) == 2 and parts[0].startswith("^{"):
        return parts[1]
    inside = [part for part in parts if part not in _CIRCLES]
    if len(parts) == 2 and len(inside) == 1:
        return count(int(inside[0]), "decimalEnclosedCircle") if inside[0].isdecimal() else inside[0]
    return "".join(parts)


def _integral(parts: list[str], options: list[str]) -> str:
    sign = next((_SUMS[option] for option in options if option in _SUMS), "\\int")
    below, above, body = [*parts, "", "", ""][:3]
    return f"{sign}_{{{below}}}^{{{above}}} {body}"


_WRITE: dict[str, Callable[[list[str], list[str]], str]] = {
    "f": _fraction,
    "r": _root,
    "s": _raised,
    "o": _over_each_other,
    "i": _integral,
    "b": lambda parts, _options: f"({','.join(parts)})",
    "a": lambda parts, _options: " \\\\ ".join(parts),
    "d": lambda parts, _options: " ",
    "l": lambda parts, _options: ",".join(parts),
    "x": lambda parts, _options: "".join(parts),
}
