"""Numbers and dates of a folded text, in one form whatever the notation.

2024-03-15, 15 March 2024, 二〇二四年三月十五日 → 20240315; 1 000 000, 100万, 1 million → 1000000; 第三条 → 第3条.
$4.2M → 4200000, 10k → 10000; 第三季度 → q3.
All these terms come beside those of the words: a number that is read wrongly costs a term, and loses none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from operator import add

from kb.lexical.words import CJK, parts, word_forms


@dataclass(frozen=True, slots=True)
class Number:
    """A number or date in a text, and its terms, the most exact one first."""

    match: re.Match[str]
    terms: tuple[str, ...]

    @property
    def start(self) -> int:
        return self.match.start()

    @property
    def end(self) -> int:
        return self.match.end() + (self.match.lastgroup == "counted" and _is_quarter(self.match))

    def forms(self) -> tuple[str, ...]:
        """What a text with this number may hold instead of the first term: see `words.word_forms`.

        One form is the terms as they stand without a common form, for documents that were ingested before.
        """
        kind = self.match.lastgroup
        if kind == "counted":
            return (*self.terms, *_written(self.match), *_bare(self.match))
        if kind == "short":  # 401k and 3M are names, too
            return (*next(word_forms(self.match.group())), *self.terms)
        exact = self.terms if kind == "groups" else self.terms[:1]
        if kind == "dmy":  # two days, if it may be either
            exact = tuple(term for term in self.terms if len(term) == len(self.terms[0]))
        return (*exact, parts(self.match.group()))


# --- Chinese numerals ------------------------------------------------------------------------------------------

_DIGITS = {
    char: value for chars in ("〇一二三四五六七八九", "零壹贰叁肆伍陆柒捌玖") for value, char in enumerate(chars)
}
_DIGITS["两"] = 2
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000, "万": 10**4, "亿": 10**8}
_TENS = {"廿": "二十", "卅": "三十", "卌": "四十"}
_TO_TENS = str.maketrans(_TENS)
_ZERO = "〇零"
_LONGEST_NUMERAL = 16
_OF_100 = re.compile(r"百分之(\d+(?:\.\d+)?)")
# What is counted, so that 三天 is a number while 三明治 is none. 一 is a part of many more words.
_COUNTED = (
    "[年月日天周号条章节款项编篇人名位件份页岁元块倍米吨公次种类级期层楼栋班组季届代行列册台套辆家个点时]"
    "|分钟|小时|秒钟"
)
_COUNTED_ONE = re.compile("[年月日天周号条章款岁元]|季度|小时|分钟|个(?:月|小时|星期|工作日|自然日|季度|学期|百分点)")
_WORDS_WITH_ONE = frozenset("统万唯单同之")
_WEEKDAY = ("周", "星期", "礼拜")
_CHINESE = "".join((*_DIGITS, *_UNITS, *_TENS))
_NUMERAL = re.compile(
    rf"([{_CHINESE}](?:[{_CHINESE}]++|(?<=第.)|(?<=百分之.)|(?={_COUNTED})))(?:点([〇零一二三四五六七八九]++)(?!十))?"
)
_MEASURED = re.compile("[元万亿倍米吨公年度级厘%％]")


def to_arabic(text: str) -> tuple[str, list[str]]:
    """`text` with its Chinese numerals in Arabic digits where they surely are numbers, and these numbers."""
    found: list[str] = []
    return _OF_100.sub(r"\1%", _NUMERAL.sub(partial(_arabic, found), text)), found


def _arabic(found: list[str], match: re.Match[str]) -> str:
    numeral, decimals = match.groups()
    text, start, end = match.string, match.start(), match.end()
    is_percent = text.endswith("百分之", 0, start)
    value = _value(numeral)
    number: str | None = None
    if decimals:
        fraction = "".join(str(_DIGITS[char]) for char in decimals)
        if value is not None and (is_percent or _MEASURED.match(text, end)):
            number = f"{value}.{fraction}"
    elif value is None:
        number = _digits(numeral, text, start, end)
    elif is_percent or text[start - 1 : start] == "第" or _is_counted(numeral, text, start, end):
        number = str(value)
    if number is None:
        return match.group()
    found.append(number.replace(".", "_"))
    return number


def _is_counted(numeral: str, text: str, start: int, end: int) -> bool:
    """Whether a numeral is a number here, as 三 is before 天, but not in 星期三."""
    if len(numeral) > 1:
        return True
    if numeral not in "一二两三四五六七八九十廿卅卌" or text.endswith(_WEEKDAY, 0, start):
        return False
    if numeral == "一":
        return text[start - 1 : start] not in _WORDS_WITH_ONE and bool(_COUNTED_ONE.match(text, end))
    return True


def _digits(numeral: str, text: str, start: int, end: int) -> str | None:
    """The digits of a numeral that is read digit by digit: 二〇二四, 一九九八 before 年, 一〇五."""
    if len(numeral) > _LONGEST_NUMERAL or not set(numeral) <= _DIGITS.keys() - {"两"}:
        return None
    is_year = len(numeral) == 4 and text[end : end + 1] == "年"
    has_zero = len(numeral) > 2 and any(zero in numeral for zero in _ZERO)
    if is_year or has_zero or text[start - 1 : start] == "第":
        return "".join(str(_DIGITS[char]) for char in numeral)
    return None


def _value(numeral: str) -> int | None:
    """The value of a numeral such as 一百零五, 三万五 or 十二; None if it is none, such as 万一 or 二〇二四."""
    if len(numeral) > _LONGEST_NUMERAL:
        return None
    total = section = 0
    digit: int | None = None
    last = 10**9
    after_zero = False
    for place, char in enumerate(numeral):
        if char in _ZERO:
            if digit is not None or (place == 0 and len(numeral) > 1):
                return None
            after_zero = True
            continue
        if char in _DIGITS:
            if digit is not None:
                return None
            digit = _DIGITS[char]
            continue
        if char in _TENS:
            return _value(numeral.translate(_TO_TENS))  # 廿五; but 五卅 is no number
        unit = _UNITS[char]
        if unit >= 10**4:
            section += digit or 0
            if not section:
                return None
            total = (total + section) * unit if unit == 10**8 else total + section * unit
            section, last = 0, unit
        else:
            if digit is None and unit == 10 and not section:
                digit = 1  # 十二
            if digit is None or unit >= last:
                return None
            section += digit * unit
            last = unit
        digit, after_zero = None, False
    if digit is not None:
        # 三万五 is 35,000, but 三万零五 30,005.
        section += digit * (last // 10 if 100 <= last <= 10**8 and not after_zero else 1)
    return total + section


def _chinese(number: int) -> str:
    """A number below 10,000 as it is usually written in Chinese."""
    if number < 10:
        return "零一二三四五六七八九"[number]
    written, zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, unit)
        if digit:
            written += ("零" if zero else "") + "零一二三四五六七八九"[digit] + name
            zero = False
        else:
            zero = bool(written)
    return written.removeprefix("一") if written.startswith("一十") else written


# --- dates, amounts, percentages, phone numbers ----------------------------------------------------------------

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    "(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![A-Za-z])\.?"
)
_END = r"(?![A-Za-z\d_])"  # Chinese may follow
_DAY = rf"\d{{1,2}}(?:st|nd|rd|th)?{_END}"
_YEAR = rf"[12]\d{{3}}{_END}"
_NO_MORE = r"(?!\d|[-/.]\d)"
_START = r"(?<![A-Za-z\d][-/.:#@])(?<!\d,)"  # not within a longer code
_AMOUNT = {
    **_UNITS,
    "万亿": 10**12,
    "百万": 10**6,
    "千万": 10**7,
    "十万": 10**5,
    "十亿": 10**9,
    "百亿": 10**10,
    "千亿": 10**11,
    "만": 10**4,
    "억": 10**8,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z_\d])(?:
      (?!\d++[{CJK}])(?:
        (?P<ymd>(?<!\d[-/.,:])(?P<y1>[12]\d{{3}})(?P<s1>[-/]|\.[ ]?)(?P<m1>\d{{1,2}})(?P=s1)(?P<d1>\d{{1,2}}){_NO_MORE})
      | (?P<dmy>(?<!\d[-/.,:])(?P<d2>\d{{1,2}})(?P<s2>[-/.])(?P<m2>\d{{1,2}})(?P=s2)(?P<y2>[12]\d{{3}}){_NO_MORE})
      | (?P<dm>(?P<d4>{_DAY})\.?[\s/-](?:of\s)?(?P<m4>{_MONTH})(?:(?:,\s?|[\s/-])(?P<y4>{_YEAR}))?)
      | (?P<yw>(?P<y5>[12]\d{{3}}),?[\s/-](?P<m5>{_MONTH})(?:[\s/-](?P<d5>{_DAY}))?)
      | (?P<ym>{_START}(?P<y6>(?:19|20)\d\d)[-/.](?P<m6>0[1-9]|1[0-2])(?![A-Za-z\d_]|[-/.][A-Za-z\d]))
      | (?P<percent>(?P<n2>\d{{1,12}})(?:[.,](?P<f2>\d{{1,9}}))?[ ]?(?:%|per[ ]?cent{_END}))
      | (?P<groups>{_START}(?<!\d[ -])
          (?:(?<=\()\d{{2,5}}\)[ ]?\d{{2,8}}(?:[ -]\d{{2,5}}){{0,3}}
            |\d{{1,3}}(?:[ ]\d{{3}}){{1,5}}|0\d{{2,3}}[ -]\d{{7,8}}|\d{{1,7}}(?:[ -]\d{{1,7}}){{2,4}})
          (?![A-Za-z\d]|[ ]\d|-[A-Za-z\d]|[.,/:]\d))
      | (?P<marked>{_START}\d{{1,3}}(?:(?:'\d{{3}}){{1,5}}|(?:\.\d{{3}}){{2,5}}|(?:,\d\d){{1,4}},\d{{3}})
          (?![A-Za-z\d]|[.,]\d))
      | (?P<comma>{_START}\d{{1,9}},\d{{1,2}}(?![A-Za-z\d]|[.,]\d))
      )
      | (?P<cjk>(?:(?P<y3>[12]\d{{3}})[ ]?[年년][ ]?)?(?P<m3>\d{{1,2}})[ ]?[月월](?:[ ]?(?P<d3>\d{{1,2}})[ ]?[日号일])?)
      | (?P<amount>{_START}(?P<n1>\d{{1,3}}(?:,\d{{3}}){{1,4}}(?!\d)|\d{{1,12}})(?P<f1>\.\d{{1,9}})?\s?
          (?P<unit>万亿|[十百千]?[万亿]|[百千](?![克米瓦卡赫])|[만억]|(?i:thousand|million|billion|trillion){_END}))
      | (?P<decimals>{_START}(?P<n4>\d{{1,3}}(?P<mark>[.,])\d{{3}}(?:(?P=mark)\d{{3}}){{0,4}})
          (?!(?P=mark))[.,](?P<f4>\d{{1,4}})(?![A-Za-z\d]|[.,/:]\d))
      | (?P<counted>{_START}(?P<n3>\d{{1,5}})(?:\.(?P<f3>\d{{1,4}}))?[ ]?(?P<c3>[{CJK}]))
      | (?=[\d.,]{{1,20}}+[A-Za-z])(?:
          (?P<quarter>(?:19|20)\d\d[Qq](?P<q>[1-4])(?![A-Za-z\d_]))
        | (?P<short>{_START}(?P<n8>\d{{1,3}}(?:,\d{{3}}){{1,3}}|\d{{1,4}})(?P<f8>\.\d{{1,3}})?
            (?P<u8>[KkMmB]|[bBmM]n)(?![A-Za-z\d_]|[-/.:#@][A-Za-z])))
    )
    """,
    re.VERBOSE,
)
_QUARTERS = frozenset("1234")
_SHORT = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}
_RESOLUTIONS = frozenset(["2k", "4k", "8k"])  # of films; and Y2K
_CURRENCIES = frozenset("$£€¥₩₹")
_MONEY = re.compile("[元圆块円원]|(?:美|欧|日|港|加|澳)元|英镑")
_MONTH_FIRST = re.compile(
    rf"(?P<md>(?<![A-Za-z\d])(?P<m7>{_MONTH})"
    rf"(?:[\s/-](?P<d7>{_DAY})(?:(?:,\s?|[\s/-])(?P<y7>{_YEAR}))?|,?[\s/-](?P<y8>{_YEAR})))"
)
_MONTH_BEFORE = re.compile(rf"{_MONTH},?[\s/-]$")
_LONGEST_MONTH = len("September., ")
_DIGIT_RUN = re.compile(r"\d+")
_NOT_COUNTED = frozenset(
    "的了吗呢吧啊么是在和与及或也就都而之其于被把从对这那有为到至等のはがをにでともや은는이가을를에의"
)
_THOUSANDS = re.compile(r"\d{1,3}(?: \d{3})+")
_PHONE = range(9, 16)  # digits; book numbers and card numbers are written alike


