"""The figures of a text with their units, and its dates, whatever the notation: to compare what two texts say.

1,234.50 is 1234.5; 百分之十 is 10 %; 三个月 and “three months” are 3 months; 两年 is 24 months; 120万元 is 1,200,000
yuan; 2024-03-15 is 15 March 2024. Texts are folded (`kb.lexical.folding.fold`).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from kb.lexical.numbers import Number, find_numbers, to_arabic

_ABOUT_SHARE = Decimal("0.06")  # how far “about 500” may be from the figure


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its unit, a key of `_UNITS`; empty if it has none that is known.

    `text` is how it is written, in Arabic digits; `before` and `after` are the characters around it.
    """

    value: Decimal
    unit: str
    text: str
    before: str = ""
    after: str = ""

    @property
    def is_about(self) -> bool:
        return bool(_ABOUT.search(self.before))


@dataclass(frozen=True, slots=True)
class Day:
    """A date, month or day of the week by its terms, the most exact one first: 20240315, 202403, 3月15, 3月; 周1."""

    terms: tuple[str, ...]
    text: str


# --- units -----------------------------------------------------------------------------------------------------

# What is measured, how much of it the unit is, and how it is written. Working days count as days: a text that names
# them often says just “days” later on.
_MEASURES: tuple[tuple[str, str, str], ...] = (
    ("second", "1", "秒钟 秒 seconds second secs sec"),
    ("second", "60", "分钟 minutes minute mins min"),
    ("second", "3600", "个小时 小时 个钟头 钟头 hours hour hrs hr h"),
    (
        "second",
        "86400",
        "个工作日 工作日 个自然日 自然日 个交易日 交易日 天 日 working-days business-days calendar-days",
    ),
    ("second", "86400", "working-day business-day calendar-day days day"),
    ("second", "604800", "个星期 星期 个礼拜 礼拜 周 weeks week"),
    ("month", "1", "个自然月 个月 months month"),
    ("month", "3", "个季度"),
    ("month", "120", "decades decade"),
    ("month", "1200", "centuries century"),
    ("month", "12", "周年 年 周岁 岁 years year yrs"),
    ("metre", "0.001", "毫米 mm"),
    ("metre", "0.01", "厘米 公分 cm"),
    ("metre", "1", "米 公尺 metres metre meters meter m"),
    ("metre", "1000", "公里 千米 kilometres kilometers kilometre kilometer km"),
    ("gram", "0.001", "毫克 mg"),
    ("gram", "1", "克 grams gram g"),
    ("gram", "500", "市斤 斤"),
    ("gram", "1000", "公斤 千克 kilograms kilogram kg"),
    ("gram", "1000000", "吨 tonnes tonne tons ton"),
    ("litre", "0.001", "毫升 ml"),
    ("litre", "1", "升 litres litre liters liter"),
    ("byte", "1", "字节 bytes byte"),
    ("byte", "1024", "kib kb"),
    ("byte", "1048576", "mib mb"),
    ("byte", "1073741824", "gib gb"),
    ("byte", "1099511627776", "tib tb"),
    ("watt", "1", "瓦特 瓦 watts watt w"),
    ("watt", "1000", "千瓦 kw"),
    ("watt", "1000000", "兆瓦 mw"),
    ("volt", "1", "伏特 伏 volts volt v"),
    ("hertz", "1", "赫兹 hz"),
    ("hertz", "1000", "千赫 khz"),
    ("hertz", "1000000", "兆赫 mhz"),
    ("hertz", "1000000000", "ghz"),
    ("degree", "1", "摄氏度 °c"),
    ("square metre", "1", "平方米 平米 m2 sqm"),
    ("percent", "1", "个百分点 百分点 % percent percentage-points"),
    ("cny", "1", "元 块钱 人民币 rmb cny yuan"),
    ("usd", "1", "美元 美金 usd dollars dollar"),
    ("eur", "1", "欧元 eur euros euro"),
    ("jpy", "1", "日元 jpy yen"),
    ("gbp", "1", "英镑 gbp"),
    ("hkd", "1", "港元 港币 hkd"),
    ("person", "1", "人 名 位 people persons person"),
    ("page", "1", "页 pages page"),
    ("time", "1", "次 times"),
)
_UNITS = {
    name.replace("-", " "): (measure, Decimal(factor)) for measure, factor, names in _MEASURES for name in names.split()
}
_MONEY_SIGNS = {"$": "usd", "us$": "usd", "hk$": "hkd", "€": "eur", "£": "gbp", "¥": "cny"}


