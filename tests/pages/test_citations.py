"""What becomes of an answer's text before it is shown."""

from __future__ import annotations

from uuid import uuid4

import pytest

from kb.models import Chunk, Passage, Retrieval, RetrievalProfile, Trace
from pages.ui.citations import cited, safe_markdown

CHUNK = Chunk("1", uuid4(), uuid4(), 0, 0, 4, 1, "", "Text")
PASSAGES = tuple(Passage(CHUNK, "a.md", rank, 1.0, 1.0, 1.0) for rank in (1, 2))
RETRIEVAL = Retrieval("?", PASSAGES, Trace((), RetrievalProfile(), 0.0))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("价格5~10元，数量20~30件", r"价格5\~10元，数量20\~30件"),
        ("~~old~~ new, escaped \\~ already", "~~old~~ new, escaped \\~ already"),
        ("http://a.example/~name, http://a.example:8080/x", "http://a.example/~name, http://a.example:8080/x"),
        ("`a ~ b:[1] ~ c`\n\n```\n5~10 x:[1] 5~10\n```", "`a ~ b:[1] ~ c`\n\n```\n5~10 x:[1] 5~10\n```"),
        ("the map $f:[0,1]$ and $$a~b:[1]~c$$", "the map $f:[0,1]$ and $$a~b:[1]~c$$"),
        ("from $5 to $10, as follows:[1]", r"from $5 to $10, as follows\::blue-badge[1]"),
        ("1:2[9] and :red[not red]", r"1\:2[9] and \:red[not red]"),
        ("at 9:30[1], see: [1][2]", r"at 9\:30:blue-badge[1], see: :blue-badge[1]:blue-badge[2]"),
    ],
)
def test_what_looks_like_markup_stays_text(content: str, shown: str) -> None:
    assert safe_markdown(content, RETRIEVAL) == shown


@pytest.mark.parametrize(
    ("content", "shown", "ranks"),
    [
        ("so [1, 2].", "so :blue-badge[1]:blue-badge[2].", [1, 2]),
        ("如此【2】。", "如此:blue-badge[2]。", [2]),
        ("如此［1、2］。", "如此:blue-badge[1]:blue-badge[2]。", [1, 2]),
        ("so【1†source】", "so:blue-badge[1]", [1]),
        ("the vectors [0, 1] and [5, 10], a[\n 1\n]", "the vectors [0, 1] and [5, 10], a[\n 1\n]", []),
        ("如此【1】(见附录)", "如此:blue-badge[1](见附录)", [1]),
        ("a [1](https://a.example) link, [1.5] and [2026]", "a [1](https://a.example) link, [1.5] and [2026]", []),
    ],
)
def test_citations_are_known_in_the_forms_that_models_write(content: str, shown: str, ranks: list[int]) -> None:
    assert safe_markdown(content, RETRIEVAL) == shown
    assert [passage.rank for passage in cited(content, RETRIEVAL)] == ranks


@pytest.mark.parametrize(
    "code",
    [
        "```rust\nlet a = vec![1, 2];\nlet b = a[0][1];\n```\n",
        "   ```\n![1](https://x.invalid/a.png)\n   ```\n",
        "`![1](https://x.invalid/a.png)`",
        "- ```python\n  b = a[1]\n  ```\n",
        "10. First:\n\n      ```\n      b = a[1]\n      ```\n",
    ],
)
def test_code_is_shown_as_it_is(code: str) -> None:
    content = f"Look\n\n{code}\n\n[docs]\n"
    assert safe_markdown(content) == content


@pytest.mark.parametrize(
    "text",
    [
        "\\`![a](https://x.invalid/a.png)`",
        "$![a](https://x.invalid/a.png)$",
        "!![a][b]",
        "```x``` ![a](https://x.invalid/a.png)",
        "| a | b | c |\n|---|---|---|\n| ` | ![a](https://x.invalid/a.png) | ` |",
        "<https://a.invalid/`c> ![a](https://x.invalid/a.png) `d",
        "- ```\n  x\n\n![a](https://x.invalid/a.png)",
    ],
)
def test_what_only_looks_like_code_loads_no_image(text: str) -> None:
    assert "![" not in safe_markdown(f"{text}\n\n[b]: https://x.invalid/a.png")


@pytest.mark.parametrize("piece", ["!", "![", "【1†", "[1, ", "`", "$", "~~~", ":"])
def test_a_model_that_goes_astray_holds_up_nobody(piece: str) -> None:
    """Its answer is drawn many times a second: a pattern that takes the square of its length would not end."""
    assert len(safe_markdown(piece * 100_000, RETRIEVAL)) >= 100_000


def test_after_a_fence_in_a_list_citations_are_marked() -> None:
    content = "1. Do:\n\n   ```\n   x\n    ```\n\nSee [1]."
    assert safe_markdown(content, RETRIEVAL).endswith("See :blue-badge[1].")
    assert [passage.rank for passage in cited(content, RETRIEVAL)] == [1]