def number_terms(text: str) -> list[str]:
    """The terms of the numbers and dates of a folded text."""
    arabic, found = (text, []) if text.isascii() else to_arabic(text)
    for match in _matches(arabic):
        found += _READERS[str(match.lastgroup)](match)
    return found


def find_numbers(text: str) -> list[Number]:
    """The numbers and dates of a folded text in Arabic digits, in order."""
    found = (Number(match, _READERS[str(match.lastgroup)](match)) for match in _matches(text))
    return [number for number in found if number.terms and number.match.lastgroup != "quarter"]  # see `quarters`


def _matches(text: str) -> Iterator[re.Match[str]]:
    end = 0
    for digits in _DIGIT_RUN.finditer(text):
        start = digits.start()
        if start >= end and (match := _month_first(text, start, end) or _NUMBER.match(text, start)):
            yield match
            end = match.end()


def _month_first(text: str, start: int, end: int) -> re.Match[str] | None:
    """The date if a month's name ends right before `start`."""
    if start < 4 or text[start - 1] not in " \n/-" or not (text[start - 2].isalpha() or text[start - 2] in ".,"):
        return None
    month = _MONTH_BEFORE.search(text, max(end, start - _LONGEST_MONTH), start)
    return _MONTH_FIRST.match(text, month.start()) if month else None


