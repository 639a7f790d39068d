"""Numbers as a spreadsheet shows them: ECMA-376, part 1, 18.8.30 and 18.8.31 (number formats)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import takewhile

from kb.parsing.numerals import count
from kb.parsing.tables.rows import number_text

GENERAL = "General"
_MOST_CHARACTERS = 1_000  # of a format; spreadsheets themselves allow 255
_YEAR, _DAY = 'yyyy"年"m"月"', 'm"月"d"日"'
_DATE = f'{_YEAR}d"日"'
# The formats that files name by number only. Those whose order of day and month depends on the reader's country are
# shown in ISO format; 27 to 58 are the East Asian ones.
BUILT_IN = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "yyyy-mm-dd",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm",
    37: "#,##0;-#,##0",
    38: "#,##0;-#,##0",
    39: "#,##0.00;-#,##0.00",
    40: "#,##0.00;-#,##0.00",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "0.0E+0",
    27: _YEAR,
    28: _DAY,
    29: _DAY,
    30: "yyyy-mm-dd",
    31: _DATE,
    32: 'h"时"mm"分"',
    33: 'h"时"mm"分"ss"秒"',
    34: 'h"时"mm"分"',
    35: 'h"时"mm"分"ss"秒"',
    36: _YEAR,
    50: _YEAR,
    51: _DAY,
    52: _YEAR,
    53: _DAY,
    54: _DAY,
    55: 'h"时"mm"分"',
    56: 'h"时"mm"分"ss"秒"',
    57: _YEAR,
    58: _DAY,
}
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|[\\!](?P<escaped>.)|_(?P<space>.)|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]'
    r"|(?P<noon>AM/PM|A/P|上午/下午)|(?P<general>General)|(?<=[0#?])(?P<exponent>E[+-])|(?P<date>y+|m+|d+|h+|s+|a{3,4}(?!\w)|e+|g+)"
    r"|(?P<digit>[0#?])|(?P<point>\.)|(?P<comma>,)|(?P<percent>%)|(?P<slash>/)|(?P<text>@)"
    r"|(?P<literal>.)",
    re.IGNORECASE | re.DOTALL,
)
_ELAPSED = re.compile(r"h+|m+|s+", re.IGNORECASE)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)(-?[\d.]+)")
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_CHINESE_DAYS = "一二三四五六日"
_HAN_PLACES = ("804", "404", "c04", "004")  # the ends of the codes of Chinese countries
_HAN_DIGITS = {"dbnum1": "chineseCounting", "dbnum2": "chineseLegalSimplified"}
_ERAS = (
    ("令和", datetime(2019, 5, 1)),
    ("平成", datetime(1989, 1, 8)),
    ("昭和", datetime(1926, 12, 25)),
    ("大正", datetime(1912, 7, 30)),
)
_MAX_SERIAL = 2_958_466  # the year 10000

_Token = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Section:
    tokens: tuple[_Token, ...]
    condition: tuple[str, float] | None
    han_digits: str = ""  # how Han characters write the numbers: as in `numerals.count`
    is_han: bool = False  # days of the week have their Chinese names

    @property
    def is_date(self) -> bool:
        return any(kind in ("date", "elapsed", "noon") for kind, _text in self.tokens)


@lru_cache(maxsize=10_000)
def format_number(value: float, code: str, starts_1904: bool = False) -> str:
    """`value` in the number format `code`. Dates count days from 1900, or from 1904 in files of old Macs."""
    if code in ("", GENERAL, "@") or len(code) > _MOST_CHARACTERS:
        return number_text(value)
    try:
        section, shown, has_sign = _choose(_sections(code), value)
        if section.is_date:
            return _format_date(section, value, starts_1904)
        text = _format_plain(section.tokens, abs(shown))
        if section.han_digits and text.isdigit():
            text = count(int(text), section.han_digits)
    except (ArithmeticError, ValueError, IndexError):  # a format that is no format, or a date before 1900
        return number_text(value)
    if not text:
        return number_text(value) if section.tokens and value else ""
    is_negative = has_sign and value < 0 and any(digit in text for digit in "123456789")
    return f"-{text}" if is_negative else text


@lru_cache(maxsize=500)
def _sections(code: str) -> tuple[_Section, ...]:
    sections: list[_Section] = []
    tokens: list[_Token] = []
    han_digits, is_han = "", False
    condition: tuple[str, float] | None = None
    for match in _TOKEN.finditer(code):
        kind, text = match.lastgroup or "literal", match.group(match.lastgroup or 0)
        if kind == "literal" and text == ";":
            sections.append(_Section(_as_minutes(tokens), condition, han_digits, is_han))
            tokens, condition, han_digits, is_han = [], None, "", False
        elif kind == "bracket":
            if text.startswith("$"):
                currency, _, place = text[1:].partition("-")
                tokens.append(("literal", currency))
                is_han = is_han or place[-3:].lower() in _HAN_PLACES
            elif digits := _HAN_DIGITS.get(text.lower()):
                han_digits = digits
            elif _ELAPSED.fullmatch(text):
                tokens.append(("elapsed", text.lower()))
            elif found := _CONDITION.fullmatch(text):
                condition = (found.group(1), float(found.group(2)))
        elif kind in ("quoted", "escaped"):
            tokens.append(("literal", text))
        elif kind == "space":
            tokens.append(("literal", " "))
        elif kind != "fill":
            tokens.append((kind, text))
    sections.append(_Section(_as_minutes(tokens), condition, han_digits, is_han))
    return tuple(sections)


def _as_minutes(tokens: list[_Token]) -> tuple[_Token, ...]:
    """Mark each m that means minutes: after hours or before seconds."""
    times = [index for index, (kind, _text) in enumerate(tokens) if kind in ("date", "elapsed")]
    for place, index in enumerate(times):
        kind, text = tokens[index]
        if kind != "date" or text[0] not in "mM" or len(text) > 2:
            continue
        before = tokens[times[place - 1]][1][0].lower() if place else ""
        after = tokens[times[place + 1]][1][0].lower() if place + 1 < len(times) else ""
        if before == "h" or after == "s":
            tokens[index] = ("date", "n" * len(text))
    return tuple(tokens)


def _choose(sections: tuple[_Section, ...], value: float) -> tuple[_Section, float, bool]:
    """The section for `value`, what of it is shown, and whether a minus sign is put before."""
    if any(section.condition for section in sections):
        for section in sections:
            if section.condition is None or _holds(section.condition, value):
                return section, value, True
        return sections[-1], value, True
    if len(sections) > 1 and value < 0:
        return sections[1], -value, False
    if len(sections) > 2 and value == 0:
        return sections[2], value, False
    return sections[0], value, True


def _holds(condition: tuple[str, float], value: float) -> bool:
    sign, limit = condition
    if sign == "<>":
        return value != limit
    return ("<" in sign and value < limit) or (">" in sign and value > limit) or ("=" in sign and value == limit)


# --- numbers ---


def _format_plain(tokens: tuple[_Token, ...], value: float) -> str:
    kinds = [kind for kind, _text in tokens]
    if "general" in kinds:
        return "".join(number_text(value) if kind == "general" else text for kind, text in tokens).strip()
    if "digit" not in kinds:
        return "".join(text for kind, text in tokens if kind == "literal").strip()
    amount = Decimal(f"{value:.15g}") * 100 ** kinds.count("percent")
    if "slash" in kinds:
        return _format_fraction(tokens, amount)
    first, last = kinds.index("digit"), len(kinds) - 1 - kinds[::-1].index("digit")
    point = kinds.index("point") if "point" in kinds else len(kinds)
    if "exponent" in kinds:
        return _format_exponent(tokens, amount, kinds.index("exponent"))
    has_groups = "comma" in kinds[first : min(last, point)]
    ends = {last, max((index for index in range(point) if kinds[index] == "digit"), default=last)}
    for end in ends:  # each comma behind the digits divides by 1,000
        amount /= Decimal(1000) ** len(list(takewhile(lambda kind: kind == "comma", kinds[end + 1 :])))
    decimals = [text for kind, text in tokens[point:] if kind == "digit"]
    whole, _, part = f"{_rounded(amount, len(decimals)):f}".partition(".")
    needed = sum(1 for index, text in enumerate(decimals) if "0" in decimals[index:])
    part = part.rstrip("0").ljust(needed, "0")
    return _fill(tokens, point, whole, part, has_groups)


def _rounded(amount: Decimal, digits: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _fill(tokens: tuple[_Token, ...], point: int, whole: str, part: str, has_groups: bool) -> str:
    """Put the digits in the places of the format, from the point outwards; what is left over comes first."""
    whole = whole.lstrip("0")
    places = [index for index in range(point) if index < len(tokens) and tokens[index][0] == "digit"]
    texts = {index: text for index, (kind, text) in enumerate(tokens) if kind in ("literal", "percent")}
    digits = {}
    rest = whole
    for index in reversed(places):
        digit, rest = rest[-1:], rest[:-1]
        digits[index] = digit or ("0" if tokens[index][1] == "0" else "")
    if places:
        digits[places[0]] = rest + digits[places[0]]
    if has_groups and places:
        joined = "".join(digits[index] for index in places)
        grouped = f"{int(joined):,}".rjust(len(joined), "0") if joined else ""
        digits = dict.fromkeys(places, "") | {places[-1]: grouped}
    after = iter(part)
    result = []
    for index, (kind, _text) in enumerate(tokens):
        if kind == "digit":
            result.append(digits[index] if index < point else next(after, ""))
        elif kind == "point" and index == point:
            result.append("." if part else "")
        else:
            result.append(texts.get(index, ""))
    return "".join(result).strip()


def _format_fraction(tokens: tuple[_Token, ...], amount: Decimal) -> str:
    slash = [kind for kind, _text in tokens].index("slash")
    below = "".join(text for kind, text in tokens[slash + 1 :] if kind in ("digit", "literal")).strip()
    fixed = re.match(r"[1-9]\d*", below)
    exact = Fraction(amount)
    if fixed:
        limit = int(fixed.group())
        fraction = Fraction(round(exact * limit), limit)
        above, under = fraction.numerator * (limit // fraction.denominator), limit
    else:
        fraction = exact.limit_denominator(10 ** max(1, min(len(below), 6)) - 1)
        above, under = fraction.numerator, fraction.denominator
    has_whole = sum(1 for kind, _text in tokens[:slash] if kind == "digit") > 1 and any(
        kind == "literal" and not text.strip() for kind, text in tokens[:slash]
    )
    if not has_whole:
        return f"{above}/{under}"
    whole, above = divmod(above, under)
    return " ".join(filter(None, [str(whole) if whole or not above else "", f"{above}/{under}" if above else ""]))


def _format_exponent(tokens: tuple[_Token, ...], amount: Decimal, at: int) -> str:
    point = next((index for index in range(at) if tokens[index][0] == "point"), at)
    before, decimals = (
        sum(1 for kind, _text in part if kind == "digit") for part in (tokens[:point], tokens[point:at])
    )
    width = sum(1 for kind, _text in tokens[at:] if kind == "digit")
    exponent = int(f"{amount:E}".partition("E")[2]) if amount else 0
    exponent -= exponent % before if before > 1 else 0  # `##0.0E+0` shows multiples of three
    mantissa = _rounded(amount.scaleb(-exponent), decimals)
    if mantissa >= 10 ** max(before, 1):
        exponent += max(before, 1)
        mantissa = _rounded(amount.scaleb(-exponent), decimals)
    sign = "-" if exponent < 0 else "+" if tokens[at][1].endswith("+") else ""
    return f"{mantissa:f}E{sign}{str(abs(exponent)).zfill(width)}"


# --- dates and times ---


def _format_date(section: _Section, serial: float, starts_1904: bool) -> str:
    if not 0 <= serial < _MAX_SERIAL:
        raise ValueError(serial)
    tokens = section.tokens
    has_fractions = any(kind == "point" for kind, _text in tokens)
    seconds = round(serial * 86400, 3 if has_fractions else 0)
    moment = _moment(seconds, starts_1904)
    has_noon = any(kind == "noon" for kind, _text in tokens)
    has_era = any(kind == "date" and text[0] in "gG" for kind, text in tokens)
    pieces: list[str] = []
    fraction = iter(f"{moment.microsecond // 1000:03d}")
    for kind, text in tokens:
        if kind == "date":
            part = _date_part(text.lower(), moment, has_noon, has_era, section.is_han)
            pieces.append(_in_han(part, text) if section.han_digits and part.isdigit() else part)
        elif kind == "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[text[0]]
            pieces.append(str(int(seconds // unit)).zfill(len(text)))
        elif kind == "noon":
            names = ("上午", "下午") if "上" in text else ("AM", "PM")
            pieces.append(names[moment.hour >= 12])
        elif kind == "digit":
            pieces.append(next(fraction, ""))
        elif kind in ("literal", "slash", "comma", "point"):
            pieces.append(text)
    return "".join(pieces).strip()


def _moment(seconds: float, starts_1904: bool) -> datetime:
    if starts_1904:
        return datetime(1904, 1, 1) + timedelta(seconds=seconds)
    # Excel has a 29th of February 1900: before it, its days are one earlier.
    return datetime(1899, 12, 30 if seconds >= 60 * 86400 else 31) + timedelta(seconds=seconds)


def _in_han(part: str, code: str) -> str:
    """二〇二四 for years, 三 for other parts of a date."""
    return count(int(part), "ideographDigital" if code[0] in "yY" else "chineseCounting")


def _date_part(code: str, moment: datetime, has_noon: bool, has_era: bool, is_han: bool) -> str:
    hour = (moment.hour + 11) % 12 + 1 if has_noon else moment.hour
    numbers = {"y": moment.year, "e": moment.year, "m": moment.month, "d": moment.day, "h": hour}
    numbers |= {"n": moment.minute, "s": moment.second}
    letter, length = code[0], len(code)
    if letter == "a":
        return ("星期" if length > 3 else "周") + _CHINESE_DAYS[moment.weekday()]
    if has_era and letter in "ge":
        name, first = next(((name, first) for name, first in _ERAS if moment >= first), ("", datetime.min))
        year = moment.year - first.year + 1 if name else moment.year
        return name if letter == "g" else str(year).zfill(min(length, 2))
    if is_han and letter == "d" and length > 2:
        return ("星期" if length > 3 else "周") + _CHINESE_DAYS[moment.weekday()]
    if letter in "md" and length > 2:
        name = _MONTHS[moment.month - 1] if letter == "m" else _DAYS[moment.weekday()]
        return name[:1] if length == 5 else name if length > 3 else name[:3]
    if letter == "y":
        return f"{moment.year % 100:02d}" if length <= 2 else str(moment.year)
    return str(numbers[letter]).zfill(min(length, 2))
