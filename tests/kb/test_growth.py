"""No function over texts takes time that grows with the square of their length, whatever is repeated in them."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

from kb import (
    chunking,
    citations,
    columns,
    exports,
    extracts,
    followups,
    languages,
    lexical,
    names,
    normalizing,
    prompt_templates,
    prompts,
    support,
    titles,
    verbatim,
)
from kb.completions import thoughts
from kb.errors import KbError
from kb.followups import chinese, english, standing, talk
from kb.lexical import folding, numbers, quarters, scripts, words
from kb.models import ParsedDocument
from kb.parsing import builder, decoding, parse_source, pdf
from kb.parsing.builder import Source
from kb.parsing.media_types import BY_EXTENSION
from kb.parsing.office import number_formats
from kb.parsing.tables import table_lines
from kb.parsing.web import html_tree
from kb.retrieval import overview_questions
from kb.support import by_model, claims, figures, sentences
from kb.web_search import results
from pages.ui import citations as shown_citations
from pages.ui import passages as shown_passages

Read = Callable[[str], object]

LENGTH = 8_000  # characters
MEASURABLE = 0.1  # seconds; below, nobody waits and other programs' noise is as large
QUADRATIC = 10  # times as long for four times the length: n log n takes about 4.5, a square 16
MARKS = "\u0323\u0301"
LINE = "The keeper notes the winter stock in the ledger.\n"
TABLE = "| Name | Price |\n|---|---|\n| Tea | 12 |\n\n"
PARAGRAPH = "<p>The keeper notes the winter <b>stock</b> in the ledger.</p>\n"
HTML_TABLE = f"<table><tr><th>Name</th><th>Price</th></tr><tr><td>{LINE.strip()}</td><td>12</td></tr></table>\n"
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
    *(LINE, TABLE, PARAGRAPH, HTML_TABLE),
]
# What costs little for each piece, as a copy of the text so far does, shows only with many: these take seconds.
LARGE = ((LINE, 4_000_000), (TABLE, 400_000), (PARAGRAPH, 400_000), (HTML_TABLE, 400_000))  # characters
BEGINNINGS = {
    "parse .md": ("", "# ", "- "),
    "parse .ics": ("", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;"),
    "pages.ui.citations.safe_markdown": ("", "- "),
}
ENDINGS = ("", "a")  # a pattern that goes back from the end only does so where the repeats end in something else
FORMATS = [
    *(".md", ".html", ".txt", ".csv", ".json", ".rst", ".srt", ".ipynb", ".py", ".eml", ".ics", ".xml", ".rtf", ".tex"),
    *(".jsonl", ".org", ".adoc", ".vtt", ".mht", ".yaml", ".js"),
]


def _think(text: str) -> None:
    stream = thoughts.Thoughts()
    for start in range(0, len(text), 7):
        list(stream.split(text[start : start + 7]))


def _format_number(code: str) -> None:
    number_formats._sections.cache_clear()
    number_formats.format_number.__wrapped__(40_000.5, code)


SOURCES = {1: "Tea is a plant."}
MODULES = (
    *(chunking, citations, columns, exports, extracts, languages, names, normalizing, prompt_templates, prompts),
    *(titles, verbatim, lexical, folding, numbers, quarters, scripts, words, support, by_model, claims, figures),
    *(sentences, followups, chinese, english, standing, talk, thoughts, overview_questions, results, builder, decoding),
    *(html_tree, shown_citations, shown_passages),
)
FUNCTIONS: dict[str, Read] = {
    "kb.names.fold": names.fold,
    "kb.names.clean_name": names.clean_name,
    "kb.names.clean_label": names.clean_label,
    "kb.names.clean_file_name": names.clean_file_name,
    "kb.names.clean_text": names.clean_text,
    "kb.parsing.builder.clean": builder.clean,
    "kb.parsing.builder.clean_title": builder.clean_title,
    "kb.parsing.decoding.decode": lambda text: decoding.decode(text.encode("utf-8", "surrogatepass")),
    "kb.parsing.pdf._clean_page": pdf._clean_page,
    "kb.parsing.office.number_formats.format_number": _format_number,
    "kb.columns.columns": columns.columns,
    "kb.languages.is_chinese": languages.is_chinese,
    "kb.languages.language_of": languages.language_of,
    "kb.lexical.folding.fold": folding.fold,
    "kb.lexical.folding.to_traditional": lambda text: folding.to_traditional(text.encode("utf-8", "ignore").decode()),
    "kb.lexical.terms": lexical.terms,
    "kb.lexical.question_forms": lexical.question_forms,
    "kb.lexical.weighted_terms": lexical.weighted_terms,
    "kb.lexical.numbers.to_arabic": numbers.to_arabic,
    "kb.lexical.numbers.find_numbers": numbers.find_numbers,
    "kb.lexical.quarters.split_quarters": lambda text: list(quarters.split_quarters(text)),
    "kb.lexical.scripts.script_share": lambda text: scripts.script_share(text, "han"),
    "kb.lexical.scripts.foreign_share": lambda text: scripts.foreign_share(text, frozenset({"han"})),
    "kb.lexical.scripts.chinese_script": scripts.chinese_script,
    "kb.lexical.words.parts": words.parts,
    "kb.lexical.words.word_forms": lambda text: list(words.word_forms(text)),
    "kb.chunking.chunk_document": lambda text: chunking.chunk_document(ParsedDocument(text)),
    "kb.citations.citations_in": lambda text: list(citations.citations_in(text, {1, 2, 3})),
    "kb.citations.find_citations": lambda text: list(citations.find_citations(text, {1, 2, 3})),
    "kb.extracts.split_sentences": lambda text: extracts.split_sentences(text, ("tea", "a")),
    "kb.extracts.escape_markdown": extracts.escape_markdown,
    "kb.exports.escape": exports.escape,
    "kb.support.unsupported": lambda text: support.unsupported(text, SOURCES),
    "kb.support.unsupported by a passage": lambda text: support.unsupported("Tea is a plant [1].", {1: text}),
    "kb.support.by_model.read_verdicts": lambda text: by_model.read_verdicts(text, 60),
    "kb.support.figures.read_figures": lambda text: list(figures.read_figures(text)),
    "kb.support.sentences.sentences_of": lambda text: list(sentences.sentences_of(text, {1, 2, 3})),
    "kb.verbatim.split_verbatim": lambda text: list(verbatim.split_verbatim(text)),
    "kb.prompts.as_data": lambda text: prompts.as_data(text, 3),
    "kb.prompts.cut_middle": lambda text: prompts.cut_middle(text, len(text) // 8),
    "kb.prompts.language_in": lambda text: prompts.language_in(text, []),
    "kb.prompt_templates.clean_template": prompt_templates.clean_template,
    "kb.prompt_templates.fill_template": lambda text: prompt_templates.fill_template(text, "passages", "English"),
    "kb.titles.clean_title": titles.clean_title,
    "kb.followups.chinese.goes_on": chinese.goes_on,
    "kb.followups.english.goes_on": english.goes_on,
    "kb.followups.standing.judge": lambda text: standing.judge(text, True),
    "kb.followups.talk.without_talk": talk.without_talk,
    "kb.followups.talk.is_about_the_answer": talk.is_about_the_answer,
    "kb.followups.read_rewrite": lambda text: followups.read_rewrite(text, "q"),
    "kb.followups.join_questions": lambda text: followups.join_questions(text, []),
    "kb.retrieval.overview_questions.read_question": overview_questions.read_question,
    "kb.retrieval.overview_questions.asks_for_whole": overview_questions.asks_for_whole,
    "kb.web_search.results.plain_text": lambda text: results.plain_text(text, 500),
    "kb.web_search.results.clean_query": results.clean_query,
    "kb.web_search.results.page_key": lambda text: results.page_key(f"http://example.org/{text}"),
    "kb.completions.thoughts": _think,
    "pages.ui.citations.safe_markdown": shown_citations.safe_markdown,
    "pages.ui.passages.marked": lambda text: shown_passages.marked(text, ("tea", "a", "1")),
}
EXEMPT = {  # those that are not in `FUNCTIONS`, and why
    "kb.parsing.web.html_tree.tree_of": "a part of what reading `.html` does",
    "kb.lexical.folding.simplify": "a part of what `fold` does",
    "kb.lexical.folding.to_taiwanese": "takes fixed texts of ours",
    "kb.lexical.analyze": "what `terms` joins",
    "kb.lexical.question_terms": "a set of what `question_forms` gives",
    "kb.lexical.numbers.number_terms": "a part of what `terms` does",
    "kb.lexical.quarters.quarter_terms": "a part of what `terms` does",
    "kb.lexical.words.word_terms": "a part of what `terms` does",
    "kb.citations.count_dangling": "counts what `citations_in` finds",
    "kb.citations.cited": "looks up what `citations_in` finds",
    "kb.citations.without_dangling": "rewrites what `citations_in` finds",
    "kb.citations.rewrite": "cuts at what `citations_in` finds",
    "kb.support.claims.missing_figures": "a part of what `unsupported` does",
    "kb.support.claims.missing_names": "a part of what `unsupported` does",
    "kb.prompts.chat_messages": "puts a text into a message, after `language_in`",
    "kb.prompts.knowledge_messages": "puts a text into a message, after `language_in`",
    "kb.prompts.web_messages": "puts a text into a message, after `language_in`",
    "kb.prompts.fenced": "puts two lines around a text",
    "kb.prompts.place_in": "the name of a place, which is short",
    "kb.prompts.to_go_on": "puts a text into a message",
    "kb.titles.title_messages": "puts two texts into messages, cut by `cut_middle`",
    "kb.followups.rewrite_messages": "puts a text into a message",
    "kb.followups.in_context": "asks `judge`, `join_questions` and `read_rewrite`",
    "pages.ui.passages.place": "the name of a place, which is short",
    "pages.ui.passages.matching_spans": "a part of what `marked` does",
    "pages.ui.passages.draw_chunk": "draws one chunk; takes the name of a document",
    "pages.ui.passages.titles_above": "takes the name of a document",
}


def too_slow(name: str, read: Read) -> Iterator[str]:
    """The repeats that take time by the square."""
    for beginning in BEGINNINGS.get(name, ("",)):
        for unit, ending in product(UNITS, ENDINGS):
            text = beginning + _repeat(unit, LENGTH) + ending
            yield from _said_if_too_slow(read, text, text[: LENGTH // 4] + ending, beginning + unit)


def _repeat(unit: str, length: int) -> str:
    return (unit * (length // len(unit) + 1))[:length]


def _said_if_too_slow(read: Read, text: str, quarter: str, unit: str) -> Iterator[str]:
    seconds = _measure(read, text)
    # A busy machine can make one measurement long: only what is slow again is.
    if seconds >= MEASURABLE and all(_measure(read, text) > QUADRATIC * _measure(read, quarter) for _ in range(2)):
        yield f"{unit!r} … {text[-1]!r}: {len(text):,} characters take {seconds:.2f} s"


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
    read = _parser(extension, tmp_path)
    assert list(too_slow(f"parse {extension}", read)) == []


@pytest.mark.parametrize("extension", [".md", ".txt", ".html"])
def test_time_of_large_files_grows_with_the_length(extension: str, tmp_path: Path) -> None:
    """A megabyte and more, of what files are full of."""
    read = _parser(extension, tmp_path)
    for unit, length in LARGE:
        text, quarter = _repeat(unit, length), _repeat(unit, length // 4)
        # In this order, and once if all is well, because each takes seconds.
        quick = _measure(read, quarter)
        if _measure(read, text) > max(MEASURABLE, QUADRATIC * quick):
            assert list(_said_if_too_slow(read, text, quarter, unit)) == []


def _parser(extension: str, folder: Path) -> Read:
    path = folder / f"file{extension}"

    def read(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        for _ in parse_source(Source(path, path.name, BY_EXTENSION[extension])):
            pass

    _measure(read, "warm up")
    return read


def test_time_of_a_cell_with_a_long_number(tmp_path: Path) -> None:
    """Each digit doubled it: of code, tables hold the numbers of its lines."""
    _parser(".html", tmp_path)(f"<table><tr><td>1<td><pre>{'1' * 100}a</pre><tr><td>2<td>b</table>")


def test_each_function_over_a_text_is_measured_or_exempt() -> None:
    listed = {name.partition(" ")[0] for name in FUNCTIONS} | EXEMPT.keys()
    over_texts = {name for module in MODULES for name in _functions_over_texts(module)}
    assert over_texts - listed == set()
    assert EXEMPT.keys() - over_texts == set()


def _functions_over_texts(module: ModuleType) -> Iterator[str]:
    """The public functions of a module whose first parameter is a text."""
    for name, member in inspect.getmembers(module, callable):
        function = inspect.unwrap(member)  # of a cache
        if not inspect.isfunction(function):
            continue
        first = next(iter(inspect.signature(function).parameters.values()), None)
        if function.__module__ == module.__name__ and not name.startswith("_") and first and first.annotation == "str":
            yield f"{module.__name__}.{name}"


def test_time_of_stray_end_tags() -> None:
    def read(count: str) -> None:
        page = "<p>Tea</p>" + "<b>" * int(count) + "x" + "</i>" * int(count) + "</p>y"
        assert "".join(html_tree.tree_of(page).get_text().split()) == "Teaxy"

    _measure(read, "10")
    assert _measure(read, "40000") < QUADRATIC * _measure(read, "12000")


def test_time_of_short_rows_below_a_wide_header() -> None:
    def read(count: str) -> None:
        rows = [["b", "", "c"]] * int(count)
        assert sum(1 for _ in table_lines([[f"h{index}" for index in range(int(count))], *rows])) > int(count)

    _measure(read, "10")
    assert list(_said_if_too_slow(read, "8000", "2000", "rows")) == []
