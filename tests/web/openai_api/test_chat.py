"""Chat completions as a program gets them, over HTTP."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from kb.access import Principal
from kb.conversations import Messages
from kb.models import MessageState, Mode, Scope
from tests.fakes.model_server import CHAT
from tests.real_services import wait_until
from tests.web.openai_api.conftest import ONE_WORKER, Ask, Installation, error_of

pytestmark = ONE_WORKER
QUESTION = "Which colour has a pear?"


def events(reply: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream that ended as it should."""
    assert reply.headers["content-type"].startswith("text/event-stream"), reply.text
    *lines, last = [line.removeprefix("data: ") for line in reply.text.strip().split("\n\n")]
    assert last == "[DONE]"
    return [json.loads(line) for line in lines]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])


# --- answers -------------------------------------------------------------------------------------------------------


def test_knowledge_base_answers_with_its_passages(installation: Installation, ask: Ask) -> None:
    reply = ask().json()
    (choice,) = reply["choices"]
    text = choice["message"]["content"]
    assert text == "According to the passages, A pear is green [1]."
    assert (reply["object"], reply["model"], choice["finish_reason"]) == (
        "chat.completion",
        "knowledge-base/Fruit",
        "stop",
    )
    services = installation.core.services
    expected = services.retriever.retrieve(installation.core.user, Scope.of(installation.fruit), QUESTION)
    assert [passage["text"] for passage in reply["passages"]] == [each.chunk.text for each in expected.passages]
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"] > 0
    (annotation,) = choice["message"]["annotations"]
    cited = annotation["url_citation"]
    assert (annotation["passage"], cited["title"]) == (1, "pears.md")
    assert text[cited["start_index"] : cited["end_index"]] == "[1]"
    assert cited["url"] == f"{installation.url}/knowledge-bases?knowledge_base={installation.fruit}"
    assert services.conversations.count(installation.core.user) == 0


def test_stream_says_the_same(ask: Ask) -> None:
    whole = ask().json()
    chunks = events(ask(stream=True, stream_options={"include_usage": True}))
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert len(chunks) > 5
    first, *_others, last, usage = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (last["choices"][0]["finish_reason"], last["usage"]) == ("stop", None)
    assert last["choices"][0]["delta"]["annotations"] == whole["choices"][0]["message"]["annotations"]
    assert [passage["text"] for passage in last["passages"]] == [passage["text"] for passage in whole["passages"]]
    assert (usage["choices"], usage["usage"].keys()) == ([], whole["usage"].keys())
    assert {chunk["id"] for chunk in chunks} == {first["id"]}
    assert "usage" not in events(ask(stream=True))[-1]


