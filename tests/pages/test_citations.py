"""What becomes of an answer's text before it is shown."""

from __future__ import annotations

from uuid import uuid4

import pytest

from kb.models import Chunk, Passage, Retrieval, RetrievalProfile, Trace
from pages.ui.citations import safe_markdown

CHUNK = Chunk("1", uuid4(), uuid4(), 0, 0, 4, 1, "", "Text")
PASSAGES = tuple(Passage(CHUNK, "a.md", rank, 1.0, 1.0, 1.0) for rank in (1, 2, 3))
RETRIEVAL = Retrieval("?", PASSAGES, Trace((), RetrievalProfile(), 0.0))


# --- citations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("so [1, 2].", "so\u00a0:blue-badge[1]:blue-badge[2]."),
        ("so [1-3].", "so\u00a0:blue-badge[1]:blue-badge[2]:blue-badge[3]."),
        ("so [1,2,4].", "so\u00a0:blue-badge[1]:blue-badge[2]."),
        ("so [7].", "so."),
        ("如此【7】。", "如此。"),
        ("so **[7]**, so ([8])", "so, so"),
        ("so [7][1]", "so:blue-badge[1]"),
        ("[7] and [0], x[7], [2024]", "[7] and [0], x[7], [2024]"),
        ("so [1, p. 4].", "so\u00a0:blue-badge[1] (p. 4)."),
        ("如此【1】(见附录)", "如此\u202f:blue-badge[1](见附录)"),
        ("so [1] [2]", "so\u00a0:blue-badge[1]\u00a0:blue-badge[2]"),
        ("run `a b` [1]", "run `a b`\u202f:blue-badge[1]"),
        ("at most $n$[1], `b`\n[2]", "at most $n$\u202f:blue-badge[1], `b`\n:blue-badge[2]"),
        ("| `a` [1] | $$x$$ [2] |", "| `a`\u202f:blue-badge[1] | $\\displaystyle x$\u202f:blue-badge[2] |"),
        ("```\na\n```\n[1]", "```\na\n```\n:blue-badge[1]"),
        ("[1] 参考资料", ":blue-badge[1] 参考资料"),
        ("- [1]\n1. [2]\n> [3]", "- :blue-badge[1]\n1. :blue-badge[2]\n> :blue-badge[3]"),
        (
            "| a | [1] |\n|---|---|\n| b [2] | [3] |",
            "| a | :blue-badge[1] |\n|---|---|\n| b\u00a0:blue-badge[2] | :blue-badge[3] |",
        ),
        ("at 9:30[1], see: [1][2]", "at 9\\:30\u202f:blue-badge[1], see:\u00a0:blue-badge[1]:blue-badge[2]"),
    ],
)
def test_every_form_is_shown_as_badges(content: str, shown: str) -> None:
    assert safe_markdown(content, RETRIEVAL) == shown


def test_without_passages_nothing_is_marked() -> None:
    assert safe_markdown("so [1] and 【2】") == "so [1] and 【2】"


# --- formulas and money ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (r"energy \(E = mc^2\) here", "energy $E = mc^2$ here"),
        (r"能量\(E = mc^2\)，", "能量$E = mc^2$，"),
        ("so\n\n\\[ \\frac{1}{3} \\]\n\nend", "so\n\n$$\n\\frac{1}{3}\n$$\n\nend"),
        ("- so\n  \\[\n  a = b\n  \\]", "- so\n  $$\n  a = b\n  $$"),
        (r"so \[a = b\] inline", r"so $\displaystyle a = b$ inline"),
        ("$$E = mc^2$$", "$$\nE = mc^2\n$$"),
        (r"price \(\$5 + x\)", r"price $$\$5 + x$$"),
        ("energy $E=mc^2$, the $n$th $x$", "energy $E=mc^2$, the $n$th $x$"),
        ("$速度=路程/时间$", "$速度=路程/时间$"),
        ("the map $f:[0,1]$ and $a~b:[1]~c$", "the map $f:[0,1]$ and $a~b:[1]~c$"),
        (r"a \\(not math\\) b", r"a \\(not math\\) b"),
    ],
)
def test_formulas_are_drawn(content: str, shown: str) -> None:
    assert safe_markdown(content, RETRIEVAL) == shown


@pytest.mark.parametrize(
    "content",
    [
        "cost $5 and $10.",
        "价格 $5 和 $10，共$15",
        "**$5** vs **$10**",
        "| $5 | $10 |",
        "|$5|$10|",
        "US$5/US$10",
        "5$和10$",
        "from $5 for tea to 10$ for coffee",
        "$PATH and $HOME, $HOME/$USER",
        "$5,000 (or $6,000)",
    ],
)
def test_money_keeps_dollar_signs(content: str) -> None:
    assert safe_markdown(content, RETRIEVAL) == content.replace("$", r"\$")