_NO_UNIT_BEFORE = {"年": "(?!代)", "元": "(?![组素旦首宵音])", "周": "(?![岁年])", "人": "(?![民工类])", "名": "(?!单)"}


def _pattern(name: str) -> str:
    """The name of a unit that is not the beginning of another word."""
    is_word = name[-1].isascii() and name[-1] != "%"
    return re.escape(name) + ("(?![a-z0-9_])" if is_word else _NO_UNIT_BEFORE.get(name, ""))


_UNIT = re.compile(
    rf"(?:\s|-(?=[a-z]))?(?:{'|'.join(map(_pattern, sorted(_UNITS, key=len, reverse=True)))})", re.IGNORECASE
)
_MONEY_BEFORE = re.compile(r"(us\$|hk\$|[$€£¥])\s?$", re.IGNORECASE)
_CURRENCY_BEFORE = re.compile(r"\b(rmb|cny|usd|eur|gbp|hkd|jpy)\s?$", re.IGNORECASE)
_PAGE_BEFORE = re.compile(r"\b(?:p|pp|page)\.?\s?$", re.IGNORECASE)
_ABOUT = re.compile(
    r"(?:约为?|大约|大概|近|接近|将近|超过|逾|不到|≈|~|\b(?:about|around|approximately|approx\.?|roughly|nearly|almost|over"
    r"|more than|some|circa))\s*(?:[a-z]{0,2}\$|[€£¥])?\s*$",
    re.IGNORECASE,
)
_LOOK_AROUND = 16

# --- numbers ---------------------------------------------------------------------------------------------------