def _date(match: re.Match[str], year: str | None, month: str, day: str | None) -> tuple[str, ...]:
    """The day, its month and its day of the year: 20240315, 202403, 3月15. The month's name is its number: 3月."""
    number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
    day_number = int(day.rstrip("stndrh")) if day else None
    if not 1 <= number <= 12 or (day_number is not None and not 1 <= day_number <= 31):
        return ()
    found = []
    if year and day_number:
        found.append(f"{year}{number:02}{day_number:02}")
    if year:
        found.append(f"{year}{number:02}")
    if day_number:
        found.append(f"{number}月{day_number}")
    found.append(f"{number}月")
    return tuple(found)


def _day_first(match: re.Match[str]) -> tuple[str, ...]:
    """15.03.2024; 04/03/2024 is the third of April or the fourth of March, so it is both."""
    day_first = _date(match, match["y2"], match["m2"], match["d2"])
    if match["s2"] == "." or match["d2"] == match["m2"]:
        return day_first
    month_first = _date(match, match["y2"], match["d2"], match["m2"])
    return tuple(dict.fromkeys(day_first + month_first))


def _amount(match: re.Match[str]) -> tuple[str, ...]:
    value = Decimal(match["n1"].replace(",", "") + (match["f1"] or "")) * _AMOUNT[match["unit"].lower()]
    if value != int(value):
        return ()
    return (str(int(value)),)


