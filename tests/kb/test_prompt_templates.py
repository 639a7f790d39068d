"""Prompts of knowledge bases: what a template may hold, what becomes of it, and which one a question gets."""

from __future__ import annotations

from uuid import UUID

import pytest

from kb.errors import InvalidPrompt, NotFound
from kb.languages import Language
from kb.models import Chunk, Passage, Retrieval, Scope
from kb.prompt_templates import clean_template, fill_template, joint_template
from kb.prompts import default_template, knowledge_messages
from tests.conftest import Core, Library

TEA = Passage(Chunk("1", UUID(int=1), UUID(int=2), text="Tea is a drink."), "tea.md", rank=1, context="Tea is a drink.")
OWN = "Be a lawyer. {language}\n\n{passages}"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("Be brief.", "the passages is missing"),
        ("{passages} {other}", "other"),
        ("{passages}" + "x" * 20_000, "longer"),
    ],
)
def test_template_that_cannot_work_is_refused(template: str, words: str) -> None:
    with pytest.raises(InvalidPrompt, match=words):
        clean_template(template)


def test_braces_of_json_are_no_placeholders() -> None:
    template = 'Reply as {"answer": 1}. {passages}'
    assert clean_template(f" {template} ") == template
    assert fill_template(template, "[1] {language}", "In English.") == 'Reply as {"answer": 1}. [1] {language}'


@pytest.mark.parametrize(("templates", "joint"), [([], ""), ([OWN], OWN), ([OWN, OWN], OWN), ([OWN, ""], "")])
def test_several_knowledge_bases_need_the_same_template(templates: list[str], joint: str) -> None:
    assert joint_template(templates) == joint


def test_template_replaces_the_default_prompt() -> None:
    retrieval = Retrieval(passages=(TEA,), prompt=OWN)
    (_, system), (_, question) = knowledge_messages("What is tea?", [], retrieval)
    assert system.startswith("Be a lawyer. Answer in the language of the question")
    assert "[1] (tea.md)\nTea is a drink." in system
    assert question == "What is tea?"


@pytest.mark.parametrize(
    ("question", "language", "words"),
    [
        ("What is tea?", Language.ENGLISH, "Rules:"),
        ("茶是什么？", Language.SIMPLIFIED, "每个论断"),
        ("茶葉是什麼？", Language.TRADITIONAL, "每個論斷"),
    ],
)
def test_default_template_gives_the_default_prompt(question: str, language: Language, words: str) -> None:
    default = default_template(language)
    assert words in default
    assert clean_template(default) == default
    plain = knowledge_messages(question, [], Retrieval(passages=(TEA,)))
    assert knowledge_messages(question, [], Retrieval(passages=(TEA,), prompt=default)) == plain


def test_template_belongs_to_its_knowledge_base(library: Library) -> None:
    base = library.knowledge_base()
    library.knowledge_bases.set_prompt(library.user, base.id, OWN)
    assert library.knowledge_bases.get(library.user, base.id).prompt == OWN
    with pytest.raises(NotFound):
        library.knowledge_bases.set_prompt(library.stranger, base.id, OWN)
    with pytest.raises(InvalidPrompt):
        library.knowledge_bases.set_prompt(library.user, base.id, "no place")
    library.knowledge_bases.set_prompt(library.user, base.id, " ")
    assert library.knowledge_bases.get(library.user, base.id).prompt == ""


def test_retrieval_brings_the_template_along(core: Core) -> None:
    one, other = core.knowledge_base("One"), core.knowledge_base("Other")
    core.services.knowledge_bases.set_prompt(core.user, one.id, OWN)
    retrieve = core.services.retriever.retrieve
    assert retrieve(core.user, Scope((one.id,)), "What is tea?").prompt == OWN
    assert retrieve(core.user, Scope((one.id, other.id)), "What is tea?").prompt == ""
