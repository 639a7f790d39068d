"""Web pages read as people see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb.parsing import parse_file
from tests.kb.parsing import parsing_samples as samples


def read(folder: Path, page: str, name: str = "a.html") -> list[str]:
    text = parse_file(samples.write(folder, "page", page), name).text
    return [line for line in text.split("\n") if line]


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ('<p>Press <img alt="OK"> or <img alt="x.gif"><img alt="Picture 1"><img alt="">wait</p>', ["Press OK or wait"]),
        (
            '<a><img alt="Home">Home</a><figure><img alt="Valve open"><figcaption>Fig. 1</figcaption></figure>',
            ["Home", "Valve open", "Fig. 1"],
        ),
        (
            "<p>To <select><option>Rome<option selected>Oslo</select> <textarea>Gate 4</textarea></p>",
            ["To Oslo Gate 4"],
        ),
        (
            '<p>Name <input value="Li"><input type=hidden value=x><input type=radio checked> Card</p>',
            ["Name Li ☑ Card"],
        ),
        ("<p>was <del>100</del> <ins>80</ins> EUR, <s>now <del>70</del></s></p>", ["was ~~100~~ 80 EUR, ~~now 70~~"]),
        ("<svg><title>icon</title><text>Pump</text><text>Valve</text></svg>", ["Pump Valve"]),
        ('<p>rose to 5<sup><a href="#n1">1</a></sup> and 10<sup>1</sup></p>', ["rose to 5 [1] and 10^1"]),
        ("<div><span>12 kg</span><span>Voltage</span><span>230 V</span></div>", ["12 kg Voltage 230 V"]),
        ("<p><span>一、</span><span>年假</span></p>", ["一、年假"]),
        ("<p><b>€</b><span>1,299</span><i>.00</i></p>", ["€1,299.00"]),
        ('<h2>Use <a class="headerlink" href="#u">¶</a></h2><div role="heading">Next</div>', ["Use", "Next"]),
        ("<p>a<![CDATA[ < b]]></p>", ["a < b"]),
        ("<ol><li><p>Open</p><p>it</p></li><li>Close</li></ol>", ["1. Open", "it", "2. Close"]),
        ("<p>a</p><!-- open <p>b</p>", ["a", "open", "b"]),
        ('<!DOCTYPE html [<!ENTITY a "b">]><p>a</p>', ["a"]),
    ],
)
def test_elements_show_what_people_see(page: str, lines: list[str], tmp_path: Path) -> None:
    assert read(tmp_path, page) == lines


XHTML = "http://www.w3.org/1999/xhtml"


@pytest.mark.parametrize(
    "page",
    [
        "<title>T</title><article><p>a</p><p>b</p></article>",
        "<html><head><meta charset=utf-8><title>T</title></head><!-- x --><main><p>a</p><p>b</p></main></html>",
        "<!DOCTYPE html><html lang='en'><head><title>T</title><section>a</section></head><body><p>b</p></body></html>",
        "<title>T</title><script>if (1 > 0) {}</script><style>a > b {}</style><my-app><p>a</p><p>b</p></my-app>",
        "<head><noscript><link rel=x></noscript><title>T</title></head>a<p>b</p>",
        "<link title='<body>' href=x><title>T</title><figure><img alt=a><figcaption>b</figcaption></figure>",
        "<head><title>T</title></head><body></body><article><p>a</p><p>b</p></article>",
        "<title>T<article><p>a</p><p>b</p></article>",
        "<title>T</title><frameset><frame src=x><noframes><body><p>a</p><p>b</p></body></noframes></frameset>",
        "<title>T</title><frameset><frame src=x><noframes><article>a<p>b</p></article></noframes></frameset>",
        f'<?xml version="1.0"?><html xmlns="{XHTML}"><head><title>T</title></head><section>a <p>b</p></section></html>',
        f'<html xmlns="{XHTML}"><title>T</title><script src="x"/><article><p>a</p><p>b</p></article></html>',
        f'<h:html xmlns:h="{XHTML}"><h:head><h:title>T</h:title></h:head><h:p>a</h:p><h:p>b</h:p></h:html>',
    ],
)
def test_text_is_read_wherever_the_body_begins(page: str, tmp_path: Path) -> None:
    document = parse_file(samples.write(tmp_path, "page", page), "a.html")
    assert (document.title, document.text.split()) == ("T", ["a", "b"])


@pytest.mark.parametrize("page", ["<li>a<li>b", "<tr><td>a</td></tr><tr><td>b</td></tr>", "<my-a>a</my-a> b", "a<p>b"])
def test_fragment_is_read(page: str, tmp_path: Path) -> None:
    assert " ".join(read(tmp_path, page)) == "a b"


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ('<body style="display:none"><p>All', ["All"]),
        ("<noscript><p>Prices: 12 EUR</p></noscript>", ["Prices: 12 EUR"]),
        ('<div class="cookie-policy"><h1>Cookies</h1><p>30 days</p></div><p>x</p>', ["Cookies", "30 days", "x"]),
        (
            '<main></main><header>Phone 12</header><p>Text</p><div class="cookie-bar">Accept?</div>',
            ["Phone 12", "Text"],
        ),
        ("<main><p>Text</p></main><dialog>Log in</dialog><aside>More</aside>", ["Text"]),
        (
            f"<aside><article>Teaser</article></aside><p>{'Text ' * 9}</p><footer>Tel. 12</footer>",
            ["Teaser", ("Text " * 9).strip(), "Tel. 12"],
        ),
        (f"<main><p>Text</p></main><aside>{'Facts. ' * 100}</aside>", ["Text", ("Facts. " * 100).strip()]),
        (
            '<button aria-expanded="false">Delivery</button><div class="panel" hidden>5 days</div><button>Buy</button>',
            ["Delivery", "5 days"],
        ),
        ('<a role="tab" href="#two">Two</a><div id="two" style="display: none">Second</div>', ["Two", "Second"]),
        ('<a role="button">More</a><div style="display:none">Template</div><p>Text</p>', ["More", "Text"]),
    ],
)
def test_no_text_is_lost_that_people_can_reach(page: str, lines: list[str], tmp_path: Path) -> None:
    assert read(tmp_path, page) == lines


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (
            "<tfoot><tr><td>Total<td>3</tfoot><thead><tr><th>Item<th>Qty</thead><tr><td>nut<td>3",
            ["Item: nut; Qty: 3", "Item: Total; Qty: 3"],
        ),
        ("<tr><th>G<th>V<tr><td rowspan=0>all<td>1<tr><td>2", ["G: all; V: 1", "G: all; V: 2"]),
        (
            "<tr><th>Year<th>Part<th>EUR<tr><th rowspan=3>2025<th rowspan=3>Q1<tr><td>3<tr><td>4",
            ["Year: 2025; Part: Q1", "Year: 2025; Part: Q1; EUR: 3", "Year: 2025; Part: Q1; EUR: 4"],
        ),
        ("<tr><td><p>Dear Ann,</p><p>Total: 45</p>", ["Dear Ann,", "Total: 45"]),
        ("<td>x</td><td>y</td>", ["x", "y"]),
        ("Stray<tr><form><td>a<td>b</form>", ["Stray", "a | b"]),
        ('<tr><th>Plan<th>Net<tr><td>Pro<td><img alt="yes">', ["Plan: Pro; Net: yes"]),
        ("<tr><th>Part<th>Is<tr><td>P1<td><table><tr><td>W<td>1 kg</table>", ["Part: P1; Is: W 1 kg"]),
    ],
)
def test_tables_keep_all_cells_in_order(table: str, lines: list[str], tmp_path: Path) -> None:
    assert read(tmp_path, f"<table>{table}</table>") == lines


def test_tables_made_of_other_elements(tmp_path: Path) -> None:
    head = '<div role="row"><b role="columnheader">City</b><b role="columnheader">People</b></div>'
    row = '<div role="row"><i role="cell">Oslo</i><i role="cell">700000</i></div>'
    assert read(tmp_path, f'<div role="table">{head}{row}</div>') == ["City: Oslo; People: 700000"]


@pytest.mark.parametrize(
    "page",
    [
        '<pre><span class="linenos">1</span>def f():\n<span class="linenos">2</span>    return 1</pre>',
        '<pre><code><table><tr><td class="gutter gl"><pre class="lineno">1\n2</pre></td>'
        '<td class="code"><pre>def f():\n    return 1</pre></td></tr></table></code></pre>',
        '<pre class="line-numbers">def f():\n    return 1<span class="line-numbers-rows">1 2</span></pre>',
    ],
)
def test_code_has_no_line_numbers(page: str, tmp_path: Path) -> None:
    assert read(tmp_path, page) == ["def f():", "    return 1"]


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (
            '<span class="MathJax_Preview">F</span><span class="MathJax"><nobr>F=ma</nobr><span class='
            '"MJX_Assistive_MathML"><math><mi>F</mi><mo>=</mo><mi>m</mi><mi>a</mi></math></span></span>'
            '<script type="math/tex">F=ma</script>',
            "F=ma",
        ),
        (
            '<span class="mjx-chtml"><b>x</b><i>2</i></span><script type="math/tex">x^2</script>',
            "x^2",
        ),
        (
            '<span class="katex"><span class="katex-html"><span>r</span><span class="msupsub"><span class="vlist-t">'
            '<span class="vlist"><span>2</span></span></span></span></span></span>',
            "r^2",
        ),
        (
            '<span class="katex"><span class="katex-html"><span class="mfrac"><span class="vlist"><span>4</span>'
            "<span></span><span>3</span></span></span></span></span>",
            "3/4",
        ),
    ],
)
def test_formulas_are_read_once(formula: str, text: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"<p>Here {formula} is.</p>") == [f"Here {text} is."]


def test_markdown_reads_tables_and_html_in_lists_and_quotes(tmp_path: Path) -> None:
    text = (
        '> | Q | W |\n> |---|---|\n> | 1 | 2 |\n\n- item\n\n  <p><img alt="Lock"></p>\n\nSee <img src=x alt="here">.\n'
    )
    assert read(tmp_path, text, "a.md") == ["Q: 1; W: 2", "- item", "Lock", "See here."]
    assert read(tmp_path, "a <b and c> d <b>bold</b>\n", "a.md") == ["a <b and c> d bold"]
    assert read(tmp_path, '<Card title="Limits">\nText\n</Card>\n', "a.mdx") == ["Limits Text"]
