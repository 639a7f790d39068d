"""A click that follows another so quickly that the browser has not heard what that one changed."""

from __future__ import annotations

from kb.models import Conversation, KnowledgeBase, Mode, Role, Scope
from kb.providers.connection import Purpose
from pages.ui.scope import SEVERAL
from tests.fakes.model_server import ModelServer
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor


def talk(installation: Installation, title: str, mode: Mode, *bases: KnowledgeBase) -> Conversation:
    scope = Scope(tuple(base.id for base in bases))
    return installation.services.conversations.create(installation.user, title, mode, scope)


def is_untouched(installation: Installation, conversation: Conversation) -> bool:
    services, user = installation.services, installation.user
    messages = services.messages.shown(user, conversation.id, limit=10)
    notices = [message for message in messages if message.role is Role.NOTICE]
    now = services.conversations.get(user, conversation.id)
    return not notices and (now.mode, now.scope) == (conversation.mode, conversation.scope)


def open_both(visitor: Visitor, first: Conversation, second: Conversation) -> None:
    with visitor.unheard():
        visitor.on_talk("open", first.id, in_sidebar=True)
        visitor.on_talk("open", second.id, in_sidebar=True)
    visitor.run()


def test_mode_of_a_conversation_stays(installation: Installation, visit: Visit) -> None:
    base = installation.filled()
    first, second = talk(installation, "Tea", Mode.LLM), talk(installation, "Coffee", Mode.KNOWLEDGE, base)
    visitor = visit()
    open_both(visitor, first, second)
    assert is_untouched(installation, first)
    assert visitor.find("mode").value is Mode.KNOWLEDGE
    open_both(visitor, first, first)
    assert visitor.find("mode").value is Mode.LLM
    assert is_untouched(installation, first)


def test_knowledge_base_of_a_conversation_stays(installation: Installation, visit: Visit) -> None:
    kitchen, garden = installation.filled("Kitchen"), installation.filled("Garden")
    first = talk(installation, "Tea", Mode.KNOWLEDGE, kitchen)
    second = talk(installation, "Beds", Mode.KNOWLEDGE, kitchen, garden)
    visitor = visit()
    assert visitor.find("knowledge_base").value == garden.id
    open_both(visitor, first, second)
    assert is_untouched(installation, first)
    assert visitor.find("knowledge_base").value == SEVERAL
    open_both(visitor, second, second)
    assert is_untouched(installation, second)


def test_model_that_another_tab_chose_stays(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.set_up(LLM_MODEL="")
    conversation = installation.answered("What is tea?", "A drink.").conversation_id
    visitor = visit(conversation=str(conversation))
    before = visitor.find("chat_model").value
    host = models.base_url.removeprefix("http://").removesuffix("/v1")
    chosen = f"{host}/slow"
    assert before != chosen
    providers = installation.services.providers
    with visitor.unheard():
        providers.choose_model(installation.user, Purpose.CHAT, chosen)
        visitor.run()
        visitor.act(-1, action="regenerate")
    visitor.wait_for_answer()
    assert providers.chosen_model(installation.user, Purpose.CHAT) == chosen
    assert visitor.find("chat_model").value == chosen
    assert [chat.body["model"] for chat in models.chats] == ["slow"]


def test_search_engine_that_is_back_stays(installation: Installation, visit: Visit) -> None:
    first, second = talk(installation, "Tea", Mode.WEB), talk(installation, "Coffee", Mode.WEB)
    visitor = visit(mode="web", engine="brave")
    before = visitor.find("search_engine").value
    with visitor.unheard():
        installation.set_up(BRAVE_API_KEY="k")
        visitor.on_talk("open", first.id, in_sidebar=True)
        visitor.on_talk("open", second.id, in_sidebar=True)
    assert before != "brave"
    assert visitor.find("search_engine").value == "brave"


def test_knowledge_base_that_a_link_opened_stays(installation: Installation, visit: Visit) -> None:
    kitchen, garden = installation.knowledge_base("Kitchen"), installation.knowledge_base("Garden")
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert visitor.find("shown_knowledge_base").value == garden.id
    with visitor.unheard():
        visitor.app.query_params["knowledge_base"] = str(kitchen.id)
        visitor.run()
        visitor.click("rename")
    assert visitor.find("shown_knowledge_base").value == kitchen.id


def test_model_for_a_purpose_that_another_tab_chose_stays(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    providers, host = installation.services.providers, models.base_url.removeprefix("http://").removesuffix("/v1")
    visitor = visit()
    visitor.go_to("models")
    assert visitor.find("model_for_rewriting").value == ""
    with visitor.unheard():
        providers.choose_model(installation.user, Purpose.REWRITING, f"{host}/slow")
        visitor.run()
        visitor.click("add_provider")
    assert providers.chosen_model(installation.user, Purpose.REWRITING) == f"{host}/slow"


def test_what_the_user_did_choose_counts(installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Tea", Mode.LLM)
    visitor = visit()
    with visitor.unheard():
        visitor.on_talk("open", conversation.id, in_sidebar=True)
        visitor.send_label("mode", "Retrieval testing")
    assert installation.services.conversations.get(installation.user, conversation.id).mode is Mode.TEST
    assert visitor.find("mode").value is Mode.TEST


# --- and what is not quick -------------------------------------------------------------------------------------


def test_choice_becomes_another_widget_only_where_the_page_chose_it(installation: Installation, visit: Visit) -> None:
    """A list that is open closes when its widget becomes another one, or is set."""
    conversation = talk(installation, "Tea", Mode.KNOWLEDGE, installation.filled())
    visitor = visit()
    visitor.choose("mode", Mode.TEST)
    own = visitor.find("mode")
    visitor.run()
    assert visitor.find("mode").id == own.id
    assert not visitor.find("mode").proto.set_value
    visitor.on_talk("open", conversation.id, in_sidebar=True)
    assert visitor.find("mode").id != own.id
    assert visitor.find("mode").value is Mode.KNOWLEDGE


def test_user_can_choose_back_again_and_again(installation: Installation, visit: Visit) -> None:
    conversation = talk(installation, "Tea", Mode.LLM)
    visitor = visit(conversation=str(conversation.id))
    for mode in [Mode.TEST, Mode.LLM] * 2:
        visitor.choose("mode", mode)
        visitor.run()
        assert visitor.find("mode").value is mode
        assert installation.services.conversations.get(installation.user, conversation.id).mode is mode
