"""Names that people and servers give are shown as they are on every page: Markdown in them means nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from pydantic import SecretStr

from kb.access import GranteeKind, KeyScope, Permission
from kb.library.sharing import Grantee
from kb.models import Mode
from kb.providers import CUSTOM
from kb.providers.connection import Purpose
from kb.providers.store import ProviderDraft
from tests.conftest import add_user
from tests.fakes.model_server import ModelServer
from tests.pages.conftest import TEA, Installation, Visit
from tests.pages.visitor import Visitor

NAME = "xyz [y](w) :red[z] <b>a &lt;b :material/zzz: www.a.io `c` $x$ ~~s~~ a -> b"
RAW = re.compile(r"(?<!\\)(?:\[y|:red\[z|<b|&lt|`c|\$x|~~s)|:material/zzz|www\.a|www\\\.a| (?:\\)?-(?:\\)?> ")
RAW_IN_HTML = re.compile(r"<b>a")
# What Streamlit shows as it is: values, choices of a list, code. Our components set texts, no HTML.
PLAIN = {"BidiComponent", "Text.body", "Code.code_text", "Selectbox.options", "MultiSelect.options"}
PLAIN_FIELDS = {"id", "form_id", "key", "value", "default", "default_value", "set_value", "raw_value", "placeholder"}


def markdown_in(node: Any) -> Iterator[tuple[str, str]]:
    """Every text under `node` that Streamlit reads as Markdown or HTML, with the field that holds it."""
    if isinstance(getattr(node, "proto", None), Message):
        yield from _fields(node.proto)
    for child in getattr(node, "children", {}).values():
        yield from markdown_in(child)


def _fields(proto: Message) -> Iterator[tuple[str, str]]:
    for field, value in proto.ListFields():
        name = f"{proto.DESCRIPTOR.name}.{field.name}"
        if not PLAIN.isdisjoint({name, proto.DESCRIPTOR.name}) or field.name in PLAIN_FIELDS:
            continue
        for each in [value] if isinstance(value, (str, bytes, int, float, Message)) else value:
            if isinstance(each, Message):
                yield from _fields(each)
            elif isinstance(each, str):
                yield name, each


def check(visitor: Visitor, *, least: int = 1) -> None:
    texts = list(markdown_in(visitor.app._tree))
    assert len([text for _name, text in texts if "xyz" in text]) >= least, texts
    raw = {"Html.body": RAW_IN_HTML}
    assert [(name, text) for name, text in texts if raw.get(name, RAW).search(text)] == []


@pytest.fixture
def hostile(installation: Installation, models: ModelServer) -> Installation:
    """All that has a name has this one."""
    installation.set_up(LLM_MODEL=NAME)
    provider = ProviderDraft(NAME, CUSTOM, models.base_url, SecretStr("good"), (NAME, f"{NAME} embedding"))
    provider_id = installation.services.providers.add(installation.user, provider)
    installation.services.providers.choose_model(
        installation.user, Purpose.EMBEDDING, f"{provider_id}/{NAME} embedding"
    )
    installation.filled(f"{NAME} 2")
    base = installation.filled(NAME, {f"{NAME}.md": TEA, f"{NAME} 2.md": "Soup is hot."})
    installation.upload(base, f"{NAME}.pdf", b"no PDF")
    guest = Grantee(GranteeKind.USER, add_user(installation.services.database, NAME).user_id)
    installation.services.sharing.grant(installation.user, base.id, guest, Permission.VIEW)
    return installation


def test_chat(hostile: Installation, visit: Visit) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.KNOWLEDGE)
    check(visitor)  # with suggestions
    visitor.ask("How is black tea steeped?")
    check(visitor)
    visitor.open_citation(1)
    check(visitor)
    visitor.run()
    visitor.click("knowledge_base_more")
    check(visitor, least=3)  # the choice of files
    visitor.run()
    visitor.choose("mode", Mode.LLM)
    visitor.ask("Hello")
    check(visitor, least=0)


def test_chat_without_model(hostile: Installation, visit: Visit) -> None:
    hostile.set_up(LLM_MODEL="", OPENAI_BASE_URL="", OPENAI_API_KEY="")
    visitor = visit(mode="knowledge")
    visitor.ask(f"Summarize {NAME}.pdf")
    check(visitor)
    visitor.ask("Which files are there?")
    check(visitor)


def test_testing(hostile: Installation, visit: Visit) -> None:
    visitor = visit()
    visitor.go_to("testing")
    for question in ("How is black tea steeped?", f"Summarize {NAME}.md", "qwertz"):
        visitor.type("test_question", question)
        visitor.click("run_test")
        check(visitor, least=0)
    visitor.type("test_question", NAME)
    visitor.click("run_test")
    visitor.app.session_state["test_question"] = "?"
    visitor.run()
    check(visitor)  # “Results for …”


@pytest.mark.parametrize(
    "key", ["", "new_knowledge_base", "edit_prompt", "share_knowledge_base", "delete_knowledge_base"]
)
def test_knowledge_bases(key: str, hostile: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.ui.sharing.has_login", lambda: True)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    if key:
        visitor.app.session_state["more_knowledge_base"] = True
        visitor.run()
        visitor.click(key)
    check(visitor, least=key in ("new_knowledge_base", "share_knowledge_base", "delete_knowledge_base"))


def test_chunks_of_a_document(hostile: Installation, visit: Visit) -> None:
    visitor = visit()
    visitor.go_to("knowledge_bases")
    (document_id,) = [id for id, row in visitor.rows.items() if row["name"] == f"{NAME}.md"]
    visitor.click(f"chunks-{document_id}")
    check(visitor)
    visitor.run()
    visitor.click(f"delete-{document_id}")
    check(visitor)


@pytest.mark.parametrize("key", ["", "add_provider", "edit_provider", "delete_provider"])
def test_models(key: str, hostile: Installation, visit: Visit) -> None:
    visitor = visit()
    visitor.go_to("models")
    if key:
        found = [button.key for button in visitor.app.button if button.key and button.key.startswith(key)]
        visitor.click(found[0])
    check(visitor)


@pytest.mark.parametrize("key", ["", "new_api_key", "revoke_api_key"])
def test_api_keys(key: str, hostile: Installation, visit: Visit) -> None:
    base_ids = [base.id for base in hostile.services.knowledge_bases.list(hostile.user)]
    hostile.services.api_keys.create(hostile.user, NAME, [KeyScope.READ], base_ids)
    visitor = visit()
    visitor.go_to("api_keys")
    if key:
        found = [button.key for button in visitor.app.button if button.key and button.key.startswith(key)]
        visitor.click(found[0])
    check(visitor, least=2)


@pytest.mark.parametrize("key", ["", "new_webhook", "edit_webhook", "delete_webhook"])
def test_webhooks(key: str, hostile: Installation, visit: Visit) -> None:
    base_ids = [base.id for base in hostile.services.knowledge_bases.list(hostile.user)]
    _key, secret = hostile.services.api_keys.create(hostile.user, NAME, [KeyScope.WRITE])
    program = hostile.services.api_keys.authenticate(secret.get_secret_value())
    hostile.services.webhooks.create(program, "https://hooks.example/", (), base_ids)
    visitor = visit()
    visitor.go_to("api_keys", part="webhooks")
    if key:
        found = [button.key for button in visitor.app.button if button.key and button.key.startswith(key)]
        visitor.click(found[0])
    check(visitor)


@pytest.mark.parametrize("page", ["history", "system"])
def test_other_pages(page: str, hostile: Installation, visit: Visit) -> None:
    hostile.answered(NAME, model=NAME)
    visitor = visit()
    visitor.go_to(page)
    check(visitor, least=0)
