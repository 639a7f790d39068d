"""Translations are complete, keep the placeholders, and contain no unused texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.pofile import read_po

from kb.models import VersionState
from pages.ui.i18n import LANGUAGES, LOCALES
from tests.real_services import ROOT

SOURCES = sorted(path for folder in ("kb", "pages", "web") for path in (ROOT / folder).rglob("*.py"))
MARKERS = {"_": 1, "N_": 1, "ngettext": 2}  # function → how many of its first arguments are texts
PLACEHOLDER = re.compile(r"\{(\w*)\}")
TRANSLATED = [code for code in LANGUAGES if code != "en"]


@dataclass(frozen=True)
class Text:
    """A marked text: the message id, or both of them, and where it stands."""

    ids: tuple[str, ...]
    path: Path
    line: int


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def marked_calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS:
            yield node


def texts() -> list[Text]:
    """Literals only: what is translated by a variable was marked where it was written."""
    found = []
    for path in SOURCES:
        for call in marked_calls(parsed(path)):
            assert isinstance(call.func, ast.Name)
            arguments = call.args[: MARKERS[call.func.id]]
            ids = [part.value for part in arguments if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            if len(ids) == MARKERS[call.func.id]:
                found.append(Text(tuple(ids), path, call.lineno))
    return found


@pytest.fixture(scope="module", params=TRANSLATED)
def catalogue(request: pytest.FixtureRequest) -> Catalog:
    with (LOCALES / request.param / "LC_MESSAGES" / "zhiwen.po").open("rb") as file:
        return read_po(file, locale=request.param, abort_invalid=True)


def entries(catalogue: Catalog) -> dict[tuple[str, ...], Message]:
    return {as_tuple(message.id): message for message in catalogue}


def strings(message: Message) -> tuple[str, ...]:
    return as_tuple(message.string)


def as_tuple(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """Babel gives a string, or several where a text has a plural."""
    return (text or "",) if isinstance(text, str | None) else tuple(text)


def where(text: Text) -> str:
    return f"{text.path.relative_to(ROOT)}:{text.line}: {text.ids[0]!r}"


def test_texts_are_found() -> None:
    assert len(texts()) > 100


def test_every_text_is_translated(catalogue: Catalog) -> None:
    known = entries(catalogue)
    untranslated = [
        where(text) for text in texts() if text.ids not in known or not all(map(str.strip, strings(known[text.ids])))
    ]
    assert untranslated == []


def test_translations_keep_the_placeholders(catalogue: Catalog) -> None:
    wrong = []
    for ids, message in entries(catalogue).items():
        wanted = {name for text in ids for name in PLACEHOLDER.findall(text)}
        wrong += [text for text in strings(message) if set(PLACEHOLDER.findall(text)) != wanted]
    assert wrong == []


def test_no_unused_translation(catalogue: Catalog) -> None:
    used = {text.ids for text in texts()}
    assert [ids for ids in entries(catalogue) if ids != ("",) and ids not in used] == []
    assert list(catalogue.obsolete) == []


def test_no_fuzzy_translation(catalogue: Catalog) -> None:
    assert [message.id for message in catalogue if message.id and message.fuzzy] == []


def test_plural_forms_are_complete(catalogue: Catalog) -> None:
    plural = [message for message in catalogue if message.pluralizable]
    assert plural
    assert [message.id for message in plural if len(strings(message)) != catalogue.num_plurals] == []


def test_no_marker_inside_an_f_string() -> None:
    """On Python 3.11 the extractor of translators' tools sees an f-string as one piece, and nothing inside it."""
    inside = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.JoinedStr)
        for call in marked_calls(node)
        if isinstance(call.args[0], ast.Constant)
    ]
    assert inside == []


def test_no_marked_text_is_an_f_string() -> None:
    """It would be filled in before it is looked up, so that it is never found."""
    marked = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for call in marked_calls(parsed(path))
        if any(isinstance(argument, ast.JoinedStr) for argument in call.args)
    ]
    assert marked == []


def test_every_text_of_a_setup_error_is_marked() -> None:
    """Both are given where it is raised: as marked literals, or by a name that stands for one."""
    unmarked = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "SetupError"
        for text in call.args or [call]
        if not (isinstance(text, ast.Name) or any(text is marked for marked in marked_calls(text)))
    ]
    assert unmarked == []


def test_states_in_messages_are_translated(catalogue: Catalog) -> None:
    """Errors carry a document's state as a value; the page translates values as it does texts."""
    known = entries(catalogue)
    assert [state.value for state in VersionState if (state.value,) not in known] == []
