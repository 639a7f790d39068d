"""Titles by a language model: the request, and what is taken from the reply."""

from __future__ import annotations

import pytest

from kb.titles import SHOWN_CHARACTERS, clean_title, title_messages


@pytest.mark.parametrize(
    ("reply", "title"),
    [
        ("Brewing green tea", "Brewing green tea"),
        ("\n  **Title: Brewing green tea.**\n\nIt fits.", "Brewing green tea"),
        ("“绿茶的泡法”", "绿茶的泡法"),
        ("标题：《绿茶的泡法》。", "绿茶的泡法"),
        ("```\nTea\n```", "Tea"),
        ("# The basics of C#", "The basics of C#"),
        ("Title:\nBrewing green tea", "Brewing green tea"),
        ("Here is a title for the conversation:\n\n**Brewing green tea**", "Brewing green tea"),
        ("Sure! Here's a short title: “Brewing green tea”", "Brewing green tea"),
        ("好的，以下是标题：绿茶的泡法", "绿茶的泡法"),
        ("Choosing a title: three rules", "Choosing a title: three rules"),
        ('{"title": "Brewing green tea"}', "Brewing green tea"),
        ('```json\n{\n  "title": "绿茶的泡法"\n}\n```', "绿茶的泡法"),
        ('{"title": "Tea", "language": "en"}', ""),
        ("{}", ""),
        ("", ""),
        (" \n**\n", ""),
        ("I would say that " + "very " * 20, ""),
    ],
)
def test_title_is_taken_from_the_reply(reply: str, title: str) -> None:
    assert clean_title(reply) == title


def test_request_is_short_and_in_the_language_of_the_question() -> None:
    (_, english), (_, asked) = title_messages("What is tea?", "x" * 100_000)
    assert "title" in english
    assert len(asked) < SHOWN_CHARACTERS + 100
    (_, chinese), (_, asked) = title_messages("绿茶怎么泡？", "八十度的水。")
    assert "标题" in chinese
    assert "绿茶怎么泡？" in asked
