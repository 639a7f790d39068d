"""The citations in an answer's Markdown: what they name, in whatever form models write them, and where they stand.

A citation names passages by their ranks: [1], [2, 3], [1-3], 【资料1】, [^2], (Passage 2). Those in code and formulas
are none. Everything here takes time in proportion to the length: answers are drawn several times a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

from kb.verbatim import split_verbatim

# --- the passages that can be cited ----------------------------------------------------------------------------


class Ranked(Protocol):
    @property
    def rank(self) -> int: ...


Cited = TypeVar("Cited", bound=Ranked, covariant=True)


class Found(Protocol[Cited]):
    """A retrieval, or the names of its passages."""

    @property
    def passages(self) -> Sequence[Cited]: ...


# --- citations -------------------------------------------------------------------------------------------------

_NAMES = r"passages?|sources?|资料|来源|段落|片段|文档|文献|参考资料|出处|材料"
_MORE_NAMES = rf"{_NAMES}|citations?|cite|id|docs?|documents?|refs?|references?|chunks?|参考|引用|注"
_GAP = r"[ \t]{0,3}"
_ITEM = rf"(?:(?:{_MORE_NAMES}){_GAP}[:：#._]?{_GAP}){{0,2}}\#?\d{{1,3}}"  # also [来源: 资料1]
_DASH = r"(?:\\?[-–—~～]|\]\\?[-–—~～]\[|[】］〕]\\?[-–—~～][【［〔]|to|至|到)"
_COMMA = r"(?:[,，、;；&]|and|和|与|及)"
_LIST = rf"{_ITEM}(?:{_GAP}(?:{_DASH}|{_COMMA}{_GAP}(?:and)?){_GAP}{_ITEM}){{0,15}}"
# Where it stands in its document, as prompts and pages name that: see `kb.places`.
_NUMBERED = rf"(?:pp?\.?|pages?|slides?|sheets?|第|幻灯片|投影片|工作表){_GAP}\d{{1,5}}(?:[-–]\d{{1,5}})?{_GAP}[页頁]?"
_NAMED = rf"(?:sheet|工作表){_GAP}[“「\"][^“”「」\"\[\]【】\n]{{1,60}}[”」\"]"
_PAGE = rf"(?:{_GAP}[,，:：·]?{_GAP}(?:{_NUMBERED}|{_NAMED}))?"
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
# A number that is no passage's is a citation that points nowhere if it stands after a statement. Others, such as
# [2024], [5, 10], the mark before an entry of a list of references, or “as [7] tells”, are something else.
_LARGEST_DANGLING = 99
_NOUN_BEFORE = re.compile(
    r"(?:\b(?:as|see|in|by|of|from|to|per|and|or|with|than|cf|refs?|references?)\.?|[见如据和与考])[ \t]*$",
    re.IGNORECASE,
)
_AROUND = {"*": "*", "(": ")", "（": "）"}
_ENTRY = re.compile(r"[ \t>*+\-|#]*(?:\d{1,3}[.)])?[ \t]*")


@dataclass(frozen=True, slots=True)
class Citation:
    """A citation at characters `start` to `end` of the text that it was found in.

    `ranks` are the passages that it names and that are there, in its order; `dangling` counts the others; `page` is the
    page that it names, as it is written. A citation that names no passage at all is to be left out.
    """

    start: int
    end: int
    ranks: tuple[int, ...]
    dangling: int
    page: str


def cited(content: str, found: Found[Cited] | None) -> list[Cited]:
    """The passages that `content` cites, in the order of their ranks."""
    ranks = ranks_of(found)
    if not found or not ranks:
        return []
    named = {rank for citation in _kept(content, ranks) for rank in citation.ranks}
    return [passage for passage in found.passages if passage.rank in named]


def count_dangling(content: str, found: Found[Ranked] | None) -> int:
    """How many numbers of citations in `content` are no passage's. Pages do not show them."""
    return sum(citation.dangling for citation in _kept(content, ranks_of(found)))


def without_dangling(content: str, found: Found[Ranked] | None) -> str:
    """`content` without the numbers of citations that are no passage's, as pages show it."""

    def write(before: str, citation: Citation) -> str:
        if not citation.ranks:
            return before.rstrip(" \t")
        if not citation.dangling:
            return before + content[citation.start : citation.end]
        return f"{before}[{', '.join(filter(None, [*map(str, citation.ranks), citation.page]))}]"

    return rewrite(content, _kept(content, ranks_of(found)), write)


def rewrite(text: str, citations: Iterable[Citation], write: Callable[[str, Citation], str]) -> str:
    """`text` with its citations, and what stands between two of them, as `write` puts them: (text before, citation)."""
    parts, end = [], 0
    for citation in citations:
        parts.append(write(text[end : citation.start], citation))
        end = citation.end
    return "".join([*parts, text[end:]])


def ranks_of(found: Found[Ranked] | None) -> frozenset[int]:
    return frozenset(passage.rank for passage in found.passages) if found else frozenset()


def citations_in(content: str, ranks: Collection[int]) -> Iterator[Citation]:
    """The citations of a whole answer, in order. Without any passages, there are none, and nothing is looked for."""
    if not ranks:
        return
    start = 0
    for verbatim, text in split_verbatim(content):
        if verbatim is None:
            for each in find_citations(text, ranks):
                yield Citation(start + each.start, start + each.end, each.ranks, each.dangling, each.page)
        start += len(text)


@lru_cache(maxsize=64)
def _kept(content: str, ranks: frozenset[int]) -> tuple[Citation, ...]:
    """`citations_in`, found once: each run of a page asks each answer three times about its citations."""
    return tuple(citations_in(content, ranks))


def find_citations(prose: str, ranks: Collection[int]) -> Iterator[Citation]:
    """The citations of text without code and formulas, in order. Without any passages, there are none."""
    if not ranks:
        return
    for match in _CITATION.finditer(prose):
        before = prose[max(0, match.start() - _LOOK_BACK) : match.start()]
        if match["square"] is not None and _INDEXED.fullmatch(before):
            continue
        numbers = _numbers(match)
        held = tuple(number for number in numbers if number in ranks)
        if held and len(held) * 2 >= len(numbers):
            page = (match["square_page"] or match["wide_page"] or "").lstrip(" \t,，:：")
            yield Citation(match.start(), match.end(), held, len(numbers) - len(held), page)
        elif numbers and not held and _points_nowhere(match, numbers, before):
            start, end = _with_brackets(prose, match.start(), match.end())
            yield Citation(start, end, (), len(numbers), "")


def _numbers(match: re.Match[str]) -> list[int]:
    """The numbers in what may be a citation; none if it is a list or a range of other things."""
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
    return [] if 0 in numbers else numbers


def _with_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """A stretch with the brackets and asterisks around it: nothing is left of **([7])**."""
    while start and end < len(text) and _AROUND.get(text[start - 1]) == text[end]:
        start, end = start - 1, end + 1
    return start, end


def _points_nowhere(match: re.Match[str], numbers: Sequence[int], before: str) -> bool:
    """Whether numbers that are no passage's are a citation nevertheless. `before` is the text before them."""
    if max(numbers) > _LARGEST_DANGLING:
        return False
    names = (match["square"] or match["wide"] or match["round"]).strip()
    if match["square"] is None or not names[0].isdigit():
        return True
    line = before.rpartition("\n")[2]
    return names.isdigit() and not _ENTRY.fullmatch(line) and not _NOUN_BEFORE.search(line)