def test_follow_up_is_searched_for_as_it_is_meant(installation: Installation, ask: Ask) -> None:
    said = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Green [1]."}]
    reply = ask(messages=[*said, {"role": "user", "content": "And how does its tree grow?"}])
    assert reply.status_code == 200, reply.text
    rewriting, answering = installation.model_server.chats
    assert "Last question: And how does its tree grow?" in rewriting.body["messages"][-1]["content"]
    roles = [message["role"] for message in answering.body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert answering.body["messages"][2]["content"] == "Green [1]."


def test_models_are_asked_as_by_the_pages(installation: Installation, ask: Ask) -> None:
    """Both for the rewriting and for the answer: the same prompts, word for word."""
    core, model = installation.core, installation.core.services.chat_models.known(installation.core.user).models[0].id
    scope, messages = Scope.of(installation.fruit), core.services.messages
    conversation = core.services.conversations.create(core.user, QUESTION, Mode.KNOWLEDGE, scope)
    said: list[dict[str, str]] = []
    for question in (QUESTION, "And how does its tree grow?", "Thanks!"):
        message = messages.ask(core.user, conversation.id, question)
        installation.answers.start(core.user, message.id, model)
        wait_until(partial(is_done, messages, core.user, message.id), what="the answer")
        by_page = [request.body["messages"] for request in installation.model_server.chats]
        installation.model_server.requests.clear()
        said.append({"role": "user", "content": question})
        answer = ask(messages=said).json()["choices"][0]["message"]["content"]
        said.append({"role": "assistant", "content": answer})
        by_api = [request.body["messages"] for request in installation.model_server.chats]
        installation.model_server.requests.clear()
        assert answer == messages.get(core.user, message.id).content
        assert by_page == by_api
        assert len(by_api) == (2 if "And" in question else 1)
    core.services.conversations.delete(core.user, conversation.id)


def is_done(messages: Messages, user: Principal, message_id: UUID) -> bool:
    return messages.get(user, message_id).state is MessageState.DONE


def test_settings_of_the_request_reach_the_model(installation: Installation, ask: Ask) -> None:
    said = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Green."}]
    ask(
        messages=[*said, {"role": "user", "content": "And its tree?"}],
        temperature=0.25,
        max_completion_tokens=33,
        top_p=0.5,
    )
    rewriting, answering = installation.model_server.chats
    assert {name: answering.body[name] for name in ("temperature", "max_tokens", "top_p")} == {
        "temperature": 0.25,
        "max_tokens": 33,
        "top_p": 0.5,
    }
    assert "max_tokens" not in rewriting.body  # else few tokens for the answer would cut off what is searched for


def test_system_message_counts_beside_our_rules(installation: Installation, ask: Ask) -> None:
    system = {"role": "system", "content": "Answer like a pirate."}
    ask(messages=[system, {"role": "user", "content": QUESTION}])
    ask(messages=[system, {"role": "user", "content": QUESTION}], model="fake")
    with_passages, alone = (request.body["messages"] for request in installation.model_server.chats)
    assert [message["role"] for message in with_passages] == ["system", "user"]
    assert "cite the passage" in with_passages[0]["content"]
    assert with_passages[0]["content"].endswith("Answer like a pirate.")
    assert alone == [system, {"role": "user", "content": QUESTION}]


def test_language_model_answers_by_itself(installation: Installation, ask: Ask) -> None:
    reply = ask(model="fake").json()
    assert reply["choices"][0]["message"]["content"] == f"You asked: {QUESTION}"
    assert "passages" not in reply
    model_id = installation.core.services.chat_models.known(installation.core.user).models[0].id
    assert ask(model=model_id).json()["choices"][0]["message"]["content"] == f"You asked: {QUESTION}"


def test_content_may_come_in_parts(installation: Installation, ask: Ask) -> None:
    parts = [{"type": "text", "text": "Which colour"}, {"type": "text", "text": "has a pear?"}]
    reply = ask(messages=[{"role": "user", "content": parts}])
    assert "A pear is green" in reply.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the capital of Mongolia?", "Nothing relevant to this question was found in the knowledge base."),
        ("蒙古的首都是哪里？", "知识库中没有找到与这个问题相关的内容。"),
    ],
)
def test_nothing_relevant_is_said(installation: Installation, ask: Ask, question: str, expected: str) -> None:
    for reply in (ask(question).json(), events(ask(question, stream=True))):
        text = text_of(reply) if isinstance(reply, list) else reply["choices"][0]["message"]["content"]
        assert text.startswith("知识库中" if "蒙古" in question else "Nothing relevant to this question was found"), (
            text
        )
    assert installation.model_server.chats == []


@pytest.mark.parametrize(("model", "reason"), [("cut-off", "length"), ("filtered", "content_filter")])
def test_finish_reason_tells_of_an_early_end(
    installation: Installation, ask: Ask, monkeypatch: pytest.MonkeyPatch, model: str, reason: str
) -> None:
    use_model(installation, monkeypatch, model)
    assert ask().json()["choices"][0]["finish_reason"] == reason
    assert events(ask(stream=True))[-1]["choices"][0]["finish_reason"] == reason


