"""Answers of chat models, as OpenAI-compatible servers really give them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise

import pytest
from pydantic import SecretStr

from kb.completions import ChatClient, Piece, Reasoning, TextPiece, TextWasReasoning, Thoughts, Usage, client, reading
from kb.completions.characters import Characters
from kb.errors import (
    AnswerEndless,
    ModelContextExceeded,
    ModelError,
    ModelKeyRefused,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelServerError,
    ModelStopped,
    ModelStreamBroken,
    ModelTimeout,
)
from kb.llm import ChatModel
from kb.providers.connection import ModelSettings
from tests.conftest import MakeSettings
from tests.fakes.model_scripts import ANSWER, REPLIES, STREAMS, event
from tests.fakes.model_server import CHAT, ModelServer

QUESTION = "What is it that you do?"
KEY = "sk-secret-0123456789"
MESSAGES = [("system", "Answer in English."), ("user", QUESTION)]
THOUGHTS = "The user asks about refunds. Passage [2] is not relevant."


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


class Reply:
    """What came of a question: the answer, the reasoning, and the error at the end."""

    def __init__(self, pieces: Sequence[Piece], error: ModelError | None = None) -> None:
        self.text = self.reasoning = ""
        self.usage: Usage | None = None
        self.error = error
        for piece in pieces:
            match piece:
                case TextPiece(text):
                    self.text += text
                case Reasoning(text):
                    self.reasoning += text
                case Usage():
                    self.usage = piece
                case TextWasReasoning():
                    self.text, self.reasoning = "", self.reasoning + self.text


class Asker:
    def __init__(self, make_settings: MakeSettings, base_url: str) -> None:
        self._settings = make_settings(openai_api_key="sk-of-another-server", llm_timeout_seconds=10)
        self._base_url = base_url

    def ask(self, *names: str, key: str = KEY, settings: ModelSettings | None = None) -> list[Reply]:
        """Ask each model, one after the other, with one client."""

        def model(name: str) -> ChatModel:
            return ChatModel(name, self._base_url, "test", key=SecretStr(key), settings=settings or ModelSettings())

        async def ask_all() -> list[Reply]:
            client = ChatClient(self._settings)
            replies = [await self._ask(client, model(name)) for name in names]
            await client.close()
            return replies

        return asyncio.run(ask_all())

    def reply(self, name: str) -> Reply:
        (reply,) = self.ask(name)
        return reply

    @staticmethod
    async def _ask(client: ChatClient, model: ChatModel) -> Reply:
        pieces: list[Piece] = []
        try:
            async for piece in client.stream(model, MESSAGES):
                pieces.append(piece)
        except ModelError as error:
            return Reply(pieces, error)
        return Reply(pieces)


@pytest.fixture
def asker(make_settings: MakeSettings, server: ModelServer) -> Asker:
    server.requests.clear()
    return Asker(make_settings, server.base_url)


# --- answers that are complete ---

WITH_REASONING = [
    *("think", "think-cut-tags", "think-by-letter", "think-no-opening", "think-twice"),
    *("reasoning-content", "reasoning-field", "reasoning-details", "reasoning-twice", "reasoning-parts"),
    *("200-json-think", "200-json-reasoning", "responses-only"),
]
WITHOUT_REASONING = [
    *("think-empty", "no-finish", "empty-finish", "no-done", "finish-eos", "finish-null", "stop-each"),
    *("usage-each", "usage-in-choice", "choice-null"),
    *("finish-upper", "message-beside-delta", "delta-text", "usage-nonsense"),
    *("azure", "usage", "usage-null-choices", "keepalive", "crlf", "no-space", "delta-null", "content-list", "refusal"),
    *("200-json", "200-json-as-stream", "200-stream-as-json"),
]


@pytest.mark.parametrize("name", WITH_REASONING)
def test_reasoning_is_kept_apart_from_the_answer(asker: Asker, name: str) -> None:
    reply = asker.reply(name)
    assert reply.error is None
    assert reply.text == ANSWER
    assert " ".join(reply.reasoning.split()) == THOUGHTS


@pytest.mark.parametrize("name", WITHOUT_REASONING)
def test_complete_answer_raises_no_error(asker: Asker, name: str) -> None:
    reply = asker.reply(name)
    assert reply.error is None
    assert reply.text == ANSWER
    assert reply.reasoning.strip() == ""


def test_line_separators_of_unicode_stay_in_the_text(asker: Asker) -> None:
    assert asker.reply("line-separators").text == "One\u2028two\x85three. " + ANSWER


def test_characters_arrive_whole(asker: Asker) -> None:
    reply = asker.reply("halves")
    assert (reply.reasoning, reply.text) == ("So 😀.", "Pears 😀 and � trees? ")


def test_tags_in_code_are_text(asker: Asker) -> None:
    reply = asker.reply("think-quoted")
    assert reply.text == "The tag `</think>` ends it:\n```\n<think>\n</think>\n```\n" + ANSWER
    assert reply.reasoning == ""


# --- errors, and ends that come too early ---

FAILING: list[tuple[str, type[ModelError], str]] = [
    ("neither-end", ModelStreamBroken, ""),
    ("cut-event", ModelStreamBroken, ""),
    ("think-broken", ModelStreamBroken, ""),
    ("broken", ModelStreamBroken, ""),
    ("think-cut-off", ModelStopped, "length limit reached"),
    ("cut-off", ModelStopped, "length limit reached"),
    ("responses-cut-off", ModelStopped, "length limit reached"),
    ("finish-max-tokens", ModelStopped, "length limit reached"),
    ("finish-safety", ModelStopped, "content filter"),
    ("finish-recitation", ModelStopped, "content filter"),
    ("null-each-broken", ModelStreamBroken, ""),
    ("filtered", ModelStopped, "content filter"),
    ("speechless", ModelStopped, "no text"),
    ("tool-call", ModelStopped, "no text"),
    ("error-event", ModelRateLimited, "Rate limit reached for tokens per minute"),
    ("error-first", ModelRefused, "insufficient quota"),
    ("error-half", ModelRefused, "No capacity for"),
    ("error-text", ModelRefused, "llama runner process has terminated"),
    ("error-vllm", ModelServerError, "CUDA out of memory"),
    ("error-fastchat", ModelRefused, "The worker has no free slot"),
    ("responses-failed", ModelRefused, "No capacity"),
    ("200-error-json", ModelRefused, "No available channel for model gpt-4o"),
    ("200-code-msg", ModelRefused, "余额不足"),
    ("200-null-choices", ModelRefused, "input sensitive"),
    ("200-html", ModelRefused, "its answer is not JSON; check the base URL"),
    ("200-other-json", ModelRefused, "its answer is not JSON; check the base URL"),
    ("200-empty", ModelStreamBroken, ""),
    ("400-plain", ModelRefused, "HTTP 400: System role not supported"),
    ("400-context", ModelContextExceeded, "maximum context length is 4096 tokens"),
    ("400-vllm", ModelContextExceeded, "maximum context length is 2048 tokens"),
    ("400-llama-cpp", ModelContextExceeded, "exceeds the available context size"),
    ("400-qwen", ModelContextExceeded, "Range of input length should be [1, 30720]"),
    ("401-json", ModelKeyRefused, "HTTP 401: Incorrect API key provided: …"),
    ("401-empty", ModelKeyRefused, "HTTP 401: Unauthorized"),
    ("402", ModelRefused, "HTTP 402: Insufficient Balance"),
    ("403-region", ModelRefused, "HTTP 403: Country, region, or territory not supported"),
    ("403-key", ModelKeyRefused, "HTTP 403: The API key is disabled"),
    ("403-empty", ModelRefused, "HTTP 403: Forbidden"),
    ("404-deployment", ModelRefused, "HTTP 404: The API deployment for this resource does not exist."),
    ("404-ollama", ModelNotFound, "HTTP 404: model '404-ollama' not found, try pulling it first"),
    ("404-fastapi", ModelRefused, "HTTP 404: no /v1/chat/completions there; check the base URL"),
    ("404-html", ModelRefused, "HTTP 404: no /v1/chat/completions there; check the base URL"),
    ("413-html", ModelRefused, "HTTP 413: Request Entity Too Large"),
    ("422-detail", ModelRefused, "HTTP 422: messages.0.role: unexpected value; permitted: 'user', 'assistant'"),
    ("429-quota", ModelRateLimited, "You exceeded your current quota, please check your plan."),
    ("429-tokens", ModelRateLimited, "Too many tokens, please wait before trying again."),
    ("500-text", ModelServerError, "HTTP 500: model requires more system memory (9.1 GiB) than is available (3.2 GiB)"),
    ("500-message", ModelServerError, "HTTP 500: Internal error in worker 3"),
    ("502-html", ModelServerError, "HTTP 502: Bad Gateway"),
    ("502-openrouter", ModelServerError, "HTTP 502: Provider returned error: Upstream is overloaded"),
    ("503-loading", ModelServerError, "HTTP 503: Loading model"),
    ("529-unknown", ModelServerError, "HTTP 529: Overloaded"),
]


@pytest.mark.parametrize(("name", "kind", "words"), FAILING)
def test_errors_show_the_servers_own_words(asker: Asker, name: str, kind: type[ModelError], words: str) -> None:
    reply = asker.reply(name)
    assert type(reply.error) is kind
    assert words in str(reply.error)
    assert KEY not in str(reply.error)
    assert "\n" not in str(reply.error)
    str(reply.error).encode()  # as pages and programs get it


def test_too_long_context_says_what_to_do(asker: Asker) -> None:
    advice = str(asker.reply("400-vllm").error)
    assert "Ask a shorter question, start a new conversation, or enter the model's context window" in advice


def test_text_that_arrived_before_an_error_is_kept(asker: Asker) -> None:
    assert asker.reply("error-event").text == "Half"
    assert asker.reply("cut-event").text == "The refund"
    assert asker.reply("broken").text
    cut_off = asker.reply("think-cut-off")
    assert (cut_off.text, cut_off.reasoning) == ("", "The user asks about refunds")


@pytest.mark.parametrize("model", ["silent", "murmuring"])
def test_server_that_says_nothing_times_out(make_settings: MakeSettings, server: ModelServer, model: str) -> None:
    asker = Asker(lambda **values: make_settings(**values | {"llm_timeout_seconds": 0.3}), server.base_url)
    error = asker.reply(model).error
    assert isinstance(error, ModelTimeout)
    assert "0.3 s" in str(error)


# --- what is sent ---


def test_model_sees_its_own_key_only(asker: Asker, server: ModelServer) -> None:
    asker.ask("fake", key="")
    asker.ask("fake")
    assert [request.key for request in server.requests] == ["none", KEY]


@pytest.mark.parametrize("name", ["codex-7b-instruct", "gpt-5-pro"])
def test_name_of_a_model_does_not_choose_the_protocol(asker: Asker, server: ModelServer, name: str) -> None:
    assert asker.reply(name).text == f"You asked: {QUESTION}"
    assert [request.path for request in server.requests] == ["/v1/chat/completions"]


def test_model_for_responses_only_is_asked_there(asker: Asker, server: ModelServer) -> None:
    asker.ask("responses-only")
    assert [request.path for request in server.requests] == ["/v1/chat/completions", "/v1/responses"]
    assert server.requests[-1].body["input"] == [{"role": role, "content": text} for role, text in MESSAGES]
    assert server.requests[-1].body["store"] is False


PROVIDED = ModelSettings(temperature=0.3, max_tokens=500, context_window=8_000, system_prompt="Be brief.")


def test_settings_of_the_provider_are_applied(asker: Asker, server: ModelServer) -> None:
    asker.ask("fake", settings=PROVIDED)
    body = server.requests[-1].body
    assert (body["temperature"], body["max_tokens"]) == (0.3, 500)
    assert body["messages"][0] == {"role": "system", "content": "Be brief.\n\nAnswer in English."}
    asker.ask("fake")
    assert server.requests[-1].body.keys() == {"model", "messages", "stream", "stream_options"}


def test_settings_reach_a_model_for_responses_only(asker: Asker, server: ModelServer) -> None:
    asker.ask("responses-only", settings=PROVIDED)
    body = server.requests[-1].body
    assert (body["temperature"], body["max_output_tokens"]) == (0.3, 500)
    assert body["input"][0]["content"].startswith("Be brief.")


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("no-stream-options", {"stream_options"}),
        ("no-stream-options-422", {"stream_options"}),
        ("no-stream-options-wordless", {"stream_options"}),
        ("no-temperature", {"temperature"}),
        ("only-new-length", {"max_tokens"}),
        ("no-options", {"stream_options", "temperature", "max_tokens", "max_completion_tokens"}),
    ],
)
def test_refused_options_are_left_out_and_remembered(
    asker: Asker, server: ModelServer, name: str, dropped: set[str]
) -> None:
    first, second = asker.ask(name, name, settings=PROVIDED)
    assert (first.text, first.error) == (f"You asked: {QUESTION}", None)
    assert (second.text, second.error) == (first.text, None)
    last = server.requests[-1].body
    assert dropped.isdisjoint(last)
    if name == "only-new-length":
        assert last["max_completion_tokens"] == PROVIDED.max_tokens
    if name != "no-options":  # there, the second name for the length is refused too, once more
        assert server.requests[-2].body.keys() == last.keys()


@pytest.mark.parametrize("name", ["bad-temperature", "bad-length"])
def test_value_out_of_range_is_told_and_not_dropped(asker: Asker, server: ModelServer, name: str) -> None:
    (reply,) = asker.ask(name, settings=PROVIDED)
    assert isinstance(reply.error, ModelRefused)
    assert "range" in str(reply.error)
    assert {"temperature", "max_tokens"} <= server.requests[-1].body.keys()


def test_refusal_that_is_not_about_options_is_told_in_the_servers_words(asker: Asker, server: ModelServer) -> None:
    error = asker.reply("400-plain").error
    assert "System role not supported" in str(error)
    assert len(server.requests) == 2
    asker.reply("400-context")
    assert len(server.requests) == 3  # asking again does not make it shorter


@pytest.mark.parametrize("name", ["usage", "usage-null-choices", "usage-each", "usage-in-choice", "responses-only"])
def test_tokens_are_counted_as_the_server_counts_them(asker: Asker, name: str) -> None:
    assert asker.reply(name).usage == Usage(7, 9)


def test_tokens_are_counted_for_answers_that_end_early(asker: Asker) -> None:
    reply = asker.reply("cut-off")
    assert isinstance(reply.error, ModelStopped)
    assert reply.usage is not None
    assert asker.reply("no-finish").usage is None


def test_count_of_tokens_that_nothing_can_keep_is_none(asker: Asker) -> None:
    assert asker.reply("usage-nonsense").usage == Usage(0, 9)


@pytest.mark.parametrize("name", ["content", "reasoning_content"])
def test_endless_answer_is_ended(asker: Asker, server: ModelServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(client, "MOST_CHARACTERS", 1000)
    server.streams["endless"] = [event({name: "on and on. "})] * 400
    with server.held(CHAT):  # halfway; so only a client that leaves ends the request
        reply = asker.reply("endless")
        assert server.requests[-1].ended.wait(10)
    assert isinstance(reply.error, AnswerEndless)
    assert 1000 < len(reply.text + reply.reasoning) < 1100
    assert server.requests[-1].disconnected


def test_endless_line_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WHOLE_REPLY_BYTES", 1000)
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"data: " if read == 1 else b"x" * 100

    async def read_all() -> list[reading.Event]:
        return [event async for event in reading.read_events(chunks(), ChatModel("m", "http://h", "test"))]

    with pytest.raises(json.JSONDecodeError):  # as for an event that is cut off
        asyncio.run(read_all())
    assert read == 11


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed", "output_text.delta"])
@pytest.mark.parametrize(
    "value", [True, 7, "text", [], {"incomplete_details": "text", "usage": [], "error": 7}], ids=str
)
def test_event_of_another_form_is_read_as_far_as_it_goes(kind: str, value: object) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield f"data: {json.dumps({'type': f'response.{kind}', 'response': value, 'delta': value})}\n\n".encode()

    async def read_all() -> list[reading.Event]:
        return [event async for event in reading.read_events(chunks(), ChatModel("m", "http://h", "test"))]

    with pytest.raises(ModelError) if kind == "failed" else contextlib.nullcontext():
        assert len(asyncio.run(read_all())) == 1


def test_one_client_asks_many_times(asker: Asker) -> None:
    replies = asker.ask("no-finish", "200-json", "broken", "400-plain", "think", "fake")
    assert [reply.text for reply in replies if not reply.error] == [ANSWER, ANSWER, ANSWER, f"You asked: {QUESTION}"]


# --- characters, without a server ---


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["a \ud83d", "\ude00 b"], "a 😀 b"),
        (["a \ud83d", "", "\ude00 b"], "a 😀 b"),
        (["a \ud83d", " b"], "a � b"),
        (["nul\0 \ude00"], "nul �"),
        (["end \ud83d"], "end "),
    ],
)
def test_text_that_no_store_accepts_is_replaced(pieces: list[str], text: str) -> None:
    characters = Characters()
    assert "".join(map(characters.join, pieces)) == text


# --- reasoning inside the text, without a server ---

TAGGED = [
    ("<think>a\n</think>\n\nb", "a\n", "b"),
    ("  \n<think>a</think>b", "a", "b"),
    ("<thinking>a</thinking>b <think>c</think>", "a", "b <think>c</think>"),
    ("<reasoning>a</reasoning>b", "a", "b"),
    ("<think>a</think><think>c</think>b", "ac", "b"),
    ("a\n</think>\nb", "a\n", "b"),
    ("<think>a", "a", ""),
    ("<think>", "", ""),
    ("<thin", "", "<thin"),
    ("a < b, </thi", "", "a < b, </thi"),
    ("<p>a</p>", "", "<p>a</p>"),
    ("use `</think>` b", "", "use `</think>` b"),
    ("```\n</think>\n```", "", "```\n</think>\n```"),
    ("a <think> b", "", "a <think> b"),
    ("    indented", "", "    indented"),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "reasoning", "answer"), TAGGED)
def test_thoughts_are_found_however_the_text_is_cut(text: str, reasoning: str, answer: str) -> None:
    cuts = [[0, len(text)], list(range(len(text) + 1)), *([0, at, len(text)] for at in range(len(text)))]
    for cut in cuts:
        thoughts = Thoughts()
        pieces = [piece for start, end in pairwise(cut) for piece in thoughts.split(text[start:end])]
        reply = Reply([*pieces, *thoughts.end()])
        assert (reply.reasoning, reply.text) == (reasoning, answer), cut


def test_every_script_is_tested() -> None:
    asked = {*WITH_REASONING, *WITHOUT_REASONING, *(name for name, *_ in FAILING), "line-separators", "think-quoted"}
    asked |= {"halves"}
    assert {*STREAMS, *REPLIES} <= asked
