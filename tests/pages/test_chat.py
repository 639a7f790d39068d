"""Chat: questions, answers, citations, modes, failures, and conversations by address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from uuid import UUID, uuid4

import pytest

from kb.answers import Answers
from kb.conversations import Conversations, Messages
from kb.errors import DatabaseUnavailable
from kb.library import KnowledgeBases
from kb.messages import Message
from kb.models import MessageState, Mode, Role
from tests.conftest import add_user
from tests.fakes.model_server import CHAT, ModelServer
from tests.messages import said
from tests.pages.conftest import TEA, Installation, Visit
from tests.pages.visitor import Visitor

QUESTION = "How long is black tea steeped in boiling water?"
RESTARTING = "The database is not responding (restarting)."
ANSWER = "Green tea is steeped at eighty degrees for two minutes"


def conversation_of(visitor: Visitor) -> UUID:
    return UUID(visitor.app.query_params["conversation"])


def messages_of(visitor: Visitor, installation: Installation) -> list[Message]:
    return list(installation.services.messages.shown(installation.user, conversation_of(visitor), limit=1000))


def open_passages(visitor: Visitor, installation: Installation) -> None:
    """Open what is folded below the latest answer."""
    answers = [message for message in messages_of(visitor, installation) if message.role is Role.ASSISTANT]
    visitor.app.session_state[f"passages-of-{answers[-1].id}"] = True
    visitor.run()


def ask_in_llm_mode(visitor: Visitor, question: str = "What is tea?") -> None:
    visitor.choose("mode", Mode.LLM)
    visitor.ask(question)


# --- before the first question ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (Mode.LLM, "Ask the language model anything."),
        (Mode.KNOWLEDGE, "Create a knowledge base, upload your files, then ask them here."),
        (Mode.TEST, "Create a knowledge base, upload your files, then ask them here."),
    ],
)
def test_empty_chat_says_what_to_do_in_each_mode(mode: Mode, text: str, visit: Visit) -> None:
    visitor = visit()
    visitor.choose("mode", mode)
    assert text in visitor.text()
    assert visitor.app.chat_input(key="question").disabled == (mode is Mode.TEST)
    assert ("Create a knowledge base" in visitor.links) == (mode is not Mode.LLM)


def test_empty_knowledge_base_links_to_upload(installation: Installation, visit: Visit) -> None:
    installation.upload(installation.knowledge_base("Empty *one*"))
    visitor = visit()
    assert "“Empty *one*” has no document that is ready yet." in visitor.text()
    assert "Upload files" in visitor.links


@pytest.mark.parametrize(("mode", "text"), [(Mode.KNOWLEDGE, "Ask “Kitchen”."), (Mode.TEST, "No model is called.")])
def test_filled_knowledge_base_invites_questions(
    mode: Mode, text: str, installation: Installation, visit: Visit
) -> None:
    installation.filled()
    visitor = visit()
    visitor.choose("mode", mode)
    assert text in visitor.text()


def test_suggestion_is_asked_with_a_click(installation: Installation, visit: Visit) -> None:
    installation.filled(files={"a *b*.md": TEA})
    visitor = visit()
    assert "Summarize “a *b*.md”" in visitor.text()
    visitor.click("suggestion-1")
    visitor.wait_for_answer()
    assert messages_of(visitor, installation)[0].content == "Summarize “a *b*.md”"
    assert ANSWER in visitor.text()


@pytest.mark.parametrize("mode", [Mode.LLM, Mode.TEST])
def test_suggestions_are_for_the_knowledge_mode(mode: Mode, installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.choose("mode", mode)
    assert not visitor.has("suggestion-1")


@pytest.mark.parametrize("mode", [Mode.KNOWLEDGE, Mode.TEST])
def test_knowledge_base_name_is_not_read_as_markdown(mode: Mode, installation: Installation, visit: Visit) -> None:
    installation.filled("*Menu* of $1 or $2")
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    visitor.choose("mode", mode)
    assert visitor.text().count("*Menu* of $1 or $2") >= 2
    as_markdown = [part.value for part in (*visitor.app.markdown, *visitor.app.caption)]
    assert [text for text in as_markdown if "*Menu*" in text] == []


def test_endpoint_models_are_offered(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.set_up(LLM_MODEL="")
    visitor = visit()
    choice = visitor.find("chat_model")
    host = models.base_url.removeprefix("http://").removesuffix("/v1")
    assert f"fake · {host}" in choice.options
    assert not any("embedding" in option for option in choice.options)
    visitor.choose("chat_model", f"{host}/rate-limited")
    ask_in_llm_mode(visitor)
    assert "(429)" in visitor.errors


def test_only_local_models_are_called_local(installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="")
    assert "on this machine" not in visit().find("chat_model").help


# --- answers ---------------------------------------------------------------------------------------------------


def test_citation_opens_its_chunk(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask(QUESTION)
    assert f"According to the passages, {ANSWER}\u00a0:blue-badge[1]." in visitor.text()
    assert visitor.cited == {1: "1 · tea.md"}
    visitor.open_citation(1)
    drawer = visitor.text()
    for part in ("Black tea is steeped in boiling water", "Cosine", "BM25", "(#1)"):
        assert part in drawer
    (asked,) = models.chats
    assert "Black tea is steeped in boiling water" in str(asked.body["messages"])


def test_chinese_question_gets_chinese_answer(installation: Installation, visit: Visit) -> None:
    installation.filled(files={"茶.txt": "绿茶用八十度的水冲泡两分钟。红茶用沸水冲泡四分钟。"})
    visitor = visit("zh-CN")
    visitor.ask("绿茶用多少度的水？")
    assert "根据资料，绿茶用八十度的水冲泡两分钟\u00a0:blue-badge[1]。" in visitor.text()
    open_passages(visitor, installation)
    assert "检索过程" in visitor.text()


def test_short_question_on_a_traditional_page_is_answered_in_traditional(visit: Visit, models: ModelServer) -> None:
    """“你好” is the same in both scripts."""
    for locale, rule in {"zh-TW": "（繁體中文）", "zh-CN": "（简体中文）"}.items():
        visitor = visit(locale)
        visitor.choose("mode", Mode.LLM)
        visitor.ask("你好")
        assert rule in str(models.chats[-1].body["messages"])


def test_number_without_passage_stays_text(installation: Installation, visit: Visit) -> None:
    installation.filled(files={"tea.txt": "Black tea is steeped in boiling water, as [7] and [0] tell."})
    visitor = visit()
    visitor.ask(QUESTION)
    assert "as [7] and [0] tell\u00a0:blue-badge[1]." in visitor.text()
    assert visitor.cited == {1: "1 · tea.txt"}


@pytest.mark.parametrize(
    "image",
    [
        "![chart](https://tracker.invalid/a.png?q=secret)",
        "![chart][ref]",
        "[![chart](https://tracker.invalid/a.png)](https://tracker.invalid)",
        pytest.param("!![chart](https://tracker.invalid/a.png)"),
    ],
)
def test_images_are_not_loaded(image: str, visit: Visit) -> None:
    visitor = visit()
    ask_in_llm_mode(visitor, f"Show {image} please")
    (answer,) = [part.value for part in visitor.app.markdown if "You asked" in part.value]
    assert "![" not in answer
    assert "[chart]" in answer


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("`vec![1, 2]`"),
        "`items[1]`",
        "`vec![0; n]`, see [docs](https://rust.invalid/),",
    ],
)
def test_code_is_shown_verbatim(code: str, visit: Visit) -> None:
    visitor = visit()
    ask_in_llm_mode(visitor, f"What does {code} mean?")
    assert f"You asked: What does {code} mean?" in visitor.text()


def test_code_holds_no_citations(installation: Installation, visit: Visit) -> None:
    installation.filled(files={"code.txt": "The first item is `items[1]` in this language of tea."})
    visitor = visit()
    visitor.ask("What is the first item in this language?")
    (answer,) = [part.value for part in visitor.app.markdown if "According to" in part.value]
    assert "The first item is `items[1]` in this language" in answer


def test_question_is_shown_verbatim(visit: Visit) -> None:
    visitor = visit()
    ask_in_llm_mode(visitor, "# *Is* `this` $text$?")
    (question,) = visitor.app.chat_message[0].text
    assert question.value == "# *Is* `this` $text$?"


def test_no_ready_document_asks_no_model(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.upload(installation.knowledge_base())
    visitor = visit()
    visitor.ask(QUESTION)
    assert "No document of this knowledge base is ready yet." in visitor.text()
    assert models.chats == []


def test_nothing_relevant_asks_no_model(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.filled()
    for locale, text in {"en-US": "Nothing relevant to this question was found", "zh-CN": "没有找到"}.items():
        visitor = visit(locale)
        visitor.ask("Zeppelin?")
        assert text in visitor.text()
    assert models.chats == []


def test_named_file_that_cannot_be_read_is_told(installation: Installation, visit: Visit, models: ModelServer) -> None:
    base = installation.filled()
    installation.ingest(installation.upload(base, "broken.pdf", "no PDF"))
    visitor = visit()
    visitor.ask("Summarize broken.pdf")
    shown = visitor.text().replace("\\", "")
    assert "“broken.pdf” is in the knowledge base, but it could not be read." in shown
    assert "Nothing relevant" not in shown
    assert models.chats == []


def test_names_of_files_reach_the_model(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("What files are in this knowledge base?")
    assert "Nothing relevant" not in visitor.text()
    prompt = models.chats[-1].body["messages"][0]["content"]
    assert "The knowledge base holds one file:" in prompt
    assert "- tea.md" in prompt


def test_names_of_files_are_the_answer_without_a_model(without_model: Installation, visit: Visit) -> None:
    without_model.filled(files={"tea.md": "Tea.", "茶.md": "茶。"})
    for question, head in {
        "list all files": "The knowledge base holds 2 files:",
        "有哪些文件？": "知识库中共有 2 个文件：",
    }.items():
        visitor = visit()
        visitor.ask(question)
        assert head in visitor.text()
        assert "Nothing relevant" not in visitor.text()


@pytest.mark.parametrize(("locale", "label"), [("en-US", "Thought for"), ("zh-CN", "思考了")])
def test_reasoning_is_folded(locale: str, label: str, installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="think")
    visitor = visit(locale)
    ask_in_llm_mode(visitor)
    answer = messages_of(visitor, installation)[-1]
    assert answer.content in visitor.text()
    assert label in visitor.text()
    assert "The user asks about refunds" not in visitor.text()
    visitor.app.session_state[f"thoughts-{answer.id}"] = True
    visitor.run()
    assert "The user asks about refunds" in visitor.text()


def test_history_is_sent_to_the_model(visit: Visit, models: ModelServer) -> None:
    visitor = visit()
    ask_in_llm_mode(visitor, "My name is Ada.")
    visitor.ask("What is my name?")
    said = [message["content"] for message in models.chats[-1].body["messages"]]
    assert said[1:] == ["My name is Ada.", "You asked: My name is Ada.", "What is my name?"]


def test_closed_passages_are_not_drawn(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask(QUESTION)
    assert "1 passage found" in visitor.text()
    assert not visitor.has("passage-1")
    assert "Cosine" not in visitor.text()
    open_passages(visitor, installation)
    assert "Cosine" in visitor.text("passage-1")
    assert "Fuse the scores" not in visitor.text()
    visitor.app.session_state["trace"] = True
    visitor.run()
    assert "Fuse the scores" in visitor.text()


def test_only_the_latest_test_result_is_open(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.choose("mode", Mode.TEST)
    visitor.ask(QUESTION)
    visitor.ask("How hot is the water for green tea?")
    assert visitor.text().count("Cosine") == 1
    assert "1 passage found" in visitor.text()


def test_nothing_found_shows_the_trace(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("Zeppelin?")
    assert "Nothing relevant to this question was found" in visitor.text()
    assert "Search steps" in visitor.text()
    visitor.app.session_state["trace"] = True
    visitor.run()
    assert "Fuse the scores" in visitor.text()


def test_nothing_found_shows_the_best_candidates(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("Zeppelin?")
    assert "1 closest candidate, below the threshold" in visitor.text()
    assert not visitor.has("nearest-1")  # closed, so that the message itself stays in view
    visitor.app.session_state["nearest"] = True
    visitor.run()
    assert "tea.md" in visitor.text("nearest-1")
    assert "Relevance</b> " in visitor.text("nearest-1")
    assert "Threshold: the best candidate has a relevance of" in visitor.text()


def test_wider_search_answers_beside_the_empty_answer(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("Zeppelin?")
    visitor.click("search_wider")
    visitor.wait_for_answer()
    assert "Searched wider: with half the threshold" in visitor.text()
    visitor.click("search_wider")
    visitor.wait_for_answer()
    shown = visitor.text()
    assert "Searched wider: without a threshold" in shown
    assert "According to the passages" in shown
    assert "1 passage found" in shown
    assert visitor.actions[-1]["branch"]["count"] == 3
    assert not visitor.has("search_wider")
    visitor.act(1, action="show", id=visitor.actions[1]["branch"]["before"])
    assert "Searched wider: with half the threshold" in visitor.text()


def test_model_alone_answers_one_question(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("Zeppelin?")
    visitor.click("ask_without")
    visitor.wait_for_answer()
    assert "You asked: Zeppelin?" in visitor.text()
    assert "Answered by the language model alone" in visitor.text()
    assert visitor.find("mode").value is Mode.KNOWLEDGE
    visitor.ask(QUESTION)
    assert "1 passage found" in visitor.text()


def test_nothing_found_opens_in_testing(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("Zeppelin?")
    visitor.click("open_test")
    assert visitor.app.text_input(key="test_question").value == "Zeppelin?"


# --- testing mode ----------------------------------------------------------------------------------------------


def test_testing_mode_shows_passages_without_a_model(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    installation.filled()
    visitor = visit()
    visitor.choose("mode", Mode.TEST)
    visitor.ask(QUESTION)
    assert "Black tea is steeped in boiling water" in visitor.text("passage-1")
    assert "Cosine" in visitor.text("passage-1")
    assert models.requests == []


def test_testing_mode_works_with_a_refused_key(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.filled()
    visitor = visit()
    visitor.choose("mode", Mode.TEST)
    visitor.ask(QUESTION)
    conversation = str(conversation_of(visitor))
    installation.set_up(OPENAI_API_KEY="wrong", LLM_MODEL="")
    visitor = visit(conversation=conversation)
    visitor.ask(QUESTION)
    assert "Black tea is steeped in boiling water" in visitor.text("passage-1")
    assert not visitor.errors
    assert models.requests == []


# --- modes and knowledge bases ---------------------------------------------------------------------------------


def test_mode_switch_leaves_a_notice(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask(QUESTION)
    visitor.choose("mode", Mode.LLM)
    assert "— Now: LLM chat —" in visitor.text()
    visitor.choose("mode", Mode.TEST)
    assert "— Now: Retrieval testing · Kitchen —" in visitor.text()
    assert "— Now: LLM chat —" not in visitor.text()
    notices = [message for message in messages_of(visitor, installation) if message.role is Role.NOTICE]
    assert [message.mode for message in notices] == [Mode.TEST]


def test_mode_switch_keeps_the_retry_button(installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="rate-limited")
    installation.filled()
    visitor = visit()
    visitor.ask(QUESTION)
    visitor.choose("mode", Mode.LLM)
    assert "— Now: LLM chat —" in visitor.text()
    visitor.run()  # the choice drew the end of the conversation only, and AppTest shows no more than that
    assert visitor.has("regenerate")
    open_passages(visitor, installation)
    assert visitor.has("passage-1")


def test_choices_and_questions_draw_only_the_end_of_the_conversation(installation: Installation, visit: Visit) -> None:
    """However long it is. AppTest shows what the last run drew."""
    installation.set_up(LLM_MODEL="slow")  # so that the answer cannot end, and bring the whole page, in the same run
    installation.filled()
    visitor = visit()
    visitor.ask(QUESTION)
    assert QUESTION in visitor.text()
    visitor.choose("mode", Mode.LLM)
    assert "— Now: LLM chat —" in visitor.text()
    assert QUESTION not in visitor.text()
    visitor.run()
    visitor.start_asking("And what is coffee?")
    assert "And what is coffee?" in visitor.text()
    assert QUESTION not in visitor.text()
    visitor.wait_for_answer()
    assert QUESTION in visitor.text()


def test_second_switch_replaces_the_first_ones_notice(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask(QUESTION)
    visitor.choose("mode", Mode.LLM)
    visitor.run()
    visitor.choose("mode", Mode.TEST)
    assert "— Now: LLM chat —" not in visitor.text()
    assert "— Now: Retrieval testing · " in visitor.text()
    visitor.run()
    assert "— Now: LLM chat —" not in visitor.text()


def test_mode_switch_before_the_first_question_leaves_a_notice(installation: Installation, visit: Visit) -> None:
    visitor = visit("zh-CN")
    visitor.choose("mode", Mode.LLM)
    assert "— 已切换到“大模型对话” —" in visitor.text()
    visitor.ask("茶是什么？")
    assert "— 已切换到“大模型对话” —" in visitor.text()
    roles = [message.role for message in messages_of(visitor, installation)]
    assert roles == [Role.NOTICE, Role.USER, Role.ASSISTANT]


def test_knowledge_base_switch_leaves_a_notice(installation: Installation, visit: Visit) -> None:
    garden = installation.filled("Garden", {"garden.md": "Roses are cut in March."})
    installation.filled("Kitchen")
    visitor = visit()
    visitor.ask(QUESTION)
    visitor.choose("knowledge_base", garden.id)
    assert "— Now: Knowledge-base Q&A · Garden —" in visitor.text()
    visitor.ask("When are roses cut?")
    assert "Roses are cut in March" in visitor.text()


def test_knowledge_base_switch_on_another_page_leaves_a_notice(installation: Installation, visit: Visit) -> None:
    garden = installation.filled("Garden", {"garden.md": "Roses are cut in March."})
    installation.filled("Kitchen")
    visitor = visit()
    visitor.ask(QUESTION)
    visitor.go_to("testing")
    visitor.choose("tested_knowledge_base", garden.id)
    visitor.go_to("chat")
    assert "— Now: Knowledge-base Q&A · Garden —" in visitor.text()
    assert Role.NOTICE not in [message.role for message in messages_of(visitor, installation)]
    visitor.ask("When are roses cut?")
    assert "Roses are cut in March" in visitor.text()
    roles = [message.role for message in messages_of(visitor, installation)]
    assert roles == [Role.USER, Role.ASSISTANT, Role.NOTICE, Role.USER, Role.ASSISTANT]


def test_question_to_deleted_knowledge_base_is_refused(installation: Installation, visit: Visit) -> None:
    installation.filled("Garden", {"garden.md": "Roses are cut in March."})
    kitchen = installation.filled("Kitchen")
    visitor = visit()
    visitor.choose("knowledge_base", kitchen.id)
    visitor.ask(QUESTION)
    installation.services.knowledge_bases.delete(installation.user, kitchen.id)  # in another tab
    visitor.start_asking("And how long is it kept?")
    assert "This knowledge base no longer exists" in visitor.errors
    assert "And how long is it kept?" in visitor.text()
    assert [message.role for message in messages_of(visitor, installation)] == [Role.USER, Role.ASSISTANT]
    visitor.ask("When are roses cut?")
    assert "Roses are cut in March" in visitor.text()


def test_new_conversation_starts_empty(installation: Installation, visit: Visit) -> None:
    visitor = visit()
    ask_in_llm_mode(visitor)
    first = conversation_of(visitor)
    visitor.click("new_conversation")
    assert "conversation" not in visitor.app.query_params
    assert not visitor.app.chat_message
    visitor.ask("Something else")
    assert conversation_of(visitor) != first
    visitor.on_talk("open", first)
    assert conversation_of(visitor) == first
    assert "You asked: What is tea?" in visitor.text()


# --- conversations by address ----------------------------------------------------------------------------------


def test_address_opens_conversation_in_its_mode(visit: Visit) -> None:
    visitor = visit()
    ask_in_llm_mode(visitor)
    again = visit(conversation=str(conversation_of(visitor)))
    assert "You asked: What is tea?" in again.text()
    assert again.find("mode").value == Mode.LLM


def test_reasoning_is_folded_away_from_the_answer(installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="think")
    visitor = visit()
    ask_in_llm_mode(visitor)
    assert "The refund takes 14 days" in visitor.text()
    assert "Thought for" in visitor.text()
    assert "The user asks about refunds" not in visitor.text()
    assert "think>" not in visitor.text()


@pytest.mark.parametrize(
    ("locale", "message"),
    [
        ("en-US", "This conversation no longer exists, or you do not have access to it."),
        ("zh-CN", "该对话不存在，或你无权访问。"),
    ],
)
def test_unknown_conversation_shows_an_error(locale: str, message: str, visit: Visit) -> None:
    visitor = visit(locale, conversation=str(uuid4()))
    assert message in visitor.errors
    assert visitor.has("question")
    assert "conversation" not in visitor.app.query_params


def test_conversation_of_another_user_looks_unknown(installation: Installation, visit: Visit) -> None:
    stranger = add_user(installation.services.database, "stranger")
    theirs = installation.services.conversations.create(stranger, "My secret", Mode.LLM)
    visitor = visit(conversation=str(theirs.id))
    assert "no longer exists" in visitor.errors
    assert "My secret" not in visitor.text()


def test_malformed_address_opens_an_empty_chat(visit: Visit) -> None:
    visitor = visit(conversation="' or 1=1 --")
    assert "This conversation no longer exists" in visitor.errors
    assert "What would you like to know?" in visitor.text()


def test_earlier_messages_are_loaded_on_request(installation: Installation, visit: Visit) -> None:
    conversations, user = installation.services.conversations, installation.user
    conversation = conversations.create(user, "Long", Mode.LLM)
    for index in range(35):
        answer = installation.services.messages.ask(user, conversation.id, f"question {index}")
        installation.services.messages.finish(user, answer.id, MessageState.DONE, said(f"answer {index}"))
    visitor = visit(conversation=str(conversation.id))
    assert len(visitor.app.chat_message) == 10
    assert "question 26\n" not in visitor.text()
    visitor.click("load_earlier")
    assert len(visitor.app.chat_message) == 26
    assert "question 26\n" in visitor.text()
    for _ in range(3):
        visitor.click("load_earlier")
    assert len(visitor.app.chat_message) == 70
    assert "question 0\n" in visitor.text()
    assert not visitor.has("load_earlier")


# --- stop, failures, another try -------------------------------------------------------------------------------


def test_stopped_answer_keeps_its_text(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.set_up(LLM_MODEL="long", LLM_TIMEOUT_SECONDS="60")
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    with models.held(CHAT):
        visitor.start_asking("Tell me all")
        visitor.wait_until(lambda: "word5" in visitor.text(), "the answer's beginning")
        visitor.click("stop")
        visitor.wait_for_answer()
    assert "You stopped this answer." in visitor.text()
    assert "word5" in visitor.text()
    assert "word399" not in visitor.text()
    assert models.chats[0].ended.wait(10)


def test_second_question_during_an_answer_is_refused(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    installation.set_up(LLM_MODEL="long", LLM_TIMEOUT_SECONDS="60")
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    visitor.start_asking("Hello")
    visitor.click("stop")
    visitor.wait_for_answer()
    other = visit(conversation=str(conversation_of(visitor)))
    with models.held(CHAT):
        visitor.start_asking("Tell me all")
        other.start_asking("And me?")
        assert "Another answer is still being written" in other.errors
        visitor.click("stop")
        visitor.wait_for_answer()
    other.run()
    assert "And me?" in other.text()  # and stays to be copied
    questions = [message.content for message in messages_of(visitor, installation) if message.role is Role.USER]
    assert questions == ["Hello", "Tell me all"]


def test_question_during_database_outage_can_be_retried(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    with restarting(monkeypatch, (KnowledgeBases, "list"), (Conversations, "create")):
        visitor.start_asking("What is tea?")
        assert "What is tea?" in visitor.text()
        assert visitor.errors.count(RESTARTING) == 1
        visitor.click("ask_refused")
        assert "What is tea?" in visitor.text()
        assert visitor.errors.count(RESTARTING) == 1
    visitor.click("ask_refused")
    visitor.wait_for_answer()
    assert "You asked: What is tea?" in visitor.text()
    assert not visitor.errors
    assert not visitor.has("ask_refused")


def test_refused_question_is_not_retried_in_another_mode(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    with restarting(monkeypatch, (KnowledgeBases, "list"), (Conversations, "create")):
        visitor.start_asking("What is tea?")
        visitor.run()
        assert visitor.errors.count(RESTARTING) == 1
    visitor.run()
    visitor.choose("mode", Mode.KNOWLEDGE)
    assert not visitor.has("ask_refused")
    visitor.choose("mode", Mode.LLM)
    visitor.click("ask_refused")
    visitor.wait_for_answer()
    assert "You asked: What is tea?" in visitor.text()


def test_answer_that_cannot_start_is_stored_once(
    installation: Installation, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    with restarting(monkeypatch, (Answers, "start"), (Messages, "finish")):
        visitor.start_asking("What is tea?")
    assert "(restarting)" in visitor.errors
    assert not visitor.has("ask_refused")
    visitor.wait_for_answer()
    assert "This answer was interrupted" in visitor.text()
    assert visitor.has("regenerate")
    questions = [message.content for message in messages_of(visitor, installation) if message.role is Role.USER]
    assert questions == ["What is tea?"]


@contextmanager
def restarting(monkeypatch: pytest.MonkeyPatch, *methods: tuple[type, str]) -> Iterator[None]:
    """The database is away for these methods."""

    def fail(*_arguments: object, **_values: object) -> NoReturn:
        raise DatabaseUnavailable(detail="restarting")

    with monkeypatch.context() as patch:
        for owner, name in methods:
            patch.setattr(owner, name, fail)
        yield


@pytest.mark.parametrize(("model", "detail"), [("filtered", "content filter"), ("speechless", "no text")])
def test_empty_reply_shows_an_error_and_can_be_retried(
    model: str, detail: str, installation: Installation, visit: Visit
) -> None:
    installation.set_up(LLM_MODEL=model)
    visitor = visit()
    ask_in_llm_mode(visitor)
    assert f"{model} ended the answer early ({detail})." in visitor.errors
    assert visitor.has("regenerate")


def test_passages_are_shown_when_the_model_refuses(installation: Installation, visit: Visit) -> None:
    installation.filled()
    installation.set_up(OPENAI_API_KEY="wrong", LLM_MODEL="")
    visitor = visit()
    visitor.ask(QUESTION)
    assert "refused the API key" in visitor.errors
    open_passages(visitor, installation)
    assert "Black tea is steeped in boiling water" in visitor.text("passage-1")
    assert visitor.has("regenerate")


@pytest.mark.parametrize(
    ("model", "english", "chinese"),
    [
        ("wrong", "refused the API key", "拒绝了 API 密钥"),
        ("unknown", "has no model named unknown", "上没有名为 unknown 的模型"),
        ("rate-limited", "is rate limiting requests (429)", "429"),
        ("error-500", "returned an error (HTTP 500: The GPU is on fire.)", "HTTP 500: The GPU is on fire."),
        ("silent", "did not answer within 3 s.", "3 秒"),
        ("broken", "was lost during the answer.", "中断"),
    ],
)
def test_failure_shows_its_reason_and_can_be_retried(
    model: str, english: str, chinese: str, installation: Installation, visit: Visit
) -> None:
    installation.set_up(LLM_MODEL=model)
    visitor = visit()
    ask_in_llm_mode(visitor, "What is tea?")
    assert english in visitor.errors
    assert "good" not in visitor.text()
    assert visitor.app.chat_message[0].text[0].value == "What is tea?"
    chinese_visitor = visit("zh-CN", conversation=str(conversation_of(visitor)))
    assert chinese in chinese_visitor.errors
    installation.set_up(LLM_MODEL="fake")
    visitor.click("regenerate")
    visitor.wait_for_answer()
    assert "You asked: What is tea?" in visitor.text()
    assert not visitor.errors
    assert len(visitor.app.chat_message) == 2


def test_broken_stream_keeps_its_text(installation: Installation, visit: Visit) -> None:
    installation.set_up(LLM_MODEL="broken")
    visitor = visit()
    ask_in_llm_mode(visitor)
    assert "You asked: What" in visitor.text()


def test_unreachable_model_server_shows_an_error(installation: Installation, visit: Visit) -> None:
    installation.set_up(OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    visitor = visit()
    ask_in_llm_mode(visitor)
    assert "127.0.0.1:1 cannot be reached." in visitor.errors


def test_answer_of_a_dead_process_is_interrupted(installation: Installation, visit: Visit) -> None:
    conversations, user = installation.services.conversations, installation.user
    conversation = conversations.create(user, "Question", Mode.LLM)
    installation.services.messages.ask(user, conversation.id, "Question")
    visitor = visit(conversation=str(conversation.id))
    assert visitor.has("stop")
    visitor.wait_for_answer()
    assert "This answer was interrupted" in visitor.text()
    visitor.click("regenerate")
    visitor.wait_for_answer()
    assert "You asked: Question" in visitor.text()


# --- without a model -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "text"), [("en-US", "To connect a language model, add a provider"), ("zh-CN", "要接入大模型")]
)
def test_no_model_says_how_to_connect_one(locale: str, text: str, without_model: Installation, visit: Visit) -> None:
    visitor = visit(locale)
    visitor.choose("mode", Mode.LLM)
    (info,) = visitor.app.info
    assert text in info.value
    assert "\n" not in info.value
    visitor.ask("What is tea?")
    (info,) = visitor.app.info
    assert text in info.value
    assert not visitor.errors


def test_no_model_answers_with_marked_passages(without_model: Installation, visit: Visit) -> None:
    without_model.filled()
    visitor = visit()
    visitor.ask(QUESTION)
    assert "No language model is connected: these are the best passages." in visitor.text()
    assert "**Black tea is steeped in boiling water for four minutes.**\u00a0:blue-badge[1]" in visitor.text()
    assert list(visitor.cited) == [1]
    open_passages(visitor, without_model)
    assert "<mark>Black tea is steeped" in visitor.text("passage-1")


def test_local_models_are_used_only_once_chosen(
    without_model: Installation, visit: Visit, models: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.llm.LOCAL_SERVERS", (("Ollama", models.base_url),))
    monkeypatch.setattr("kb.llm.PROBE_SECONDS", 10)
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    visitor.ask("What is tea?")
    assert models.chats == []
    choice = visitor.find("chat_model")
    assert choice.options[0] == "None: show the best passages"
    assert "fake · Ollama" in choice.options
    host = models.base_url.removeprefix("http://").removesuffix("/v1")
    visitor.choose("chat_model", f"{host}/fake")
    visitor.run()
    visitor.click("regenerate")
    visitor.wait_for_answer()
    assert "You asked: What is tea?" in visitor.text()


# --- services that are away ------------------------------------------------------------------------------------


def test_answer_arrives_while_redis_is_down(installation: Installation, visit: Visit, dead_url: str) -> None:
    installation.filled()
    installation.set_up(REDIS_URL=dead_url)
    visitor = visit()
    visitor.ask(QUESTION)
    assert ANSWER in visitor.text()
    assert not visitor.errors


def test_redis_outage_is_shown_during_an_answer(
    installation: Installation, visit: Visit, dead_url: str, models: ModelServer
) -> None:
    installation.set_up(REDIS_URL=dead_url, LLM_MODEL="long", LLM_TIMEOUT_SECONDS="60")
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    with models.held(CHAT):
        visitor.start_asking("Tell me all")
        for _ in range(3):
            visitor.run()
            assert "Redis is not responding. The answer is still being written" in visitor.text()


def test_milvus_outage_shows_an_error(
    installation: Installation, visit: Visit, dead_url: str, models: ModelServer
) -> None:
    installation.filled()
    installation.set_up(MILVUS_URI=dead_url.replace("redis", "http").removesuffix("/0"))
    for mode in (Mode.KNOWLEDGE, Mode.TEST):
        visitor = visit()
        visitor.choose("mode", mode)
        visitor.ask(QUESTION)
        assert "Milvus is not responding" in visitor.errors
        assert "Nothing relevant" not in visitor.text()
        assert visitor.has("regenerate")
    assert models.chats == []
