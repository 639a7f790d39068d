"""A knowledge base's own prompt: a text with places for the passages and for the language of the answer."""

from __future__ import annotations

import re
from collections.abc import Collection

from kb.errors import N_, InvalidPrompt
from kb.names import clean_text

PASSAGES, LANGUAGE = "{passages}", "{language}"
MOST_CHARACTERS = 20_000
# Not the braces of JSON or of code.
_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")


def clean_template(text: str) -> str:
    """The template as it is stored. Errors: `InvalidPrompt`."""
    template = clean_text(text).strip()
    if len(template) > MOST_CHARACTERS:
        raise InvalidPrompt(detail=N_("it is longer than 20,000 characters"))
    for found in _PLACEHOLDER.findall(template):
        if found not in (PASSAGES, LANGUAGE):
            raise InvalidPrompt(detail=found.strip("{}"))
    if PASSAGES not in template:
        raise InvalidPrompt(
            detail=N_("the place for the passages is missing, so the model would not see what was found")
        )
    return template


def fill_template(template: str, passages: str, language: str) -> str:
    """The prompt. What looks like a placeholder in the passages stays as it is."""
    values = {PASSAGES: passages, LANGUAGE: language}
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), template)


def joint_template(templates: Collection[str]) -> str:
    """The template for a question to several knowledge bases: theirs if all have the same, else the default (empty).

    Two templates may contradict each other, and neither was written for the other one's documents.
    """
    distinct = set(templates)
    return distinct.pop() if len(distinct) == 1 else ""
