"""How lists write their numbers: Roman, in letters, in Chinese and others, by Word's names (ECMA-376, 17.18.59)."""

from __future__ import annotations

import re
from collections.abc import Callable

_HAN = "零一二三四五六七八九"
_LEGAL = "零壹贰叁肆伍陆柒捌玖"
_STEMS, _BRANCHES = "甲乙丙丁戊己庚辛壬癸", "子丑寅卯辰巳午未申酉戌亥"
_AIUEO = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
_IROHA = "イロハニホヘトチリヌルヲワカヨタレソツネナラムウヰノオクヤマケフコエテアサキユメミシヱヒモセスン"
_GANADA, _CHOSUNG = "가나다라마바사아자차카타파하", "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"
_RUSSIAN = "абвгдежзиклмнопрстуфхцчшщыэюя"
_ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X")),
    *((9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
_ONES: list[str] = re.findall(
    "[A-Z][a-z]+",
    "ZeroOneTwoThreeFourFiveSixSevenEightNineTenElevenTwelveThirteenFourteenFifteenSixteenSeventeenEighteenNineteen",
)
_TENS: list[str] = re.findall("[A-Z][a-z]+", "TwentyThirtyFortyFiftySixtySeventyEightyNinety")
_ORDINALS = {"One": "First", "Two": "Second", "Three": "Third", "Five": "Fifth", "Eight": "Eighth", "Nine": "Ninth"}
_ORDINALS |= {"Twelve": "Twelfth"}


def roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        text += letters * count
    return text


def letters(number: int, alphabet: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ") -> str:
    """A, B, … Z, AA, BB, …, as Word continues."""
    repeats, index = divmod(number - 1, len(alphabet))
    return alphabet[index] * (repeats + 1)


def han_number(number: int, digits: str = _HAN, units: str = "十百千", ten_thousand: str = "万") -> str:
    """三, 十一, 二十, 一百零五, 一万二千."""
    if number >= 10_000:
        high, low = divmod(number, 10_000)
        rest = f"{digits[0] if low < 1_000 else ''}{han_number(low, digits, units)}" if low else ""
        return han_number(high, digits, units) + ten_thousand + rest
    text, gap = "", False
    for power in (3, 2, 1, 0):
        digit = number // 10**power % 10
        if digit:
            text += (digits[0] if gap and text else "") + digits[digit] + (units[power - 1] if power else "")
        gap = not digit
    is_teen = 10 <= number < 20 and units[0] == "十"
    return text[1:] if is_teen else text


def _english(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10 - 2] + (f"-{_ONES[number % 10].lower()}" if number % 10 else "")
    return str(number)


def _english_ordinal(number: int) -> str:
    words = _english(number)
    if words.isdigit():
        return _suffixed(number)
    head, dash, last = words.rpartition("-")
    last = last.capitalize()
    last = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return f"{head}{dash}{last.lower()}" if dash else last


def _suffixed(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _circled(number: int) -> str:
    for first, last, code in ((1, 20, 0x2460), (21, 35, 0x3251), (36, 50, 0x32B1)):
        if first <= number <= last:
            return chr(code + number - first)
    return str(number)


def _digits(number: int, digits: str) -> str:
    return "".join(digits[int(digit)] for digit in str(number))


_COUNTS: dict[str, Callable[[int], str]] = {
    "decimalZero": lambda n: f"{n:02d}",
    "upperRoman": roman,
    "lowerRoman": lambda n: roman(n).lower(),
    "upperLetter": letters,
    "lowerLetter": lambda n: letters(n).lower(),
    "ordinal": _suffixed,
    "cardinalText": _english,
    "ordinalText": _english_ordinal,
    "hex": lambda n: f"{n:X}",
    "numberInDash": lambda n: f"- {n} -",
    "decimalFullWidth": lambda n: _digits(n, "０１２３４５６７８９"),
    "decimalEnclosedCircle": _circled,
    "decimalEnclosedParen": lambda n: chr(0x2473 + n) if n <= 20 else f"({n})",
    "decimalEnclosedFullstop": lambda n: chr(0x2487 + n) if n <= 20 else f"{n}.",
    "ideographEnclosedCircle": lambda n: chr(0x327F + n) if n <= 10 else str(n),
    "chineseCounting": han_number,
    "ideographDigital": lambda n: _digits(n, "〇一二三四五六七八九"),
    "chineseLegalSimplified": lambda n: han_number(n, _LEGAL, "拾佰仟"),
    "ideographLegalTraditional": lambda n: han_number(n, "零壹貳參肆伍陸柒捌玖", "拾佰仟", "萬"),
    "ideographTraditional": lambda n: _STEMS[(n - 1) % 10],
    "ideographZodiac": lambda n: _BRANCHES[(n - 1) % 12],
    "ideographZodiacTraditional": lambda n: _STEMS[(n - 1) % 10] + _BRANCHES[(n - 1) % 12],
    "aiueoFullWidth": lambda n: letters(n, _AIUEO),
    "irohaFullWidth": lambda n: letters(n, _IROHA),
    "ganada": lambda n: letters(n, _GANADA),
    "chosung": lambda n: letters(n, _CHOSUNG),
    "russianLower": lambda n: letters(n, _RUSSIAN),
    "russianUpper": lambda n: letters(n, _RUSSIAN).upper(),
}
_SAME = {
    "decimalEnclosedCircleChinese": "decimalEnclosedCircle",
    "decimalFullWidth2": "decimalFullWidth",
    "chineseCountingThousand": "chineseCounting",
    "taiwaneseCounting": "chineseCounting",
    "taiwaneseCountingThousand": "chineseCounting",
    "japaneseCounting": "chineseCounting",
    "koreanCounting": "chineseCounting",
    "taiwaneseDigital": "ideographDigital",
    "japaneseDigitalTenThousand": "ideographDigital",
    "japaneseLegal": "ideographLegalTraditional",
    "aiueo": "aiueoFullWidth",
    "iroha": "irohaFullWidth",
}


def count(number: int, style: str) -> str:
    """`number` in the style that Word calls `style`; decimal in one that we do not know."""
    write = _COUNTS.get(_SAME.get(style, style))
    return write(number) if write and 0 < number < 100_000 else str(number)