def _percent(match: re.Match[str]) -> tuple[str, ...]:
    return (f"{match['n2']}_{match['f2']}percent" if match["f2"] else f"{match['n2']}percent",)


def _groups(match: re.Match[str]) -> tuple[str, ...]:
    """1 000 000; 138 0013 8000, with or without the country's +86; (010) 6655 4433."""
    digits = re.sub("[ )-]", "", match.group())
    if not _THOUSANDS.fullmatch(match.group()) and len(digits) not in _PHONE:
        return ()
    found = [digits]
    if match.string[match.start() - 1 : match.start()] == "+":
        found.append(digits.removeprefix(re.split("[ -]", match.group(), maxsplit=1)[0]))
    return tuple(found)


def _decimals(match: re.Match[str]) -> tuple[str, ...]:
    """12.500,50; 12,500.00 is 12500. The words give 12,500.50 already."""
    whole = re.sub(r"\D", "", match["n4"])
    if not match["f4"].strip("0"):
        return (whole,)
    return (f"{whole}_{match['f4']}",) if match["mark"] == "." else ()


def _counted(match: re.Match[str]) -> tuple[str, ...]:
    """A number with what it counts: 30天, 第3条. These characters alone stand in nearly every text."""
    number, fraction, counted = str(int(match["n3"])), match["f3"], match["c3"]
    if counted in _NOT_COUNTED or (counted == "年" and len(number) == 4):
        return ()
    if fraction:
        return (f"{_ordinal(match)}{number}_{fraction}{counted}",)
    term = f"{_ordinal(match)}{number}{counted}"
    return (term, f"q{number}") if counted == "季" and _is_quarter(match) else (term,)