# Not a part of a code, such as A-1023 or v2; a chain of more than one point is a version.
_PLAIN = re.compile(
    r"(?<![A-Za-z_\d])(?<![A-Za-z][-/.:#@_])(?<!\d\.)"
    r"(?:(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?![\d:])"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d{1,20})?(?!,?\d)|\d{1,20}(?:\.\d{1,20})?)(?!\d|\.\d)(?:st|nd|rd|th|s)?(?![A-Za-z_])"
    r"|(?P<measured>\d{1,20}(?:\.\d{1,20})?)(?=[A-Za-z]))"
)
_VALUE = re.compile(r"\d+(?:_\d+)?")
_AND_A_HALF = re.compile(r"(?<!\d)(\d{1,2})(?=(?:年|个月|天|周|个?小时)半)")  # 一年半
_HALF = re.compile("半(?=年(?![报度])|个[月小])")
_PREFIX = re.compile(r"(?<=\b(?:mid|pre|non))-(?=\d)|(?<=\bpost)-(?=\d)", re.IGNORECASE)  # mid-1930s
_DECADE = re.compile(r"(?<!\d)(1?\d|20|21)\s?世纪\s?(\d0)(?=\s?年代)")
_YEARS = re.compile(r"(?<!\d)(\d\d)(\d\d)\s?[-/]\s?(\d\d)(?![\d-])")  # 2019-20
_MONTH_NAMES = "january february march april may june july august september october november december"
_MONTHS = _MONTH_NAMES.split()
_MONTH = re.compile(rf"\b(?:{'|'.join(_MONTHS)})\b", re.IGNORECASE)
_WEEKDAYS = {
    **{f"{week}{day}": number for week in ("周", "星期", "礼拜") for number, day in enumerate("一二三四五六日", 1)},
    "周天": 7,
    "星期天": 7,
    "礼拜天": 7,
    **{
        day: number
        for number, day in enumerate(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"), 1)
    },
}
_WEEKDAY = re.compile(rf"{'|'.join(_WEEKDAYS)}", re.IGNORECASE)
_TO = re.compile(r"\s*(?:[至到~-]|to|through|until)\s*", re.IGNORECASE)

_SMALL_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELT_VALUES = {word: value for value, word in enumerate(_SMALL_WORDS.split())}
_SPELT_VALUES |= {word: 10 * value for value, word in enumerate(_TENS_WORDS.split(), 2)}
_SPELT_WORD = "|".join([*sorted(_SPELT_VALUES, key=len, reverse=True), "hundred", "thousand"])
_A = re.compile(r"\b(?:an?|one)(?=\s(?:million|billion|century|decade|year|month|week|day|hour)\b)", re.IGNORECASE)
_A_HUNDRED = re.compile(r"\ban?(?=\s(?:hundred|thousand)\b)", re.IGNORECASE)
_SPELT = re.compile(rf"\b(?:{_SPELT_WORD})(?:(?:[\s-]|\s?,\s|\sand\s)(?:{_SPELT_WORD}))*+\b", re.IGNORECASE)


def read_figures(text: str) -> Iterator[Figure | Day]:
    """The figures and dates of a folded text."""
    text = _SPELT.sub(_in_digits, _A_HUNDRED.sub("one", _A.sub("1", _PREFIX.sub(" ", text))))
    text, _ = to_arabic(text)
    text = _DECADE.sub(_in_years, _HALF.sub("0.5", _AND_A_HALF.sub(r"\1.5", text)))
    for weekday in _WEEKDAY.finditer(text):
        yield Day((f"周{_WEEKDAYS[weekday[0].lower()]}",), weekday[0])
    end = 0
    for number in find_numbers(text):
        if number.start < end or not (found := _read(number, text)):
            continue
        yield from _plain(text, end, number.start)
        yield found
        end = number.end
    yield from _plain(text, end, len(text))


def _in_years(match: re.Match[str]) -> str:
    """20世纪30 → 1930."""
    return str((int(match[1]) - 1) * 100 + int(match[2]))


def _in_digits(match: re.Match[str]) -> str:
    """Number words in digits, if they are a number: “one” is mostly a pronoun, and several hundred are no 100."""
    words = re.findall(r"[a-z]+", match[0].lower())
    if words in (["one"], ["hundred"], ["thousand"]):
        return match[0]
    total = section = 0
    for word in words:
        if word == "and":
            continue
        if word == "thousand":
            total, section = total + (section or 1) * 1000, 0
        elif word == "hundred":
            section = (section or 1) * 100
        else:
            value = _SPELT_VALUES[word]
            if section % (10 if value < 10 else 100) or section % 100 == 10:
                return match[0]  # “two three”, “nineteen eighty-four”
            section += value
    return str(total + section)


def _read(number: Number, text: str) -> Figure | Day | None:
    """What `find_numbers` reads; None for what is read here: a number with what it counts."""
    term = number.terms[0]
    written = text[number.start : number.end]
    if number.terms[-1].endswith("月"):
        return Day(number.terms, written)
    if term.endswith("percent"):
        value = Decimal(term.removesuffix("percent").replace("_", "."))
        return Figure(value, "%", written, *_around(text, number.start, number.end))
    if not _VALUE.fullmatch(term) or len(term) > 30:
        return None
    return _figure(term.replace("_", "."), text, number.start, number.end)


def _plain(text: str, start: int, end: int) -> Iterator[Figure]:
    """The numbers of a stretch that is no date, amount or the like; also the hour and minute of a time of day."""
    for match in _PLAIN.finditer(text, start, end):
        if match["hour"]:
            yield Figure(Decimal(int(match["hour"]) % 12 * 60 + int(match["minute"])), "clock", match[0])
        elif match["number"]:
            yield _figure(match["number"].replace(",", ""), text, match.start(), match.end("number"))
        elif _UNIT.match(text, match.end()):  # 30kg; but 802a is a code
            yield _figure(match["measured"], text, match.start(), match.end())


def _figure(number: str, text: str, start: int, end: int) -> Figure:
    before, _ = _around(text, start, end)
    value = Decimal(number)
    unit = ""
    if match := _UNIT.match(text, end):
        unit = match[0].strip(" -\n\t").lower()
    elif match := _MONEY_BEFORE.search(before):
        unit = _MONEY_SIGNS[match[1].lower()]
    elif match := _CURRENCY_BEFORE.search(before):
        unit = match[1].lower()
    elif _PAGE_BEFORE.search(before):
        unit = "page"
    if unit == "年" and 1000 <= value < 3000 and "." not in number:
        unit = ""  # of a calendar
    if match and match.start() == end:
        end = match.end()
    return Figure(value, unit, text[start:end].strip(), *_around(text, start, end))


def _around(text: str, start: int, end: int) -> tuple[str, str]:
    return text[max(0, start - _LOOK_AROUND) : start], text[end : end + _LOOK_AROUND]


# --- what a text says ------------------------------------------------------------------------------------------


class Figures:
    """The figures and dates of one text, to look others up in."""

    def __init__(self, text: str) -> None:
        """`text` is folded."""
        self._text = text
        self._units: dict[Decimal, set[str]] = {}  # of each number
        self._measured: set[tuple[str, Decimal]] = set()
        self._days: set[str] = set()
        self._without_year: set[str] = set()
        for found in read_figures(text):
            if isinstance(found, Day):
                self._add_day(found)
            else:
                self._add(found.value, found.unit)
        self._add_weekdays(text)
        for month in _MONTH.finditer(text):
            self._days.add(f"{_MONTHS.index(month[0].lower()) + 1}月")
        for years in _YEARS.finditer(text):
            self._add(Decimal(years[1] + years[3]), "")
        self._ordered = sorted(self._units)

    def _add(self, value: Decimal, unit: str) -> None:
        self._units.setdefault(value, set()).add(unit)
        if unit == "clock":  # 14:30 is also 2 or 14 o'clock
            for part in (value // 60, value // 60 + 12, value % 60):
                self._units.setdefault(part, set()).add("clock")
            hours, minutes = value // 60, value % 60  # or minutes and seconds, of a match
            self._measured.update(("second", seconds) for seconds in (hours * 3600, hours * 60, minutes * 60, minutes))
        if measure := _UNITS.get(unit):
            self._measured.add((measure[0], value * measure[1]))
            if measure[0] == "percent":
                self._units.setdefault(value / 100, set()).add("")

    def _add_day(self, day: Day) -> None:
        self._days.update(day.terms)
        if not day.terms[0][0].isdigit() or "月" in day.terms[0]:
            self._without_year.add(day.terms[0])
        for term in day.terms:
            if len(term) == 8 and term.isdigit():
                numbers = [term[:4], term[4:6], term[6:]]
            elif len(term) == 6 and term.isdigit():
                numbers = [term[:4], term[4:]]
            else:
                numbers = re.findall(r"\d+", term)
            for number in numbers:
                self._units.setdefault(Decimal(number), set()).add("日")

    def _add_weekdays(self, text: str) -> None:
        """Monday to Friday holds the days between."""
        days = list(_WEEKDAY.finditer(text))
        for first, last in pairwise(days):
            if _TO.fullmatch(text, first.end(), last.start()):
                span = range(_WEEKDAYS[first[0].lower()], _WEEKDAYS[last[0].lower()] + 1)
                self._days.update(f"周{day}" for day in span)

    def holds(self, claim: Figure | Day) -> bool:
        """Whether the text has the figure, or the date. Where one side has no unit, the number alone counts."""
        if isinstance(claim, Day):
            return self._holds_day(claim.terms)
        if claim.unit == "clock":
            return "clock" in self._units.get(claim.value, ()) or self._holds_number(claim.value // 60, "")
        return (
            self._holds_number(claim.value, claim.unit)
            or (claim.is_about and self._holds_about(claim))
            or self._holds_measure(claim)
        )

    def _holds_number(self, value: Decimal, unit: str) -> bool:
        units = self._units.get(value)
        return units is not None and (not unit or "" in units or unit in units)

    def _holds_measure(self, claim: Figure) -> bool:
        measure = _UNITS.get(claim.unit)
        if measure is None:
            return False
        if measure[0] == "percent" and "" in self._units.get(claim.value / 100, ()):
            return True
        return (measure[0], claim.value * measure[1]) in self._measured

    def _holds_about(self, claim: Figure) -> bool:
        spread = abs(claim.value) * _ABOUT_SHARE
        first = bisect_left(self._ordered, claim.value - spread)
        return any(
            self._holds_number(value, claim.unit)
            for value in self._ordered[first : first + 8]
            if value <= claim.value + spread
        )

    def _holds_day(self, terms: tuple[str, ...]) -> bool:
        exact = [term for term in terms if len(term) == len(terms[0])] if terms[0].isdigit() else terms[:1]
        if any(term in self._days for term in exact):
            return True
        if terms[0].isdigit():
            # The day here, its year there.
            year, rest = Decimal(terms[0][:4]), next((term for term in terms if "月" in term), "")
            return year in self._units and (rest in self._without_year or self._writes(rest))
        return self._writes(terms[0])

    def _writes(self, term: str) -> bool:
        """Whether the text has a day without a year as two numbers: 3/15, 15.3."""
        month, _, day = term.partition("月")
        if not month.isdigit() or not day:
            return False
        pair = rf"0?{month}[/.\-]0?{day}|0?{day}[/.\-]0?{month}"
        return bool(re.search(rf"(?<![\d/.\-])(?:{pair})(?![\d/\-])", self._text))
