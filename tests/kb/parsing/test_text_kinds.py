"""Files that are plain text by another name: source code, data, markup and subtitles."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb.chunking import chunk_document
from kb.models import ParsedDocument
from kb.parsing import parse_file
from kb.parsing.text.code import find_definitions
from tests.kb.parsing import parsing_samples as samples


def parse(folder: Path, name: str, content: str) -> ParsedDocument:
    return parse_file(samples.write(folder, "stored", content), name)


def titles(document: ParsedDocument) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


# --- source code ---

PYTHON = '''import os

class Refunds:
    """Pays."""

    # How long it takes.
    @property
    def days(self) -> int:
        return 14

async def pay(order):
    if order:
        return None
'''
JAVA = """/** Pays refunds. */
public class Refunds<T extends Base> {
    public Refunds(Store store) {
        if (store == null) { throw new X(); }
        store.each(x -> {
        });
    }

    @Override
    public Map<String, List<Integer>> due(Order order,
            int days) throws IOException
    {
        for (int i = 0; i < 3; i++) {
        }
    }
}
"""
C = """#define MAX(a, b) ((a) > (b) ? (a) : (b))
struct node {
  int a;
};
int declared(int a);
static int add(int a)
{
    while (a) { a--; }
}
std::string Foo::bar(const std::string &s) const {
}
"""
TYPESCRIPT = """export class Store extends Base {
  constructor(private readonly a: string) {
  }
  async load(id: string): Promise<void> {
    items.forEach((x) => {
    })
    if (id) {
    }
  }
}
export const load = async (a: number): Promise<void> => {
}
describe('suite', function () {
})
"""


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("python", PYTHON, [(1, "class Refunds"), (2, "def days(self) -> int"), (1, "async def pay(order)")]),
        (
            "java",
            JAVA,
            [
                (1, "public class Refunds<T extends Base>"),
                (2, "public Refunds(Store store)"),
                (2, "public Map<String, List<Integer>> due(Order order,"),
            ],
        ),
        (
            "c",
            C,
            [(1, "struct node"), (1, "static int add(int a)"), (1, "std::string Foo::bar(const std::string &s) const")],
        ),
        (
            "javascript",
            TYPESCRIPT,
            [
                (1, "export class Store extends Base"),
                (2, "constructor(private readonly a: string)"),
                (2, "async load(id: string): Promise<void>"),
                (1, "export const load = async (a: number): Promise<void> =>"),
            ],
        ),
        (
            "go",
            "func (s *Store) Pay() error {\n}\ntype A struct {\n}",
            [(1, "func (s *Store) Pay() error"), (1, "type A struct")],
        ),
        (
            "rust",
            "impl<T> Store<T> {\n    pub(crate) fn pay() {\n    }\n}",
            [(1, "impl<T> Store<T>"), (2, "pub(crate) fn pay()")],
        ),
        (
            "sql",
            "-- Orders\nCREATE TABLE orders (\n id int);\nINSERT INTO orders VALUES (1);",
            [(1, "CREATE TABLE orders")],
        ),
        ("shell", "pay() {\n  echo a\n}\nfunction stop {\n}\nif x; then y; fi", [(1, "pay()"), (1, "function stop")]),
        ("ini", "a = [1]\n[tool.ruff]\nb = 1\n[[rows]]\n", [(1, "tool.ruff"), (1, "rows")]),
        ("yaml", "a: 1\nservices:\n  web:\n    image: x\nvolumes: &v\n", [(1, "services"), (1, "volumes: &v")]),
    ],
)
def test_code_is_split_at_definitions(language: str, text: str, found: list[tuple[int, str]]) -> None:
    assert [(level, title) for _start, level, title in find_definitions(text, language)] == found


def test_a_chunk_of_code_begins_with_the_comment_above_its_function(tmp_path: Path) -> None:
    body = "\n".join(f"        total += step_{number}(order)" for number in range(30))
    text = "class Refunds:\n" + "".join(
        f"\n    # Remedy {name}.\n    @cached\n    def {name}(self):\n{body}\n" for name in ("first", "second", "third")
    )
    document = parse(tmp_path, "refunds.py", text)
    assert document.text == text.strip("\n")
    chunks = [(document.text[span.start : span.end], span.heading) for span in chunk_document(document)]
    begins = [(chunk.split("\n")[0], heading) for chunk, heading in chunks if "# Remedy" in chunk]
    assert begins[1:] == [
        ("# Remedy second.", "class Refunds > def second(self)"),
        ("# Remedy third.", "class Refunds > def third(self)"),
    ]


# --- JSON and XML ---


def test_json_records_read_as_rows(tmp_path: Path) -> None:
    text = (
        '[{"name": "Anna", "price": 1.10, "tags": ["a", "b"], "address": {"city": "\\u5317\\u4eac"}},'
        ' {"name": "Bob", "price": 12345678901234567890.50, "items": [{"sku": 1}, {"sku": null}]}]'
    )
    rows = [
        "name: Anna; price: 1.10; tags: a, b; address.city: 北京",
        "name: Bob; price: 12345678901234567890.50; items[1].sku: 1; items[2].sku: null",
    ]
    document = parse(tmp_path, "a.json", text)
    assert document.text == "\n".join(rows)
    assert (document.tables[0].start, document.tables[0].end) == (0, len(document.text))
    assert parse(tmp_path, "a.json", f'{{"total": 2, "data": {text}}}').text == "\n".join(["total: 2", *rows])


def test_json_lines_read_as_rows_and_a_broken_line_as_it_is(tmp_path: Path) -> None:
    text = '{"question": "Where?", "answer": "In\\nhere"}\n{broken\n\n[1, 2]\n'
    assert parse(tmp_path, "a.jsonl", text).text == "question: Where?; answer: In here\n{broken\n[1, 2]"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"a": "\\u4fdd\\ud83d\\ude00", "b": "\\\\u4fee \\u0022"}', '{"a": "保😀", "b": "\\\\u4fee \\u0022"}'),
        ('{"a": 1,} // a comment', '{"a": 1,} // a comment'),
        ("[" * 1_500, "[\n  [\n    [\n      [\n      ["),
        (
            '{"a":["' + "x" * 2_000 + '",1,2.50],"b":{"c":true}}',
            '",\n    1, 2.50\n  ],\n  "b": {\n    "c": true\n  }\n}',
        ),
    ],
)
def test_json_is_readable(tmp_path: Path, text: str, read: str) -> None:
    assert read in parse(tmp_path, "a.json", text if len(text) != 1_500 else text * 2).text


def test_xml_is_readable(tmp_path: Path) -> None:
    assert parse(tmp_path, "a.xml", "<a>&#20445;&#x4FEE;&#38;</a>").text == "<a>保修&#38;</a>"
    assert parse(tmp_path, "a.xml", f"<a><b>{'x ' * 2_000}</b><c/></a>").text.startswith("<a>\n<b>x x")


# --- markup and subtitles ---


RST = "=====\nTitle\n=====\n\nPart\n----\n\ntext\n\n=== ===\na   b\n=== ===\n\nNext\n----\n"
ORG = "#+TITLE: Manual\n* TODO One :tag:\n** Two\n#+BEGIN_SRC\n* no\n#+END_SRC\n*bold*\n"
TEX = "\\title{Manual}\n\\section{The \\emph{first} one}\n\\subsection*{Part}\n\\label{x}"


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.rst", RST, [(1, "Title"), (2, "Part"), (2, "Next")]),
        ("a.org", ORG, [(1, "One"), (2, "Two")]),
        ("a.tex", TEX, [(3, "The first one"), (4, "Part")]),
        ("a.adoc", "= Manual\n\n== Part ==\n----\n== no\n----\n=== Deep", [(1, "Manual"), (2, "Part"), (3, "Deep")]),
    ],
)
def test_headings_of_other_markup(tmp_path: Path, name: str, text: str, found: list[tuple[int, str]]) -> None:
    document = parse(tmp_path, name, text)
    assert titles(document) == found
    assert document.text == text.strip("\n")


def test_subtitles_are_sentences_with_their_times(tmp_path: Path) -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\n<i>Hello and</i>\nwelcome\n\n2\n00:00:03,000 --> 00:00:04,000\n"
        "{\\an8}to the show.\n\n3\n01:00:05,000 --> 01:00:06,000\n今天\n\n4\n01:00:07,000 --> 01:00:08,000\n下雨\n"
    )
    assert parse(tmp_path, "a.srt", text).text == "[00:00:01] Hello and welcome to the show.\n[01:00:05] 今天下雨"


def test_subtitles_that_roll_up_are_read_once(tmp_path: Path) -> None:
    text = (
        "WEBVTT\n\nNOTE a remark\n\nSTYLE\n::cue{}\n\n00:01.000 --> 00:02.000 align:start\n<v Anna>Good <c.x>day\n\n"
        "00:02.000 --> 00:03.000\n<v Anna>Good day\nto all\n\n00:04.000 --> 00:05.000\n<v Bob>Hi\n"
    )
    assert parse(tmp_path, "a.vtt", text).text == "[00:01] Anna: Good day to all\n[00:04] Bob: Hi"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.log", "N\bNA\bAM\bME\bE  50%\b\b\b60%", "NAME  60%"),
        ("a.txt", "a \u200cword\u200d \u0645\u06cc\u200c\u062e", "a word \u0645\u06cc\u200c\u062e"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nA &amp; B", "[00:01] A & B"),
        ("a.json", '[{"a": 1, "a": 2}, {"a": 3}]', "a: 1; a (2): 2\na: 3"),
    ],
)
def test_text_reads_as_it_is_shown(name: str, content: str, text: str, tmp_path: Path) -> None:
    assert parse_file(samples.write(tmp_path, "stored", content), name).text == text


def test_rows_of_a_large_table_are_labelled_while_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "id,name\n" + "".join(f"{number},nut {number}\n" for number in range(200))
    path = samples.write(tmp_path, "stored", rows)
    monkeypatch.setattr("kb.parsing.text.csv._MAX_LABELLED", 10_000)
    assert parse_file(path, "a.csv").text.endswith("\nid: 199; name: nut 199")
    monkeypatch.setattr("kb.parsing.text.csv._MAX_LABELLED", 3_000)
    assert parse_file(path, "a.csv").text.endswith("\n199 | nut 199")