@pytest.mark.parametrize("half", [r"so \(E = mc", "so\n\n\\[\n\\frac{1}{3", "so `x[1", "so [1, ", "| a<b"])
def test_unfinished_markup_is_left_alone(half: str) -> None:
    assert safe_markdown(half, RETRIEVAL) == half


def test_unfinished_formula_is_text() -> None:
    assert safe_markdown("so $E = mc", RETRIEVAL) == r"so \$E = mc"
    assert safe_markdown("so\n\n$$\nE = mc", RETRIEVAL) == "so\n\n\\$\\$\nE = mc"


def test_quotes_hold_no_formulas() -> None:
    content = r"5 \(g\), \[see below\] and `x`"
    assert safe_markdown(content, RETRIEVAL, has_formulas=False) == content


# --- line breaks, code, images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("br", ["<br>", "<br/>", "<br />", "<BR>", "</br>"])
def test_br_is_a_line_break(br: str) -> None:
    assert safe_markdown(f"| Open{br}close | x {br} y |") == "| Open&#10;close | x&#10;y |"
    assert safe_markdown(f"Open{br}close") == "Open\\\nclose"
    assert safe_markdown(f"`Open{br}close`") == f"`Open{br}close`"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("价格5~10元，数量20~30件", r"价格5\~10元，数量20\~30件"),
        ("~~old~~ new, escaped \\~ already", "~~old~~ new, escaped \\~ already"),
        ("http://a.example/~name, http://a.example:8080/x", "http://a.example/~name, http://a.example:8080/x"),
        ("`a ~ b:[1] ~ c`\n\n```\n5~10 x:[1] 5~10\n```", "`a ~ b:[1] ~ c`\n\n```\n5~10 x:[1] 5~10\n```"),
        ("as follows:[1]", "as follows\\:\u202f:blue-badge[1]"),
        ("1:2[100] and :red[not red]", r"1\:2[100] and \:red[not red]"),
    ],
)
def test_accidental_markup_stays_text(content: str, shown: str) -> None:
    assert safe_markdown(content, RETRIEVAL) == shown


@pytest.mark.parametrize(
    "code",
    [
        "```rust\nlet a = vec![1, 2];\nlet b = a[0][1];\n```\n",
        "```sh\necho $5 $10 \\(x\\) \\[y\\]<br>\n```\n",
        "   ```\n![1](https://x.invalid/a.png)\n   ```\n",
        "`![1](https://x.invalid/a.png)`",
        "`\\(x\\)` and `$x$ [1]`",
        "- ```python\n  b = a[1]\n  ```\n",
        "10. First:\n\n      ```\n      b = a[1]\n      ```\n",
        "```\nnot closed [1] $5",
    ],
)
def test_code_is_shown_as_it_is(code: str) -> None:
    content = f"Look\n\n[docs]\n\n{code}"
    assert safe_markdown(content, RETRIEVAL) == content


@pytest.mark.parametrize(
    "text",
    [
        "\\`![a](https://x.invalid/a.png)`",
        "$![a](https://x.invalid/a.png)$",
        "\\[![a](https://x.invalid/a.png)\\]",
        "\\(![a](https://x.invalid/a.png)\\)",
        "!![a][b]",
        "```x``` ![a](https://x.invalid/a.png)",
        "| a | b | c |\n|---|---|---|\n| ` | ![a](https://x.invalid/a.png) | ` |",
        "<https://a.invalid/`c> ![a](https://x.invalid/a.png) `d",
        "- ```\n  x\n\n![a](https://x.invalid/a.png)",
    ],
)
def test_no_image_is_loaded(text: str) -> None:
    assert "![" not in safe_markdown(f"{text}\n\n[b]: https://x.invalid/a.png")


REPEATED = [
    "!",
    "![",
    "【1†",
    "[1, ",
    "[1-",
    "[1 and ",
    "[source ",
    "(资料1, ",
    "a[1]",
    "[[",
    "[^",
    ":",
    "<br",
    "|<br>",
]
REPEATED_OPENINGS = ["`", "`a ``b ", "$", "$$ ", "$a", "~~~", "\\[", "\\(", "\n    x"]


@pytest.mark.parametrize("piece", [*REPEATED, *REPEATED_OPENINGS])
def test_long_repetitions_take_linear_time(piece: str) -> None:
    """An answer is drawn many times a second: a pattern that takes the square of its length would not end."""
    assert len(safe_markdown(piece * 20_000, RETRIEVAL)) >= 20_000


def test_citations_after_a_fence_in_a_list() -> None:
    content = "1. Do:\n\n   ```\n   x\n    ```\n\nSee [1]."
    assert safe_markdown(content, RETRIEVAL).endswith("See\u00a0:blue-badge[1].")
