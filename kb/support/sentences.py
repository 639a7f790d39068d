"""The sentences of an answer that claim something, with the passages that they cite."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from kb.citations import Citation, citations_in, rewrite
from kb.lexical.folding import fold
from kb.verbatim import Kind, split_verbatim


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence at characters `start` to `end` of the answer; `text` is it without citations and marks of Markdown."""

    start: int
    end: int
    text: str
    ranks: tuple[int, ...]


_MARKER = re.compile(r"[\s>]*(?:(?:[-*+•]|\d{1,3}[.)]|[（(]\d{1,2}[)）]|\d{1,3}、|[①-⑳])(?=\s|[^\d\s.*+-]))?\s*")
_HEADING = re.compile(r"#{1,6}\s.*|\*\*[^*]+\*\*\s*[:：]?|\*[^*]+\*|__[^_]+__\s*[:：]?")
_UNDERLINE = re.compile(r"[\s>]*+(?:=++|-++)\s*+")
_DELIMITER = re.compile(r"[\s>]*+\|?(?:\s*+:?-{2,}+:?\s*+\|)*\s*+:?-{2,}+:?\s*+\|?\s*+")
_STOP = re.compile(r"[。！？!?；;]+[”’\"'」』）)*_]*|\.[”’\"')*_]*(?=\s)")
_SHORT_BEFORE = re.compile(
    r"(?:\b[A-Z]|\b(?:no|nos|dr|mr|mrs|ms|prof|inc|ltd|co|corp|vs|approx|fig|figs|eq|sec|art|st|jr|p|pp|e\.g|i\.e|etc|vol|ca))$",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(r"[:：]\s*[*_]*\s*$")
_QUESTION = re.compile(r"[?？][”\"'」』）)*_\s]*$")
_SAYING_EN = (
    "contain(?:s|ed)?|mention(?:s|ed)?|sa(?:y|ys|id)|state[sd]?|provide[sd]?|specif(?:y|ies|ied)|include[sd]?|hold|cover(?:s|ed)?"
    "|gives?|given|address(?:es|ed)?|describe[sd]?|answer(?:s|ed)?|found|known|indicate[sd]?"
)
_SAYING_ZH = (
    "提到|提及|说明|包含|找到|查到|相关|信息|资讯|记载|给出|涉及|规定|提供|回答|答案|描述|列出|指出|写明|明确|说"
)
_NOTHING_FOUND = re.compile(
    rf"\b(?:passages?|sources?|documents?|knowledge base|context|files?|texts?|materials?|excerpts?|they|it)\b.{{0,40}}"
    rf"\b(?:do(?:es)? not|don['’]t|doesn['’]t|did not|didn['’]t|(?:is|are) not|(?:is|are)n['’]t|no|neither|nor)\b"
    rf".{{0,30}}"
    rf"\b(?:{_SAYING_EN})\b"
    rf"|\b(?:is|are|was|were) not (?:\w+ )?(?:{_SAYING_EN})\b(?! (?:with|by))"
    r"|\b(?:could not|couldn['’]t|cannot|can['’]t|unable to|not able to)"
    r" (?:find|locate|determine|answer|say|tell|confirm|verify)"
    r"|\b(?:no|any|not enough|insufficient) (?:\w+ )?(?:information|mention|details?|answer|evidence)"
    r" (?:about|on|of|for|regarding|in|was|is)"
    r"|\bnothing (?:relevant|was found|about|on)\b"
    rf"|(?:资料|文档|知识库|文件|档案|文中|原文|材料|上下文|段落|来源|其中|内容)[^。，,]{{0,12}}(?:没有|未|并未|不|无)[^。，,]{{0,8}}(?:{_SAYING_ZH})"
    r"|(?:没有|未能?|无法|找不到|查不到)(?:在[^。，,]{0,12}中)?(?:找到|查到|提到|提及|确定|回答|确认|得知|判断)"
    r"|找不到|查不到|没有(?:关于|有关|相关|这方面)|未(?:作|做|予)?(?:说明|注明|写明)",
    re.IGNORECASE,
)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\(([^()\s]*)(?:\s[^()]*)?\)")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~$:])")
_EMPHASIS = re.compile(r"\*\*|__|~~|(?<!\w)[*_]|[*_](?!\w)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,100}>")


