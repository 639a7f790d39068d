"""Passages as answers: which parts of a text match a question, and the answer without a language model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby, pairwise
from statistics import median
from uuid import UUID

from kb import lexical
from kb.languages import Language
from kb.models import FileList, Passage, Retrieval
from kb.prompts import count_files, tell_unread
from kb.web_search.passages import WebRetrieval

ANSWER_PASSAGES = 3
ANSWER_SENTENCES = 2
SHOWN_ROWS = 6
SHOWN_ITEMS = 6
_SENTENCE_CHARACTERS = 500
_TITLE_CHARACTERS = 80

# --- the parts of a text ---------------------------------------------------------------------------------------


class Part(Enum):
    """What a stretch of text is. Headings say where an answer stands; they are never the answer."""

    PROSE = "prose"
    HEADING = "heading"
    ITEM = "item"  # of a list
    ROW = "row"  # of a table
    RULE = "rule"  # the line below a table's header, or across the page


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, row or item, where it begins in its text, and how many of the question's terms it holds."""

    start: int
    text: str
    matches: int
    part: Part = Part.PROSE

    @property
    def is_answer(self) -> bool:
        return self.part not in (Part.HEADING, Part.RULE)


# Within a line of prose: after a full stop of either kind. A line's end is looked at in `_line_ends_sentence`.
_STOP = re.compile(r"(?<=[。！？；!?])|(?<=[.;])\s+")
_SHORT_LINE = 0.6
_HEADING = re.compile(
    r"#{1,6}(?:\s|(?=[\u3400-\u9fff])).*"
    r"|第[〇一二三四五六七八九十百\d]{1,5}[编篇部章节](?:\s.{0,40})?"
    r"|(?:chapter|section|part)\s[\dIVX]{1,5}\b.{0,60}(?<![.!?;,])"
    r"|\d{1,2}(?:\.\d{1,2}){1,3}\.?\s[^\W\d].{0,60}(?<![.!?;,:。！？；，：])",
    re.IGNORECASE,
)
_RULE = re.compile(r"(?=[\s|:=*_-]++\Z).*(?:---|===|\*\*\*|___|-\|).*", re.DOTALL)
_ITEM = re.compile(
    r"(?:[-*+•·▪◦‣–]\s|\(?\d{1,3}[.)]\s|\d{1,3}[、．]|[（(][\d一二三四五六七八九十]{1,3}[)）]|[a-zA-Z][.)]\s)\s*(?=\S)"
)
_ITEM_NUMBER = re.compile(r"(?:(\d{1,3})[.)]\s+|[-*+•·▪◦‣–]\s+)?(.*)", re.DOTALL)
# Rows as the parsers write them: `header: value; header: value`, or cells with tabs or ` | ` between them.
_LABEL = re.compile(r"(?:^|; )([^:;]{1,80}): ")
_CELLS = re.compile(r"^\||\s\|\s|\t")
_FIELD = re.compile(r"[^:：]{1,40}[:：]\s*(?=[^\s/])")
_STOPS = ("。", "！", "？", "；", ".", "!", "?", ";", "…")
_LABEL_WORDS = 6


def split_sentences(text: str, terms: Sequence[str], heading: str = "") -> list[Sentence]:
    """The parts of `text`, Chinese or English, with their matches; `heading` is the path of headings it stands under.

    Nothing is lost but white space between the parts. Headings and rules match nothing.
    """
    wanted, titles = set(terms), {title.strip() for title in heading.split(" > ") if title.strip()}
    sentences: list[Sentence] = []
    start = 0
    for part, group in groupby(text.splitlines(keepends=True), lambda line: _part(line.strip(), titles)):
        lines = list(group)
        for piece in _sentences(lines) if part is Part.PROSE else lines:
            if piece.strip():
                is_counted = part not in (Part.HEADING, Part.RULE)
                matches = len(wanted.intersection(lexical.analyze(piece))) if is_counted else 0
                sentences.append(Sentence(start, piece, matches, part))
            start += len(piece)
    return sentences


