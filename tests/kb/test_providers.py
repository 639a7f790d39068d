"""Provider errors become ours, and never hold the key."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from kb.errors import (
    KbError,
    ModelKeyRefused,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelServerError,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnreachable,
)
from kb.providers import host_of, shorten, translate_openai_error, words_of
from tests.fakes.model_server import ModelServer

KEY = "sk-secret-0123456789"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def _error_of(base_url: str, model: str, key: str = KEY, timeout: float = 5) -> KbError:
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=timeout) as client:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is it that you do?"}]
        try:
            list(client.chat.completions.create(model=model, messages=messages, stream=True))
        except (openai.OpenAIError, httpx.HTTPError) as error:
            return translate_openai_error(error, model, host_of(base_url), timeout_seconds=timeout)
    raise AssertionError(model)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("wrong", ModelKeyRefused),
        ("unknown", ModelNotFound),
        ("rate-limited", ModelRateLimited),
        ("broken", ModelStreamBroken),
        ("error-500", ModelServerError),
    ],
)
def test_server_errors_are_translated(server: ModelServer, model: str, expected: type[KbError]) -> None:
    error = _error_of(server.base_url, model)
    assert type(error) is expected
    assert error.values["host"] == host_of(server.base_url)
    assert KEY not in str(error)
    assert "…" not in str(error)


def test_error_includes_the_servers_own_words(server: ModelServer) -> None:
    assert "HTTP 500: The GPU is on fire." in str(_error_of(server.base_url, "error-500"))


def test_silent_server_times_out(server: ModelServer) -> None:
    error = _error_of(server.base_url, "silent", timeout=0.2)
    assert isinstance(error, ModelTimeout)
    assert "0.2 s" in str(error)


def test_wrong_path_is_not_a_wrong_model(server: ModelServer) -> None:
    error = _error_of(server.base_url.removesuffix("/v1"), "fake")
    assert isinstance(error, ModelRefused)
    assert "/chat/completions" in str(error)


def test_missing_server_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert isinstance(_error_of(f"http://127.0.0.1:{port}/v1", "fake"), ModelUnreachable)


@pytest.mark.parametrize(
    ("error", "streaming", "expected"),
    [
        (httpx.ReadError("gone"), False, ModelStreamBroken),
        (httpx.RemoteProtocolError("gone"), True, ModelStreamBroken),
        (httpx.ConnectError("gone"), False, ModelUnreachable),
        (httpx.ConnectError("gone"), True, ModelStreamBroken),
        (httpx.ReadTimeout("slow"), True, ModelTimeout),
        (json.JSONDecodeError("cut", "{", 1), True, ModelStreamBroken),
        (json.JSONDecodeError("html", "<", 0), False, ModelRefused),
        (ValueError(f"Bearer {KEY}"), False, ModelRefused),
        (ModelTimeout(host="a", seconds=1), False, ModelTimeout),
    ],
)
def test_errors_that_the_client_does_not_wrap(error: Exception, streaming: bool, expected: type[KbError]) -> None:
    translated = translate_openai_error(error, "m", "h", timeout_seconds=1, streaming=streaming)
    assert type(translated) is expected
    assert KEY not in str(translated)


@pytest.mark.parametrize(
    ("base_url", "host"),
    [("", "api.openai.com"), ("http://me:secret@box:8000/v1", "box:8000"), ("https://[::1]:1/v1", "[::1]:1")],
)
def test_host_of(base_url: str, host: str) -> None:
    assert host_of(base_url) == host


@pytest.mark.parametrize(
    ("text", "secret", "shown"),
    [
        ("Key abc-1 is wrong.", "abc-1", "Key … is wrong."),
        ("checked by keks", "k", "checked by keks"),
        ("none of it", "none", "none of it"),
        ("no key given: sk-12345678", "", "no key given: …"),
        ("two\n lines", "", "two lines"),
        ("x" * 400, "", "x" * 299 + "…"),
    ],
)
def test_words_are_shown_in_one_line_without_secrets(text: str, secret: str, shown: str) -> None:
    assert shorten(text, secret) == shown


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "text"}, "text"),
        ({"error": {"message": "text", "code": 1}}, "text"),
        ({"detail": "text"}, "text"),
        (
            {"detail": [{"loc": ["body", "model"], "msg": "field required"}, {"msg": "more"}]},
            "model: field required; more",
        ),
        ({"message": "text"}, "text"),
        ({"error": None, "message": "text"}, "text"),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail"),
        ('{"error": {"message": "text"}}', "text"),
        ("{broken", "{broken"),
        (f'{{"code": {"1" * 5000}}}', f'{{"code": {"1" * 5000}}}'),
        ("[" * 100_000, "[" * 100_000),
        ("text", "text"),
        ("<html>Login</html>", ""),
        ({"choices": []}, ""),
        (None, ""),
    ],
    ids=lambda value: str(value)[:30],
)
def test_words_are_found_in_every_form(body: object, words: str) -> None:
    assert words_of(body) == words