def sentences_of(answer: str, ranks: Collection[int]) -> Iterator[Sentence]:
    """The sentences of an answer that claim something."""
    citations = list(citations_in(answer, ranks))
    text = _blank(answer, citations)
    lines = text.splitlines(keepends=True)
    start = place = 0
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        end = start + len(line)
        own: list[Citation] = []
        while place < len(citations) and citations[place].start < end:
            own.append(citations[place])
            place += 1
        if not _is_heading(line, following):
            yield from _sentences_of_line(line, start, own)
        start = end


def _blank(answer: str, citations: Sequence[Citation]) -> str:
    """The answer at the same length, with spaces for code blocks, formulas and citations."""
    parts = []
    for verbatim, piece in split_verbatim(answer):
        if verbatim is None or verbatim.kind is Kind.TICKS:
            parts.append(piece)
        else:
            parts.append(re.sub(r"[^\n]", " ", piece))
    return rewrite("".join(parts), citations, lambda before, each: before + " " * (each.end - each.start))


def _is_heading(line: str, following: str) -> bool:
    """Whether a line is a heading, the header of a table or the line below it, or holds no text at all."""
    bare = line.strip(" \t\r\n>")
    if not bare or _HEADING.fullmatch(bare) or _DELIMITER.fullmatch(line):
        return True
    if "|" in line and _DELIMITER.fullmatch(following) and "|" in following:
        return True
    return bool(_UNDERLINE.fullmatch(following)) and following.strip(" >\r\n") != "" and "|" not in line


def _sentences_of_line(line: str, offset: int, citations: Sequence[Citation]) -> Iterator[Sentence]:
    """The sentences of a line; a citation after a full stop belongs to what stands before it."""
    begin = _MARKER.match(line).end()  # type: ignore[union-attr]  # matches all
    spans = list(_spans(line, begin))
    place = 0
    for number, (start, end) in enumerate(spans):
        ranks: list[int] = []
        next_start = offset + spans[number + 1][0] if number + 1 < len(spans) else offset + len(line)
        while place < len(citations) and citations[place].start < next_start:
            ranks += citations[place].ranks
            place += 1
        text = line[start:end]
        if _LEAD_IN.search(text) or _QUESTION.search(text) or _NOTHING_FOUND.search(text):
            continue
        yield Sentence(offset + start, offset + end, _plain(text), tuple(dict.fromkeys(ranks)))


def _spans(line: str, begin: int) -> Iterator[tuple[int, int]]:
    """Where the sentences of a line begin and end, without the white space around them. A row of a table is one."""
    if "|" not in line:
        for stop in _STOP.finditer(line, begin):
            if stop[0].startswith(".") and (
                _SHORT_BEFORE.search(line, max(begin, stop.start() - 8), stop.start())
                or re.match(r"\s+[a-z]", line[stop.end() : stop.end() + 80])
            ):
                continue
            if span := _trimmed(line, begin, stop.end()):
                yield span
            begin = stop.end()
    if span := _trimmed(line, begin, len(line)):
        yield span


def _trimmed(line: str, start: int, end: int) -> tuple[int, int] | None:
    piece = line[start:end]
    inner = piece.strip()
    if not any(map(str.isalnum, inner)):
        return None
    start += len(piece) - len(piece.lstrip())
    return start, start + len(inner)


def _plain(text: str) -> str:
    """A sentence without marks of Markdown, folded; code within the line keeps its marks."""
    text = _TAG.sub(" ", _LINK.sub(r"\1 \2 ", text))
    return fold(_EMPHASIS.sub("", _ESCAPE.sub(r"\1", text)))