def _part(line: str, titles: set[str]) -> Part:
    if line in titles or _HEADING.fullmatch(line):
        return Part.HEADING
    if _RULE.fullmatch(line):
        return Part.RULE
    item = _ITEM.match(line)
    if _CELLS.search(line, item.end() if item else 0) or len(_labels(line)) > 1:
        return Part.ROW
    return Part.ITEM if item else Part.PROSE


def _labels(line: str) -> list[str]:
    """The names of columns in a row that reads `name: value; name: value`; none if it is prose."""
    labels = _LABEL.findall(line)
    is_row = bool(_LABEL.match(line)) and all(len(label.split()) <= _LABEL_WORDS for label in labels)
    return labels if is_row else []


def _sentences(lines: Sequence[str]) -> Iterator[str]:
    """The sentences of lines of prose."""
    usual = median(len(line) for line in lines)
    ends: set[int] = set()
    start = 0
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        ends.update(start + match.end() for match in _STOP.finditer(line))
        start += len(line)
        if _line_ends_sentence(line.strip(), following.strip(), usual):
            ends.add(start)
    text, begin = "".join(lines), 0
    for end in sorted(ends | {len(text)}):
        yield text[begin:end]
        begin = end


def _line_ends_sentence(line: str, following: str, usual: float) -> bool:
    """Whether a line's end is no wrap: a short line, a blank one, lines that begin alike, or fields of a form."""
    if len(line) < _SHORT_LINE * usual or not following or line[:4] == following[:4]:
        return True
    return line.endswith((":", "：")) or bool(_FIELD.match(line) and _FIELD.match(following))


def matching_sentences(sentences: Sequence[Sentence], limit: int = ANSWER_SENTENCES) -> list[Sentence]:
    """The `limit` sentences that match best (more than half as well as the best one), in order of the text."""
    found = sorted((sentence for sentence in sentences if sentence.is_answer), key=lambda sentence: -sentence.matches)
    if not found or not found[0].matches:
        return []
    chosen = [sentence for sentence in found[:limit] if sentence.matches * 2 > found[0].matches]
    return sorted(chosen, key=lambda sentence: sentence.start)


# --- the answer without a language model -----------------------------------------------------------------------


def extract_answer(retrieval: Retrieval, language: Language) -> str:
    """What was found as Markdown: names of files, or the best passages. `language`: that of the words around them.

    Of each passage comes what matches, marked, with what stands around it, and its citation. Rows of a table keep their
    header; a heading stands above the answer, never for it. A passage that matches no more than half as well as the
    best one, or says the same, is left out.
    """
    if retrieval.files or retrieval.beginnings:
        names = _names(retrieval.files, language, retrieval.are_attached) if retrieval.files else ""
        unread = [_as_text(tell_unread(each, language, retrieval.are_attached)) for each in retrieval.unread]
        return "\n\n".join(filter(None, [names, _beginnings(retrieval), *unread]))
    quotes: list[str] = []
    bodies: set[str] = set()
    most = 0
    for passage in retrieval.passages[:ANSWER_PASSAGES]:
        sentences = split_sentences(passage.chunk.text, retrieval.trace.terms, passage.chunk.heading)
        matches = max((sentence.matches for sentence in sentences), default=0)
        most = max(most, matches)
        body = _excerpt(sentences, retrieval.trace.terms)
        if not body or body in bodies or (quotes and matches * 2 <= most):
            continue
        bodies.add(body)
        quotes.append(_quote(passage, body))
    return "\n\n".join(quotes) or _quote(retrieval.passages[0], _as_text(retrieval.passages[0].chunk.text))


def extract_web_answer(retrieval: WebRetrieval, language: Language) -> str:
    """The best passages of web pages as Markdown, each under its page's title, and which pages could not be read."""
    found = retrieval.as_retrieval()
    titled = tuple(replace(each, chunk=replace(each.chunk, heading=_page_heading(each))) for each in found.passages)
    quotes = extract_answer(replace(found, passages=titled), language) if titled else ""
    names = [f"- {_as_text(page.title)} ({_as_text(page.host)})" for page in retrieval.unread]
    head = language.pick("These pages could not be read:", "以下网页未能读取：")
    return "\n\n".join(filter(None, [quotes, "\n".join([head, "", *names]) if names else ""]))