def test_thoughts_stand_apart(installation: Installation, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    use_model(installation, monkeypatch, "reasoning-content")
    message = ask().json()["choices"][0]["message"]
    chunks = events(ask(stream=True))
    thoughts = "".join(chunk["choices"][0]["delta"].get("reasoning_content", "") for chunk in chunks)
    assert message["reasoning_content"] == thoughts
    assert thoughts
    assert thoughts not in message["content"]
    assert message["content"] == text_of(chunks)


def test_text_that_turns_out_to_be_thoughts(
    installation: Installation, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream has sent it by then, and marks its end as such models do."""
    use_model(installation, monkeypatch, "think-no-opening")
    message = ask().json()["choices"][0]["message"]
    thoughts, answer = text_of(events(ask(stream=True))).split("</think>")
    assert message["reasoning_content"].strip() == thoughts.strip()
    assert message["content"] == answer.strip()


def use_model(installation: Installation, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have this model of the server answer instead."""
    models = installation.core.services.chat_models
    connection = models._own
    assert connection
    monkeypatch.setattr(models, "_own", type(connection)(connection.source, name, connection.base_url, names=(name,)))
    monkeypatch.setattr(models, "_connections", {})


# --- what fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("rate-limited", 429, "rate_limit_exceeded"),
        ("error-500", 503, "model_server_error"),
        ("wrong", 502, "model_key_refused"),
        ("short-texts", 400, "context_length_exceeded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusal_before_the_first_token_is_an_http_error(
    installation: Installation,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    status: int,
    code: str,
    stream: bool,
) -> None:
    use_model(installation, monkeypatch, model)
    assert error_of(ask(stream=stream)) == (status, code, None)


def test_failure_in_mid_stream_is_an_event(
    installation: Installation, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_model(installation, monkeypatch, "broken")
    reply = ask(stream=True)
    assert reply.status_code == 200
    last = json.loads(reply.text.strip().split("\n\n")[-1].removeprefix("data: "))
    assert (last["error"]["code"], last["error"]["type"]) == ("model_stream_broken", "server_error")
    assert error_of(ask())[:2] == (502, "model_stream_broken")


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_leaves_stops_the_model(installation: Installation, stream: bool) -> None:
    asked = {"model": "fake", "messages": [{"role": "user", "content": "Tell me a long story of many words"}]}
    server = installation.model_server
    with server.held(CHAT), closing(HTTPConnection(urlsplit(installation.url).netloc)) as connection:
        headers = {"Authorization": f"Bearer {installation.ask_key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(asked | {"stream": stream}), headers)
        wait_until(lambda: bool(server.chats), what="the model's call")  # the first of a process imports its client
        connection.close()
        wait_until(server.chats[0].ended.is_set, what="its end")
    assert server.chats[0].disconnected


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"seed": 1}, "seed"),
        ({"nonsense": 1}, "nonsense"),
        ({"messages": [{"role": "tool", "tool_call_id": "1", "content": "2"}]}, "messages.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
            "messages.0.content",
        ),
    ],
)
def test_unsupported_parameters_are_refused(ask: Ask, body: dict[str, Any], param: str) -> None:
    assert error_of(ask(**body)) == (400, "unsupported_parameter", param)


def test_name_of_a_parameter_that_is_no_text(installation: Installation) -> None:
    with installation.client() as client:
        reply = client.post(
            "/chat/completions", content=b'{"\\ud800": 1}', headers={"content-type": "application/json"}
        )
    assert error_of(reply) == (400, "unsupported_parameter", "?")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
    ],
)
def test_invalid_requests_name_the_field(ask: Ask, body: dict[str, Any], param: str) -> None:
    status, _code, named = error_of(ask(**body))
    assert (status, named) == (400, param)


def test_neutral_parameters_are_taken(ask: Ask) -> None:
    neutral = {"n": 1, "top_p": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0, "tools": [], "stop": None}
    assert ask(**neutral, user="me", metadata={"a": "b"}, logit_bias=None).status_code == 200


def test_bodies_are_bounded_and_have_to_be_json(installation: Installation, ask: Ask) -> None:
    assert error_of(ask("long " * 5_000)) == (400, "question_too_long", None)
    with installation.client() as client:
        is_json = {"Content-Type": "application/json"}
        broken = client.post("/chat/completions", content=b"{", headers=is_json)
        assert error_of(broken) == (400, "invalid_json", None)
        for body in ({"content": b"[]", "headers": is_json}, {"data": {"model": "fake"}}):
            reply = client.post("/chat/completions", **body)
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, None)
            assert "not a JSON object" in reply.json()["error"]["message"]
        large = b'{"model": "' + b"a" * (4 << 20) + b'"}'
        too_large = client.post("/chat/completions", content=large, headers={"Accept-Language": "zh-CN"})
        assert error_of(too_large) == (413, "content_too_large", None)
        assert too_large.json()["error"]["message"].startswith("请求体超过 4 MB。")
        assert error_of(client.get("/nowhere")) == (404, "not_found", None)
        assert error_of(client.get("/chat/completions")) == (405, "method_not_allowed", None)


def test_key_that_asks_too_often_waits(installation: Installation, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation.core.services.request_limits, "_answers", 1)
    assert ask(model="no-such-model").status_code == 404
    refused = ask()
    assert error_of(refused) == (429, "rate_limit_exceeded", None)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert int(refused.headers["Retry-After"]) > 0
