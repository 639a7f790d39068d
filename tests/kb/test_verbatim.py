"""Code and formulas in an answer's Markdown. How they bear on citations: test_citations.py."""

from __future__ import annotations

import random

from markdown_it import MarkdownIt

from kb.verbatim import Kind, split_verbatim

LINES = [
    "text",
    "",
    "- a",
    "1. a",
    "  - b",
    "   ```",
    "```",
    "  ```py",
    "   x = [1]",
    "x [1]",
    "- ```",
    "  text",
    "~~~",
    "1. - a",
]


def test_fenced_code_is_what_markdown_takes_for_it() -> None:
    chance = random.Random(1)
    for _ in range(500):
        lines = chance.choices(LINES, k=chance.randint(3, 9))
        content = "\n".join(lines)
        ours: list[int] = []
        for found, text in split_verbatim(content):
            if found and found.kind is Kind.FENCED:
                first = content[: found.start].count("\n")
                ours += range(first, first + len(text.removesuffix("\n").split("\n")))
        blocks = MarkdownIt().parse(content)
        theirs = [line for block in blocks if block.type == "fence" and block.map for line in range(*block.map)]
        assert [line for line in ours if lines[line]] == [line for line in theirs if lines[line]], content


def test_pieces_are_the_whole_text() -> None:
    content = "a `b` $x^2$ \\(y\\)\n- ```\n  c\nd $$z$$ \\[w = 1\\]\n```\ne"
    assert "".join(text for _found, text in split_verbatim(content)) == content
    kinds = [found.kind for found, _text in split_verbatim(content) if found]
    fenced = Kind.FENCED
    assert kinds == [Kind.TICKS, Kind.INLINE, Kind.ROUND, fenced, Kind.DISPLAY, Kind.SQUARE, fenced]
