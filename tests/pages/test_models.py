"""The page “Models”: connect servers, see whether they respond, and choose which model does what."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from uuid import UUID

import pytest
from pydantic import SecretStr

from kb.models import Mode, Scope
from kb.providers.connection import Purpose
from kb.providers.store import ProviderDraft
from tests.fakes.langchain_models import install
from tests.fakes.model_server import CHAT, ModelServer
from tests.pages.conftest import Browsers, Installation, Visit, models_are_known
from tests.pages.visitor import Visitor
from tests.real_services import free_port, wait_until

KEY = "sk-secret-0123456789"


@pytest.fixture
def other_server() -> Iterator[ModelServer]:
    """A second model server, which nothing names yet."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def visitor(without_model: Installation, visit: Visit) -> Visitor:
    visitor = visit()
    visitor.go_to("models")
    return visitor


def fill(visitor: Visitor, **values: str) -> None:
    for field, value in values.items():
        visitor.type(f"provider_{field}", value)


def add(visitor: Visitor, server: ModelServer, name: str = "Mine", key: str = KEY) -> None:
    visitor.click("add_provider")
    fill(visitor, name=name, url=server.base_url, key=key)
    visitor.click("save_provider")


def look(visitor: Visitor) -> None:
    """Until each server was looked at."""
    wait_until(models_are_known, what="the looks")
    visitor.run()


def added_id(installation: Installation) -> UUID:
    (provider,) = installation.services.providers.list(installation.user)
    return provider.id


@pytest.mark.parametrize(
    ("locale", "first_step", "connected"),
    [("en-US", "No language model is connected.", "Connected, "), ("zh-CN", "尚未接入大模型。", "已连接，")],
)
def test_first_provider_is_added_and_checked(
    without_model: Installation, visit: Visit, other_server: ModelServer, locale: str, first_step: str, connected: str
) -> None:
    visitor = visit(locale)
    visitor.go_to("models")
    assert first_step in visitor.text()
    add(visitor, other_server)
    assert not visitor.errors
    look(visitor)
    assert connected in visitor.text()
    assert "Mine" in visitor.text()
    assert KEY not in visitor.text()
    visitor.go_to("chat")
    visitor.choose("mode", Mode.LLM)
    visitor.ask("What is tea?")
    assert other_server.chats[-1].key == KEY


