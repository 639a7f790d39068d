"""The text of an answer as models write it → Markdown as Streamlit shows it: citations, formulas, money, no images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from markdown_it import MarkdownIt

# --- the passages that can be cited ----------------------------------------------------------------------------


class Ranked(Protocol):
    @property
    def rank(self) -> int: ...


Cited = TypeVar("Cited", bound=Ranked, covariant=True)


class Found(Protocol[Cited]):
    """A retrieval, or the names of its passages."""

    @property
    def passages(self) -> Sequence[Cited]: ...


# --- what is not prose: code and formulas ----------------------------------------------------------------------

# Code that is not closed yet, as in an answer that is still being written, reaches to the end, as it does in Markdown.
# No alternative may look past the next opening of its own kind: answers are drawn several times a second.
_VERBATIM = re.compile(
    r"""
      ^[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:(?P<fence>`{3,})[^`\n]*|(?P<tilde>~{3,})[^\n]*)
        (?:\n.*?^[ \t]*(?:(?P=fence)|(?P=tilde))|.*\Z)
    | (?<![`\\])(?P<ticks>`+)(?!`)[^\n]+?(?<!`)(?P=ticks)(?!`)
    | (?<!\\)\$\$(?P<display>(?:(?!\n[ \t]*\n).)+?)\$\$
    | (?<![\\$])\$(?P<inline>(?![\s$])[^$\n]*(?<![\s\\]))\$(?!\d)
    | (?<!\\)\\\((?P<round>(?:(?!\\\(|\n[ \t]*\n).)+?)\\\)
    | (?<!\\)\\\[(?P<square>(?:(?!\\\[|\n[ \t]*\n).)+?)\\\]
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_MATH_SIGN = re.compile(r"[\\^_={}<>+*|]")
_LINE_END = re.compile(r"[ \t]*$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{2,}")
_ENDS_OPEN = re.compile(r"[/,;:(\-–—、，；：。]$")
_HAN = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]")
# Numbers in escaped brackets are text that was escaped.
_ESCAPED_NUMBERS = re.compile(r"[\s\d,，;；、–~-]+")

# --- citations -------------------------------------------------------------------------------------------------

_NAMES = r"passages?|sources?|资料|来源|段落|片段|文档|文献|参考资料|出处|材料"
_MORE_NAMES = rf"{_NAMES}|citations?|cite|id|docs?|documents?|refs?|references?|chunks?|参考|引用|注"
_GAP = r"[ \t]{0,3}"
_ITEM = rf"(?:(?:{_MORE_NAMES}){_GAP}[:：#._]?{_GAP}){{0,2}}\#?\d{{1,3}}"  # also [来源: 资料1]
_DASH = r"(?:\\?[-–—~～]|\]\\?[-–—~～]\[|[】］〕]\\?[-–—~～][【［〔]|to|至|到)"
_COMMA = r"(?:[,，、;；&]|and|和|与|及)"
_LIST = rf"{_ITEM}(?:{_GAP}(?:{_DASH}|{_COMMA}{_GAP}(?:and)?){_GAP}{_ITEM}){{0,15}}"
_PAGE = rf"(?:{_GAP}[,，:：]?{_GAP}(?:pp?\.?|pages?|第){_GAP}\d{{1,5}}(?:[-–]\d{{1,5}})?{_GAP}页?)?"
_SPOT = r"(?::\d{1,3})?(?:†[^】］\]【［\[\n]{0,100})?"  # 【1†source】, 【4:0†source】, [1†L3-L5]
_BODY = rf"{_GAP}\^?{_GAP}(?P<NAME>{_LIST})(?P<NAME_page>{_PAGE})\^?{_SPOT}{_GAP}"
_CITATION = re.compile(
    rf"""
      (?:<sup>)?(?<!\\)(?P<double>\[{_GAP})?\[{_BODY.replace("NAME", "square")}\](?(double){_GAP}\])(?:</sup>)?
        (?!\((?:https?:|mailto:|www\.))(?:\(\#[^()\s]{{0,80}}\))?
    | [【［〔]{_BODY.replace("NAME", "wide")}[】］〕]
    | [(（]{_GAP}(?P<round>(?:{_NAMES}){_GAP}[:：#]?{_GAP}{_LIST}){_GAP}[)）]
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NUMBER_OR_DASH = re.compile(rf"(?P<number>\d+)|(?P<dash>{_DASH})(?={_GAP}(?:[^\W\d]|[:：#._ \t])*\d)", re.IGNORECASE)
_WIDEST_RANGE = 30
# An index as programs write it: x[1], x2[1], row_a[1], itemsLeft[1], self.rows[1], a[0][1], y = [1, 2]. Any other word
# before a bracket is prose, also a code or a name: E1070[1], GitHub[1], tea.md[1].
_INDEXED = re.compile(
    r"(?:.*[^A-Za-z0-9_.])?(?:[a-z]\d{0,2}|[a-z]{2,}[A-Z][A-Za-z0-9]*|[A-Za-z0-9]*_\w*|(?:self|this|obj|data)\.\w+"
    r"|arr|vec!?|buf|ptr|args|argv|foo|bar|idx|tmp|lst)(?:\[\w{1,9}\]){0,3}|.*=[ \t]?"
)
_LOOK_BACK = 40

# --- what Markdown would take for markup -----------------------------------------------------------------------

# What begins an image. Looked for from the start of a run only: models that go astray write thousands of them.
_IMAGE = re.compile(r"(?<!!)!++(?=\[)")
# Two ranges such as 5~10 strike out what is between them, and a colon makes a directive of the brackets after it.
# `~~` and an address (/~name) stay as they are.
_RANGE = re.compile(r"(?<![~\\/])~(?!~)")
_DIRECTIVE = re.compile(r"(?<!\\):(?=[\w-]*[\[{])")
_DOLLAR = re.compile(r"(?<!\\)\$")
_BREAK = re.compile(r"[ \t]*</?br[ \t]*/?>[ \t]*", re.IGNORECASE)
_MARKDOWN = MarkdownIt().enable("table")


def cited(content: str, found: Found[Cited] | None) -> list[Cited]:
    """The passages that `content` cites, in the order of their ranks."""
    ranks = _ranks(found)
    if not found or not ranks:
        return []
    numbers: set[int] = set()
    for verbatim, text in _parts(content):
        if verbatim is None:
            numbers.update(number for match in _citations(text) for number in _named(match, ranks))
    return [passage for passage in found.passages if passage.rank in numbers.intersection(ranks)]


def safe_markdown(content: str, found: Found[Ranked] | None = None, has_formulas: bool = True) -> str:
    """An answer for showing: citations that hold are marked, formulas and money are told apart, images become links.

    Code stays as it is. Our own quotations have no formulas, but escaped brackets, which look like some. A number
    without a passage behind it stays plain text: it links to nothing, and must not look as if it did. Takes time in
    proportion to the length, also for text that breaks off anywhere.
    """
    ranks = _ranks(found)
    shown = "".join(
        _prose(text, ranks) if verbatim is None else _formula_or_code(verbatim)
        for verbatim, text in _parts(content, has_formulas)
    )
    return _IMAGE.sub("", shown) if _holds_image(shown) else shown


def _ranks(found: Found[Ranked] | None) -> set[int]:
    return {passage.rank for passage in found.passages} if found else set()


def _parts(content: str, has_formulas: bool = True) -> Iterator[tuple[re.Match[str] | None, str]]:
    """The text in its order: code and formulas with their match, prose without one."""
    begin = position = 0
    while match := _VERBATIM.search(content, position):
        if _is_prose(match, has_formulas):
            position = match.start() + 1
            continue
        if match.start() > begin:
            yield None, content[begin : match.start()]
        yield match, match[0]
        begin = position = match.end()
    if begin < len(content):
        yield None, content[begin:]


def _is_prose(match: re.Match[str], has_formulas: bool) -> bool:
    """Whether dollars, or escaped brackets, do not hold a formula: amounts of money, names of variables, a citation."""
    if not has_formulas:
        return match["fence"] is match["tilde"] is match["ticks"] is None
    if (square := match["square"]) is not None:
        return bool(_ESCAPED_NUMBERS.fullmatch(square))
    if (inline := match["inline"]) is None:
        return False
    if _ENDS_OPEN.search(inline):
        return True
    if _MATH_SIGN.search(inline):
        return False
    words = len(_WORD.findall(inline))
    return bool(_HAN.search(inline)) or words > 2 or (words > 0 and inline[0].isdigit())


def _formula_or_code(match: re.Match[str]) -> str:
    if (inline := match["round"]) is not None:
        return _inline_formula(inline)
    formula = match["display"] if match["display"] is not None else match["square"]
    if formula is None:
        return _IMAGE.sub("", match[0]) if match["inline"] is not None else match[0]
    before = match.string[max(0, match.start() - _LOOK_BACK) : match.start()].rpartition("\n")[2]
    if before.strip() or not _LINE_END.match(match.string, match.end()):
        return _inline_formula(rf"\displaystyle {formula.strip()}")
    # Markdown shows a formula in its middle only between lines of two dollars, indented as the text around it.
    body = "\n".join(before + line.strip() for line in formula.strip().splitlines())
    return _IMAGE.sub("", f"$$\n{body}\n{before}$$")


def _inline_formula(formula: str) -> str:
    text = " ".join(_IMAGE.sub("", formula).split())
    return f"$${text}$$" if "$" in text else f"${text}$"


def _prose(text: str, ranks: set[int]) -> str:
    text = _IMAGE.sub("", text)
    if _BREAK.search(text):
        text = "\n".join(_break_lines(line) for line in text.split("\n"))
    text = _DOLLAR.sub(r"\$", _DIRECTIVE.sub(r"\:", _RANGE.sub(r"\~", text)))
    if not ranks:
        return text
    parts, end = [], 0
    for match in _citations(text):
        if marks := _marks(match, ranks):
            parts += [text[end : match.start()], marks]
            end = match.end()
    return "".join(parts) + text[end:]


def _break_lines(line: str) -> str:
    """In a row of a table, where a line's end would end the row, the character itself; style.css keeps it."""
    return _BREAK.sub("&#10;" if "|" in line else r"\\\n", line)


def _citations(prose: str) -> Iterator[re.Match[str]]:
    for match in _CITATION.finditer(prose):
        before = prose[max(0, match.start() - _LOOK_BACK) : match.start()]
        if match["square"] is None or not _INDEXED.fullmatch(before):
            yield match


def _named(match: re.Match[str], ranks: set[int]) -> list[int]:
    """The numbers in a citation, if most of them are passages; none if it is a list or a range of other things."""
    numbers: list[int] = []
    is_range = False
    for part in _NUMBER_OR_DASH.finditer(match["square"] or match["wide"] or match["round"]):
        if part["dash"]:
            is_range = True
            continue
        number = int(part["number"])
        if is_range and not numbers[-1] < number <= numbers[-1] + _WIDEST_RANGE:
            return []
        numbers += range(numbers[-1] + 1, number + 1) if is_range else [number]
        is_range = False
    held = sum(number in ranks for number in numbers)
    return numbers if held * 2 >= len(numbers) and 0 not in numbers and held else []


def _marks(match: re.Match[str], ranks: set[int]) -> str:
    """A badge for each passage; a number without one stays plain. The page that was named is kept."""
    numbers = _named(match, ranks)
    page = (match["square_page"] or match["wide_page"] or "").lstrip(" \t,，:：")
    marks = "".join(f":blue-badge[{number}]" if number in ranks else rf"\[{number}\]" for number in numbers)
    return f"{marks} ({page})" if marks and page else marks


def _holds_image(text: str) -> bool:
    """Whether Markdown finds an image in what was taken for code."""
    if not _IMAGE.search(text):
        return False
    blocks = _MARKDOWN.parse(text)
    return any(inline.type == "image" for block in blocks for inline in block.children or ())
