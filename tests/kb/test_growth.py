"""No function over texts takes time that grows with the square of their length, whatever is repeated in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from kb import citations, exports, extracts, lexical, prompt_templates, prompts, support, titles
from kb.chunking import chunk_document
from kb.columns import columns
from kb.completions.thoughts import Thoughts
from kb.errors import KbError
from kb.followups import chinese, english, read_rewrite, standing, talk
from kb.lexical import folding, numbers
from kb.models import ParsedDocument
from kb.names import clean_file_name, clean_label, clean_name, clean_text, fold
from kb.parsing import parse_source
from kb.parsing.builder import Source, clean
from kb.parsing.decoding import decode
from kb.parsing.media_types import BY_EXTENSION
from kb.parsing.web.html_tree import tree_of
from kb.retrieval import overview_questions
from kb.support.figures import read_figures
from kb.web_search.results import clean_query, plain_text
from pages.ui.citations import safe_markdown
from pages.ui.passages import marked

Read = Callable[[str], object]

LENGTH = 8_000  # characters
MEASURABLE = 0.1  # seconds; below, nobody waits and other programs' noise is as large
QUADRATIC = 10  # times as long for four times the length: n log n takes about 4.5, a square 16
MARKS = "\u0323\u0301"
UNITS = [
    *"[]()*`<&|_~#$\\-=>!\"'{}:;/@1aA。，一百 \n\t\b\r",
    *(
        "9,",
        "1.",
        "aA",
        "a ",
        "a-",
        "A-",
        "a\n",
        "¥1,",
        "2024-",
        "第三",
        "1/",
        "(1)",
        "①",
        "½",
        "ﷺ",
        "한",
        "“",
        "「",
        "😀",
    ),
    *("\ud800", "\u0301", MARKS, "a" + MARKS, "\u200d", "\u202e", "\xad\n", "\x1b[", "\x1b]", " \n", "\u0e01\u0e31"),
    *("<b>", "<table><tr><td>", "<div>", "<ul><li>", "<!--", "<![CDATA[", '<a href="', "<sup>", "<sub>", "&lt;"),
    *(
        "<del>a",
        "<ol><li>",
        "<ol><li></ol>",
        '<sup><a href="#a">',
        "<aside>a",
        '<div role="table"><div role="row">a',
        "\u3000",
    ),
    *(
        "[1]",
        "[1,",
        "【1】",
        "[^1]",
        "![](",
        "[a](",
        "```\n",
        "~~~\n",
        "- ```\n",
        "- ",
        "> ",
        "| a ",
        "|-|\n",
        "$$",
        "\\(",
    ),
    *(
        "<think>",
        "</think>",
        "-->\n",
        "a:\n",
        '{"a":',
        'a,"',
        "---\n",
        "a\n---\n",
        "# a\n",
        "## [",
        "{\\b ",
        "a@a.",
        "=?utf-8?q?",
    ),
]
BEGINNINGS = {"parse .md": ("", "# ", "- "), "safe_markdown": ("", "- ")}
ENDINGS = ("", "a")  # a pattern that goes back from the end only does so where the repeats end in something else
FORMATS = [
    *(".md", ".html", ".txt", ".csv", ".json", ".rst", ".srt", ".ipynb", ".py", ".eml", ".ics", ".xml", ".rtf", ".tex"),
    *(".jsonl", ".org", ".adoc", ".vtt", ".mht", ".yaml", ".js"),
]


def _think(text: str) -> None:
    thoughts = Thoughts()
    for start in range(0, len(text), 7):
        list(thoughts.split(text[start : start + 7]))


FUNCTIONS: dict[str, Read] = {
    "fold": fold,
    "clean_name": clean_name,
    "clean_label": clean_label,
    "clean_file_name": clean_file_name,
    "clean_text": clean_text,
    "clean": clean,
    "decode": lambda text: decode(text.encode("utf-8", "surrogatepass")),
    "columns": columns,
    "lexical.fold": folding.fold,
    "lexical.terms": lexical.terms,
    "lexical.question_forms": lexical.question_forms,
    "lexical.weighted_terms": lexical.weighted_terms,
    "numbers.to_arabic": numbers.to_arabic,
    "lexical.script_share": lambda text: lexical.script_share(text, "han"),
    "chinese_script": lexical.chinese_script,
    "chunk_document": lambda text: chunk_document(ParsedDocument(text)),
    "citations": lambda text: list(citations.citations_in(text, {1, 2, 3})),
    "split_sentences": lambda text: extracts.split_sentences(text, ("tea", "a")),
    "escape_markdown": extracts.escape_markdown,
    "exports.escape": exports.escape,
    "support of an answer": lambda text: support.unsupported(text, {1: "x"}),
    "support by a passage": lambda text: support.unsupported("Tea is a plant [1].", {1: text}),
    "read_figures": lambda text: list(read_figures(text)),
    "as_data": lambda text: prompts.as_data(text, 3),
    "cut_middle": lambda text: prompts.cut_middle(text, len(text) // 8),
    "language_in": lambda text: prompts.language_in(text, []),
    "clean_template": prompt_templates.clean_template,
    "clean_title": titles.clean_title,
    "safe_markdown": safe_markdown,
    "marked": lambda text: marked(text, ("tea", "a", "1")),
    "chinese.goes_on": chinese.goes_on,
    "english.goes_on": english.goes_on,
    "standing.judge": lambda text: standing.judge(text, True),
    "without_talk": talk.without_talk,
    "is_about_the_answer": talk.is_about_the_answer,
    "read_rewrite": lambda text: read_rewrite(text, "q"),
    "read_question": overview_questions.read_question,
    "asks_for_whole": overview_questions.asks_for_whole,
    "plain_text": lambda text: plain_text(text, 500),
    "clean_query": clean_query,
    "thoughts": _think,
}


def too_slow(name: str, read: Read) -> Iterator[str]:
    """The repeats that take time by the square."""
    for beginning in BEGINNINGS.get(name, ("",)):
        for unit, ending in product(UNITS, ENDINGS):
            text = beginning + (unit * (LENGTH // len(unit) + 1))[:LENGTH] + ending
            seconds = _measure(read, text)
            if seconds < MEASURABLE:
                continue
            quarter = text[: LENGTH // 4] + ending
            # A busy machine can make one measurement long: only what is slow again is.
            if all(_measure(read, text) > QUADRATIC * _measure(read, quarter) for _ in range(2)):
                yield f"{beginning + unit!r} … {ending!r}: {LENGTH:,} characters take {seconds:.2f} s"


def _measure(read: Read, text: str) -> float:
    begin = time.process_time()
    with suppress(KbError):  # some say that the text is not what it should be
        read(text)
    return time.process_time() - begin


@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_grows_with_the_length(name: str) -> None:
    read = FUNCTIONS[name]
    _measure(read, "warm up 1 一")
    assert list(too_slow(name, read)) == []


@pytest.mark.parametrize("extension", FORMATS)
def test_time_of_parsers_grows_with_the_length(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{extension}"

    def read(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        for _ in parse_source(Source(path, path.name, BY_EXTENSION[extension])):
            pass

    _measure(read, "warm up")
    assert list(too_slow(f"parse {extension}", read)) == []


def test_time_of_stray_end_tags() -> None:
    def read(count: str) -> None:
        page = "<p>Tea</p>" + "<b>" * int(count) + "x" + "</i>" * int(count) + "</p>y"
        assert "".join(tree_of(page).get_text().split()) == "Teaxy"

    _measure(read, "10")
    assert _measure(read, "40000") < QUADRATIC * _measure(read, "12000")