def _page_heading(passage: Passage) -> str:
    """The page's title above the passage's headings, which often begin with it."""
    title, heading = passage.document_name, passage.chunk.heading
    return heading if heading.split(" > ")[0] == title else " > ".join(filter(None, [title, heading]))


def _names(files: FileList, language: Language, are_attached: bool) -> str:
    """The list of files, and how many there are."""
    lines = [f"- {_as_text(name)}" for name in files.names]
    if len(lines) < files.total:
        lines.append("- …")
    head = count_files(files, language, are_attached) + language.pick(":", "：")
    if files.which:
        head = language.pick("Which file do you mean? ", "您指的是哪个文件？") + head
    return "\n".join([head, "", *lines])


def _beginnings(retrieval: Retrieval) -> str:
    """The first passage of each file or web page, line by line; its headings stand above it."""
    firsts: dict[UUID, Passage] = {}
    for passage in retrieval.passages:
        firsts.setdefault(passage.chunk.document_id, passage)
    quotes = []
    for passage in firsts.values():
        titles = {title.strip() for title in passage.chunk.heading.split(" > ")}
        lines = [line.strip() for line in passage.context.splitlines()]
        shown = [_as_text(line) for line in lines if line and line.lstrip("# ") not in titles]
        quotes.append(_quote(passage, "\n\n".join(shown)))
    return "\n\n".join(quotes)


def _quote(passage: Passage, body: str) -> str:
    """A quotation with the headings above it and the citation below its end."""
    title = _as_text(passage.chunk.heading.replace(" > ", " › "))
    is_table = body.rpartition("\n")[2].startswith("|")
    text = f"*{title}*\n\n{body}" if title else body
    text += f"\n\n[{passage.rank}]" if is_table else f" [{passage.rank}]"
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _excerpt(sentences: Sequence[Sentence], terms: Sequence[str]) -> str:
    """What surrounds the best match: rows of its table, items of its list, or sentences of its paragraph.

    Empty if there are headings only.
    """
    answers = [index for index, sentence in enumerate(sentences) if sentence.is_answer]
    if not answers:
        return ""
    best = max(answers, key=lambda index: (sentences[index].matches, -index))
    match sentences[best].part:
        case Part.ROW:
            return _table(sentences, best)
        case Part.ITEM:
            return "\n".join(_items(sentences, best))
    after = best + 1
    if sentences[best].text.rstrip().endswith((":", "：")) and after < len(sentences):
        # The answer is what this line announces.
        announcement = f"**{_as_text(sentences[best].text)}**\n\n"
        if sentences[after].part is Part.ITEM:
            return announcement + "\n".join(_items(sentences, after))
        if sentences[after].part is Part.ROW:
            return announcement + _table(sentences, after)
    marked = matching_sentences(sentences)
    place = answers.index(best)
    if sentences[best].text.rstrip().endswith(("?", "？")) and place + 1 < len(answers):
        # A question that is asked in the text, too: what follows answers it.
        marked = [sentence for sentence in marked if sentence is not sentences[best]] + [sentences[answers[place + 1]]]
    return _paragraph(sentences, answers, place, marked, terms)


def _paragraph(
    sentences: Sequence[Sentence], answers: Sequence[int], place: int, marked: Sequence[Sentence], terms: Sequence[str]
) -> str:
    """The sentences before and after the best one, as far as they are prose, and those that match as well."""
    shown = [
        sentences[index]
        for index in answers[max(0, place - 1) : place + 2]
        if sentences[index].part is Part.PROSE or index == answers[place]
    ]
    below = [after for sentence, after in pairwise(sentences) if sentence in marked and _is_title(sentence, after)]
    prose = (sentence for sentence in [*marked, *below] if sentence.part is Part.PROSE)
    shown = sorted({*shown, *prose}, key=lambda sentence: sentence.start)
    text = "…" if shown[0] is not sentences[answers[0]] else ""
    for before, sentence in zip([None, *shown], shown, strict=False):
        if before and sentence.start > before.start + len(before.text) + 1:
            text += " …"
        piece = _as_text(_shortened(sentence.text, terms))
        text += _gap(before, text) + (f"**{piece}**" if sentence in marked else piece)
    return text if shown[-1] is sentences[answers[-1]] else f"{text} …"