def test_preset_fills_in_name_and_address(
    visitor: Visitor, without_model: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(without_model.services.chat_models, "_probe", lambda *_arguments: ["deepseek-chat"])
    visitor.click("add_provider")
    visitor.app.selectbox(key="provider_preset").set_value("deepseek")
    visitor.click("save_provider")
    assert not visitor.errors
    (provider,) = without_model.services.providers.list(without_model.user)
    assert (provider.name, provider.preset) == ("DeepSeek", "deepseek")
    assert provider.base_url == "https://api.deepseek.com/v1"


@pytest.mark.parametrize(("locale", "words"), [("en-US", "API key is not valid"), ("zh-CN", "API 密钥”填写有误")])
def test_key_with_a_line_break_is_refused_in_the_dialog(
    without_model: Installation, visit: Visit, other_server: ModelServer, locale: str, words: str
) -> None:
    visitor = visit(locale)
    visitor.go_to("models")
    add(visitor, other_server, key="sk-first\nsk-second")
    assert words in visitor.errors
    assert "sk-first" not in visitor.errors
    assert without_model.services.providers.list(without_model.user) == []


@pytest.mark.parametrize(
    ("locale", "words"), [("en-US", "127.0.0.1 is not a public address."), ("zh-CN", "127.0.0.1 不是公网地址。")]
)
def test_members_may_not_connect_a_private_address(
    browsers: Browsers, other_server: ModelServer, locale: str, words: str
) -> None:
    browsers.sign_up_first()
    browsers.invite("Ben")
    visitor = Visitor(locale)
    visitor.go_to("models")
    add(visitor, other_server)
    assert words in visitor.errors
    assert "ALLOWED_FETCH_HOSTS" in visitor.errors
    assert other_server.requests == []
    browsers.sign_in("ada")
    visitor = Visitor(locale)
    visitor.go_to("models")
    add(visitor, other_server)
    assert not visitor.errors


def test_edited_provider_keeps_its_key_which_is_never_shown(
    visitor: Visitor, without_model: Installation, other_server: ModelServer
) -> None:
    add(visitor, other_server)
    look(visitor)
    provider_id = added_id(without_model)
    visitor.click(f"edit_provider-{provider_id}")
    assert visitor.app.text_input(key="provider_key").value == ""
    fill(visitor, name="Renamed")
    visitor.app.number_input(key="provider_temperature").set_value(0.5)
    visitor.app.text_area(key="provider_system_prompt").set_value("Be brief.")
    assert visitor.app.selectbox(key="provider_sees_images").value == ""  # None would be drawn in Streamlit's words
    visitor.app.selectbox(key="provider_sees_images").set_value("yes")
    visitor.click("save_provider")
    assert not visitor.errors
    (provider,) = without_model.services.providers.list(without_model.user)
    assert (provider.name, provider.settings.temperature) == ("Renamed", 0.5)
    (connection,) = without_model.services.providers.connections(without_model.user)
    assert connection.key == SecretStr(KEY)
    assert connection.model("any").sees_images


def test_deleting_asks_first(visitor: Visitor, without_model: Installation, other_server: ModelServer) -> None:
    add(visitor, other_server)
    look(visitor)
    visitor.click(f"delete_provider-{added_id(without_model)}")
    assert "with its API key" in visitor.text()
    visitor.click("confirm_delete_provider")
    assert without_model.services.providers.list(without_model.user) == []
    visitor.run()
    assert "No language model is connected." in visitor.text()


def test_test_asks_a_model_in_the_background(
    visitor: Visitor, without_model: Installation, other_server: ModelServer
) -> None:
    add(visitor, other_server)
    look(visitor)
    button = f"test_provider-{added_id(without_model)}"
    with other_server.held(CHAT):
        visitor.click(button)
        wait_until(lambda: other_server.chats, what="the question")
    visitor.wait_until(lambda: "fake answered within" in visitor.text(), "the result")
    assert not visitor.app.button(key=button).disabled


def test_server_that_does_not_respond_says_why_and_hides_no_other(
    visitor: Visitor, without_model: Installation, other_server: ModelServer
) -> None:
    add(visitor, other_server)
    gone = ProviderDraft("Gone", "custom", f"http://127.0.0.1:{free_port()}/v1")
    wrong = ProviderDraft("Wrong", "custom", other_server.base_url, SecretStr("wrong"))
    for draft in (gone, wrong):
        without_model.services.providers.add(without_model.user, draft)
    look(visitor)
    text = visitor.text()
    assert "Connected, " in text
    assert "cannot be reached" in text
    assert "refused the API key" in text
    assert "Press “Edit” and enter the right key." in text
    assert "on the Models page, or in .env (OPENAI_API_KEY" not in text


def test_settings_file_is_shown_as_such_and_not_editable(installation: Installation, visit: Visit) -> None:
    visitor = visit()
    visitor.go_to("models")
    wait_until(lambda: all(s.look.seen_at for s in installation.services.chat_models.check(installation.user).servers))
    visitor.run()
    assert "from .env" in visitor.text()
    assert "Connected, " in visitor.text()
    keys = [button.key or "" for button in visitor.app.button]
    assert any(key.startswith("test_provider-") for key in keys)
    assert not any(key.startswith(("edit_provider-", "delete_provider-")) for key in keys)


def test_models_are_chosen_by_purpose(visitor: Visitor, without_model: Installation, other_server: ModelServer) -> None:
    add(visitor, other_server)
    look(visitor)
    provider_id, services, user = added_id(without_model), without_model.services, without_model.user
    visitor.choose("model_for_chat", f"{provider_id}/slow")
    visitor.choose("model_for_rewriting", f"{provider_id}/fake")
    assert services.providers.chosen_model(user, Purpose.CHAT) == f"{provider_id}/slow"
    assert services.providers.chosen_model(user, Purpose.REWRITING) == f"{provider_id}/fake"
    visitor.go_to("chat")
    assert visitor.find("chat_model").value == f"{provider_id}/slow"


def test_embedding_model_of_a_provider_is_offered_for_new_knowledge_bases(
    visitor: Visitor, without_model: Installation, other_server: ModelServer
) -> None:
    add(visitor, other_server)
    look(visitor)
    visitor.choose("model_for_embedding", f"{added_id(without_model)}/fake-embedding")
    visitor.go_to("knowledge_bases")
    visitor.click("new_knowledge_base")
    choice = visitor.app.radio(key="knowledge_base_model")
    assert choice.options[0] == r"fake\-embedding"  # Markdown
    visitor.type("knowledge_base_name", "Tea")
    visitor.click("create_knowledge_base")
    assert not visitor.errors
    services = without_model.services
    (base,) = services.knowledge_bases.list(without_model.user)
    without_model.ingest(without_model.upload(base))
    found = services.retriever.retrieve(without_model.user, Scope.of(base.id), "How long is black tea steeped?")
    assert found.passages
    assert {request.key for request in other_server.requests} == {KEY}
    visitor.go_to("models")
    visitor.click(f"delete_provider-{added_id(without_model)}")
    visitor.click("confirm_delete_provider")
    assert "provides the embedding model of these knowledge bases: Tea" in visitor.text()


def test_page_opens_while_a_server_is_silent(
    visitor: Visitor, without_model: Installation, monkeypatch: pytest.MonkeyPatch, other_server: ModelServer
) -> None:
    answering = Event()

    def wait(*_arguments: object) -> list[str]:
        assert answering.wait(60)
        return ["late-model"]

    monkeypatch.setattr(without_model.services.chat_models, "_probe", wait)
    add(visitor, other_server)
    assert "Checking…" in visitor.text()
    answering.set()
    look(visitor)
    assert "late-model" in visitor.text()


def test_reranking_model_is_chosen_and_its_scores_are_shown(
    visitor: Visitor, without_model: Installation, other_server: ModelServer
) -> None:
    add(visitor, other_server)
    look(visitor)
    without_model.filled(files={"tea.md": "Black tea needs water.", "more.md": "More about black tea: time."})
    visitor.choose("model_for_reranking", f"{added_id(without_model)}/fake-rerank")
    other_server.favourite = "time"
    visitor.go_to("testing")
    visitor.type("test_question", "black tea")
    visitor.click("run_test")
    assert "more.md" in visitor.text("passage-1")
    assert "Rerank 0.95" in visitor.text("passage-1").replace("</b>", "").replace("<b>", "")


def test_provider_of_langchain_names_its_models_and_what_is_to_install(
    visitor: Visitor, without_model: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.click("add_provider")
    visitor.app.selectbox(key="provider_preset").set_value("anthropic")
    fill(visitor, key=KEY)
    visitor.app.text_area(key="provider_models").set_value("claude")
    visitor.click("save_provider")
    assert not visitor.errors
    look(visitor)
    assert "langchain-anthropic" in visitor.text()
    install(monkeypatch)
    visitor.go_to("chat")
    visitor.choose("mode", Mode.LLM)
    visitor.ask("What is tea?")
    visitor.wait_until(lambda: "Tea is a drink." in visitor.text(), "the answer")
    assert KEY not in visitor.text()
