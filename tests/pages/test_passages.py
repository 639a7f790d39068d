"""A passage's text with its matching sentences marked."""

from __future__ import annotations

import uuid

import pytest
from streamlit.testing.v1 import AppTest

from kb.messages import SourcesPart
from kb.models import Chunk, Passage, Retrieval, RetrievalProfile, Step, Trace
from pages.ui.passages import citation_label, marked

ROWS = "\n".join(f"SP-{number} | Gasket {number} | {number * 3}" for number in range(1040, 1050))


def test_matching_sentences_are_marked() -> None:
    assert marked("A <pear>. Rivers flow.", ["pear"]) == "<mark>A &lt;pear&gt;.</mark> Rivers flow."


def test_matching_row_is_marked_whole() -> None:
    html = marked(ROWS, ["sp", "1045"])
    assert "<mark>SP-1045 | Gasket 1045 | 3135</mark>\n" in html
    assert html.count("<mark>") == 1


def test_headings_are_not_marked() -> None:
    assert marked("# Pears\nPears are green.", ["pear"]) == "# Pears\n<mark>Pears are green.</mark>"


def test_match_deep_in_a_text_is_in_view() -> None:
    html = marked("Rivers flow. " * 100 + "A pear is green.", ["pear"])
    above, _, shown = html.partition("</details>")
    assert above.startswith("<details>")
    assert shown == "Rivers flow. <mark>A pear is green.</mark>"


def test_match_deep_in_a_chinese_text_is_in_view() -> None:
    """A Chinese sentence takes about twice the room that its characters would take in English."""
    above, _, shown = marked("河水向东流去。" * 40 + "梨子是绿色的。", ["梨子"]).partition("</details>")
    assert above.startswith("<details>")
    assert shown == "河水向东流去。<mark>梨子是绿色的。</mark>"


def test_rows_of_a_page_are_drawn_as_a_table() -> None:
    html = marked("Staff\n\nName\tCity\nAnna\tBerlin\n\tParis\tFrance\n\nThe end", ["anna"])
    assert html == (
        "Staff\n\n<table>"
        "<tr><td>Name</td><td>City</td><td></td></tr>"
        "<tr><td><mark>Anna</mark></td><td><mark>Berlin</mark></td><td></td></tr>"
        "<tr><td></td><td>Paris</td><td>France</td></tr>"
        "</table>\nThe end"
    )


def test_tabs_that_indent_code_or_items_stay() -> None:
    for text in ("if a:\n\tb()\n\tc()", "1.\tOpen it.\n2.\tClose it.", "Contents\t3\nThe end"):
        assert marked(text, []) == text


def test_endless_rows_are_drawn_in_time() -> None:
    text = "a\t" * 30_000 + "\n" + "b" * 30_000
    assert marked(text, []) == text
    assert len(marked("a\t" * 20_000 + "a\n" + "a\tb\n" * 5_000, [])) < 3_000_000


def test_without_a_match_nothing_is_folded() -> None:
    text = "Rivers flow. " * 100
    assert marked(text, ["pear"]) == text


def test_citation_names_its_sheet() -> None:
    chunk = Chunk("1", uuid.uuid4(), uuid.uuid4(), page=2, heading="Costs > 2026")
    sources = SourcesPart.of(Retrieval(passages=(Passage(chunk, "budget.xlsx", 1), Passage(chunk, "budget.pdf", 2))))
    assert list(map(citation_label, sources.passages)) == [
        "1 · budget.xlsx · sheet “Costs”",
        "2 · budget.pdf · p. 2",
    ]


def nothing_found(retrieval: object) -> None:
    from pages.ui.passages import draw_nothing_found

    draw_nothing_found(retrieval)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("searched", "said"),
    [
        (1, "Nothing relevant to this question was found in the knowledge base."),
        (2, "Nothing relevant to this question was found."),
    ],
)
def test_only_one_knowledge_base_is_called_the_knowledge_base(searched: int, said: str) -> None:
    profiles = {uuid.uuid4(): RetrievalProfile() for _ in range(searched)}
    retrieval = Retrieval("?", trace=Trace((Step("documents", remaining=2),), profiles=profiles))
    (info,) = AppTest.from_function(nothing_found, args=(retrieval,)).run().info
    assert info.value == said