def _is_title(sentence: Sentence, after: Sentence) -> bool:
    """Whether a line stands above what it is about, such as the name of an attached file: a blank line is between."""
    is_line = len(sentence.text) < _TITLE_CHARACTERS and not sentence.text.rstrip().endswith(_STOPS)
    return is_line and after.start > sentence.start + len(sentence.text)


def _gap(before: Sentence | None, text: str) -> str:
    """What stands before the next sentence: nothing after a Chinese one; lines that are no wraps stay lines."""
    if not text:
        return ""
    if text.endswith("…") or not before:
        return " "
    if before.text.endswith("\n") and not before.text.rstrip().endswith(_STOPS):
        return "\n\n"
    return "" if before.text.rstrip().endswith(("。", "！", "？", "；")) else " "


def _shortened(text: str, terms: Sequence[str]) -> str:
    """A sentence without end, such as a page without full stops: what stands around its first term."""
    text = " ".join(text.split())
    if len(text) <= _SENTENCE_CHARACTERS:
        return text
    found = [place for term in terms if (place := text.lower().find(term)) >= 0]
    start = max(0, min(found, default=0) - _SENTENCE_CHARACTERS // 3)
    end = start + _SENTENCE_CHARACTERS
    return f"{'…' if start else ''}{text[start:end].strip()}{'…' if end < len(text) else ''}"


def _items(sentences: Sequence[Sentence], best: int) -> Iterator[str]:
    """The items of the list around the best one."""
    first, last = _together(sentences, best, (Part.ITEM,))
    start = max(first, min(best - 1, last - SHOWN_ITEMS))
    end = min(last, start + SHOWN_ITEMS)
    if start > first:
        yield "- …"
    for sentence in sentences[start:end]:
        number, text = _ITEM_NUMBER.match(sentence.text.strip()).groups()  # type: ignore[union-attr]  # matches all
        text = f"**{_as_text(text)}**" if 0 < sentence.matches == sentences[best].matches else _as_text(text)
        yield f"{number}. {text}" if number else f"- {text}"
    if end < last:
        yield "- …"


def _together(sentences: Sequence[Sentence], index: int, parts: Sequence[Part]) -> tuple[int, int]:
    """The stretch around `index` that holds nothing but `parts`."""
    first = last = index
    while first > 0 and sentences[first - 1].part in parts:
        first -= 1
    while last < len(sentences) and sentences[last].part in parts:
        last += 1
    return first, last


def _table(sentences: Sequence[Sentence], best: int) -> str:
    """The rows around the best one with their header; those that match as well are marked."""
    first, last = _together(sentences, best, (Part.ROW, Part.RULE))
    rows = sentences[first:last]
    header: list[str] = []
    if len(rows) > 1 and rows[1].part is Part.RULE:
        header, rows = _cells(rows[0].text), rows[2:]
    rows = [row for row in rows if row.part is Part.ROW]
    labelled = not header and bool(rows) and len(_labels(" ".join(rows[0].text.split()))) > 1
    if rows and not header and not labelled and _has_header([_cells(row.text) for row in rows], "\t" in rows[0].text):
        header, rows = _cells(rows[0].text), rows[1:]
    if not rows:  # the best match is in the header: there is no row that could be an answer
        rows, header = [sentences[best]], []
    values = [dict(_labelled(row.text) if labelled else _numbered(row.text)) for row in rows]
    place = rows.index(sentences[best]) if sentences[best] in rows else 0
    start = 0 if len(rows) <= SHOWN_ROWS else max(0, min(place - 2, len(rows) - SHOWN_ROWS))
    shown = range(start, min(start + SHOWN_ROWS, len(rows)))
    names = list(dict.fromkeys(name for index in shown for name in values[index]))
    titles = names if labelled else [header[int(name)] if int(name) < len(header) else "" for name in names]
    lines = [_row(titles), "|" + "---|" * len(names)]
    matching = [index for index in shown if 0 < rows[index].matches == sentences[best].matches]
    if len(rows) > 1 and len(matching) == len(shown):
        matching = []  # a term that stands in every row singles none out
    for index in shown:
        lines.append(_row([values[index].get(name, "") for name in names], is_marked=index in matching))
    gap = _row(["…"] + [""] * (len(names) - 1))
    before, after = [gap] * (start > 0), [gap] * (shown.stop < len(rows))
    return "\n".join([*lines[:2], *before, *lines[2:], *after])


def _has_header(rows: Sequence[Sequence[str]], is_from_page: bool) -> bool:
    """Whether the first row names the columns: it is full and without figures, above a column that has some.

    Tables of PDF pages repeat their header in each chunk, so there the first row may also stand above words alone.
    """
    names, *others = rows
    if not others or not all(names) or any(character.isdigit() for name in names for character in name):
        return False
    if is_from_page and len(others) > 1:
        return max(map(len, others)) <= len(names)
    columns = [[row[place] for row in others if place < len(row) and row[place]] for place in range(len(names))]
    return any(column and all(any(map(str.isdigit, cell)) for cell in column) for column in columns)


def _cells(line: str) -> list[str]:
    """The cells of a row, written as in Markdown, or with tabs or bars between them; a first cell may be empty."""
    if "\t" in line.strip():
        return [cell.strip() for cell in line.rstrip().split("\t")]
    text = line.strip()
    if text.startswith("|") and text.endswith("|"):
        text = text.strip("|")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", text)]


def _numbered(line: str) -> Iterator[tuple[str, str]]:
    """The values of a row that does not name its columns."""
    return ((str(place), cell) for place, cell in enumerate(_cells(line)))


def _labelled(line: str) -> Iterator[tuple[str, str]]:
    """The columns and values of a row that reads `name: value; name: value`."""
    line = " ".join(line.split())
    labels = list(_LABEL.finditer(line))
    for label, following in zip(labels, [*labels[1:], None], strict=True):
        yield label[1], line[label.end() : following.start() if following else len(line)]


def _row(cells: Sequence[str], is_marked: bool = False) -> str:
    texts = [_as_text(cell) for cell in cells]
    return "| " + " | ".join(f"**{text}**" if is_marked and text and text != "…" else text for text in texts) + " |"


# --- text in Markdown ------------------------------------------------------------------------------------------

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])")
# What Streamlit looks for once Markdown is read, so that a backslash does not help: icons, its logo, addresses, arrows.
# A word joiner, which nobody sees, parts their characters. It is copied, too, so nothing else gets one.
_READ_LATER = re.compile(
    r"""
      :(?=material/|material_\w+:|streamlit:)
    | (?:(?<=http)|(?<=https)):(?=//[-\w]*\.)
    | \bwww(?=\.[-\w])
    | (?<=[-.\w+])@(?=[-\w]+\.[-\w])
    | (?<!\S)(?:<(?=->(?!\S))|-(?=[->](?!\S))|<(?=[-=](?!\S))|>(?==(?!\S))|~(?==(?!\S)))
    """,
    re.IGNORECASE | re.VERBOSE,
)
_WORD_JOINER = "\u2060"
_ADDRESS = re.compile(r"https?://[^\s<>]+")
# Here a bracket is closed without a backslash: a pair of escaped brackets is a formula in an answer.
_INLINE = re.compile(r"[\\`*_\[<~$|]|&(?=#?\w+;)|:(?=[\w+-]+:|[\w-]*[\[{])|^(?:[#>+=-]|\d+(?=[.)]))")


def escape_markdown(text: str, addresses: Collection[str] = ()) -> str:
    """`text` such that Markdown shows it as it is. The `addresses` in it become links, and can be copied."""
    known = sorted(filter(_ADDRESS.fullmatch, addresses), key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, known))})", text) if known else [text]
    pieces[::2] = [_MARKDOWN.sub(r"\\\1", _READ_LATER.sub(rf"\g<0>{_WORD_JOINER}", piece)) for piece in pieces[::2]]
    pieces[1::2] = [f"<{piece}>" for piece in pieces[1::2]]
    return "".join(pieces)


def _as_text(text: str) -> str:
    """A line of a passage for an answer, which may still be read and searched as text."""
    return _INLINE.sub(_escaped, " ".join(text.split()))


def _escaped(match: re.Match[str]) -> str:
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"