def _written(match: re.Match[str]) -> list[str]:
    """第3条 as the terms of 第 3 条 and of 第三条."""
    number, counted = int(match["n3"]), match["c3"]
    found = [f"{_ordinal(match)} {number} {counted}".strip()]
    if number < 10_000 and not match["f3"]:
        written = _ordinal(match) + _chinese(number) + counted
        found.append(" ".join(map(add, written, written[1:])))
    return found


def _is_quarter(match: re.Match[str]) -> bool:
    """Whether 季 counts quarters of a year, as in 第三季度, and not seasons."""
    return match["c3"] == "季" and match["n3"] in _QUARTERS and match.string.startswith("度", match.end())


def _bare(match: re.Match[str]) -> tuple[str, ...]:
    """An amount of money without its currency, which may be a sign before it: 12500元 is ¥12,500."""
    number = match["n3"]
    is_money = len(number) > 2 and not match["f3"] and _MONEY.match(match.string, match.start("c3"))
    return (number,) if is_money else ()


def _short(match: re.Match[str]) -> tuple[str, ...]:
    """10k, $4.2M, £3m, 2bn. 10m may be metres."""
    unit = match["u8"].lower()
    is_money = match.string[match.start() - 1 : match.start()] in _CURRENCIES
    if not is_money and (match["u8"] == "m" or match.group().lower() in _RESOLUTIONS):
        return ()
    value = Decimal(match["n8"].replace(",", "") + (match["f8"] or "")) * _SHORT[unit]
    return (str(int(value)),) if value == int(value) else ()


def _ordinal(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 2) : match.start()]
    return "第" if before.rstrip().endswith("第") else ""


_READERS: dict[str, Callable[[re.Match[str]], tuple[str, ...]]] = {
    "ymd": lambda match: _date(match, match["y1"], match["m1"], match["d1"]),
    "dmy": _day_first,
    "cjk": lambda match: _date(match, match["y3"], match["m3"], match["d3"]),
    "dm": lambda match: _date(match, match["y4"], match["m4"], match["d4"]),
    "yw": lambda match: _date(match, match["y5"], match["m5"], match["d5"]),
    "ym": lambda match: _date(match, match["y6"], match["m6"], None),
    "md": lambda match: _date(match, match["y7"] or match["y8"], match["m7"], match["d7"]),
    "amount": _amount,
    "percent": _percent,
    "groups": _groups,
    "marked": lambda match: (re.sub(r"\D", "", match.group()),),
    "comma": lambda match: (match.group().replace(",", "_"),),  # 3,5 may be the decimal 3.5 of other countries
    "decimals": _decimals,
    "counted": _counted,
    "quarter": lambda match: (f"q{match['q']}",),
    "short": _short,
}
