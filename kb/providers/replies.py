"""What OpenAI-compatible servers reply when they refuse or fail, as our errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.client import responses as REASONS

from kb.errors import (
    N_,
    KbError,
    ModelContextExceeded,
    ModelError,
    ModelKeyRefused,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelServerError,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnreachable,
)
from kb.names import clean_text
from kb.providers.addresses import NO_KEY

_DETAIL_LENGTH = 300
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|key)-[\w*-]{4,}|Bearer\s+\S+")
# Where the words stand in an error's body, the best first.
_WORDS = ("error", "detail", "message", "msg", "status_msg", "base_resp", "errors", "text", "error_description")
_WORDLESS_404 = frozenset({"not found", "404 not found", "404 page not found", "page not found", "404"})
_ABOUT_KEY = re.compile(r"api.?key|access.?token|credential|authenticat|unauthori[sz]ed|密钥|令牌", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|maximum context|max_model_len|prompt is too long|input is too long"
    r"|(?:too many|maximum (?:number of )?(?:input |prompt )?)\s?tokens|reduce the length|range of input length"
    r"|上下文.{0,8}(?:长度|超)|输入.{0,8}(?:过长|超长|超过)",
    re.IGNORECASE,
)
# By name, because the OpenAI client raises those of httpx or of httpx2, whichever it was given.
_BROKEN_OFF = frozenset({"ReadError", "RemoteProtocolError", "WriteError", "CloseError", "EndOfStream"})


def translate_openai_error(
    error: BaseException, model: str, host: str, *, timeout_seconds: float, streaming: bool = False
) -> KbError:
    """Our error for one that the OpenAI client, or the HTTP client beneath it, raised.

    `streaming`: the answer had begun, so a lost connection is a broken stream. No text contains the API key.
    """
    import openai

    match error:
        case KbError():
            return error
        case openai.APITimeoutError() if "ConnectTimeout" in _class_names(error.__cause__):
            return ModelUnreachable(host=host, model=model)
        case openai.APITimeoutError():
            return ModelTimeout(host=host, model=model, seconds=f"{timeout_seconds:g}")
        case openai.APIStatusError():
            return error_of_reply(
                error.status_code,
                error.body or error.response.reason_phrase,
                model,
                host,
                path=error.request.url.path,
                key=error.request.headers.get("authorization", "").removeprefix("Bearer "),
            )
        case openai.APIConnectionError() if isinstance(error.__cause__, KbError):  # of `kb.providers.guard`
            return error.__cause__
        case openai.APIConnectionError():
            return _connection_error(error.__cause__, model, host, streaming)
        case openai.APIError():  # an error that arrived as an event of the stream
            return error_of_reply(0, error.body or error.message, model, host)
        case json.JSONDecodeError():
            return ModelStreamBroken(host=host, model=model) if streaming else not_json(model, host)
    return _other_error(error, model, host, timeout_seconds, streaming)


def error_of_reply(status: int, body: object, model: str, host: str, *, path: str = "", key: str = "") -> ModelError:
    """The error for a reply that reports one, with the server's own words.

    `status` is 0 where the reply itself was good: the error stands in its body or in an event of its stream. `path` is
    what was asked for, and `key` what must not be shown.
    """
    words = words_of(body)
    code = _code_of(body)
    status = status or (int(code) if code.isdecimal() and 400 <= int(code) < 600 else 0)
    if status == 404 and (not words or words.lower().strip(" .!") in _WORDLESS_404):
        words = f"no {path} there; check the base URL"
    said = shorten(words or REASONS.get(status, ""), key)
    detail = f"HTTP {status}: {said}" if status else said or code
    values = {"host": host, "model": model, "detail": detail}
    if status == 429:
        return ModelRateLimited(**values | {"detail": said})
    if code == "context_length_exceeded" or _TOO_LONG.search(words):
        return ModelContextExceeded(**values)
    if status == 401 or (status == 403 and _ABOUT_KEY.search(words)):
        return ModelKeyRefused(**values)
    if code == "model_not_found" or (status == 404 and "model" in words.lower() and not (path and path in words)):
        return ModelNotFound(**values)
    # Those that the OpenAI client itself would try again.
    kind = ModelServerError if status >= 500 or status in (408, 409) else ModelRefused
    return kind(**values)


def words_of(body: object) -> str:
    """What an error's body says, in any of the forms that servers give it; empty for a web page."""
    if isinstance(body, str):
        text = body.strip()
        if text.startswith(("{", "[")):
            try:
                return words_of(json.loads(text))
            except (ValueError, RecursionError):
                return text
        return "" if text.startswith("<") else text
    if isinstance(body, list):
        return "; ".join(filter(None, map(words_of, body)))
    if not isinstance(body, Mapping):
        return ""
    if isinstance(body.get("loc"), list) and isinstance(body.get("msg"), str):  # FastAPI's refusal of one field
        place = ".".join(str(part) for part in body["loc"] if part != "body")
        return f"{place}: {body['msg']}" if place else body["msg"]
    found = (words for name in _WORDS if (words := words_of(body.get(name))))
    words = next(found, "")
    # OpenRouter's own message only says that there was an error.
    metadata = body.get("metadata")
    raw = words_of(metadata.get("raw")) if isinstance(metadata, Mapping) else ""
    return f"{words}: {raw}" if words and raw else words or raw


def _code_of(body: object) -> str:
    """The error's code, or else its type: `invalid_api_key`, `429`."""
    if not isinstance(body, Mapping):
        return ""
    if isinstance(body.get("error"), Mapping):
        return _code_of(body["error"])
    return str(body.get("code") or body.get("type") or "")


def _other_error(error: BaseException, model: str, host: str, timeout_seconds: float, streaming: bool) -> KbError:
    """One that the OpenAI client did not wrap."""
    kinds = _class_names(error)
    if "ConnectTimeout" in kinds:
        return ModelUnreachable(host=host, model=model)
    if "TimeoutException" in kinds:
        return ModelTimeout(host=host, model=model, seconds=f"{timeout_seconds:g}")
    if "TransportError" in kinds or kinds & _BROKEN_OFF:
        return _connection_error(error, model, host, streaming)
    return ModelRefused(host=host, model=model, detail=shorten(f"{type(error).__name__}: {error}"))


def _connection_error(cause: BaseException | None, model: str, host: str, streaming: bool) -> KbError:
    if streaming or _class_names(cause) & _BROKEN_OFF:
        return ModelStreamBroken(host=host, model=model)
    return ModelUnreachable(host=host, model=model)


def not_json(model: str, host: str) -> ModelError:
    return ModelRefused(host=host, model=model, detail=N_("its answer is not JSON; check the base URL"))


def shorten(text: str, secret: str = "") -> str:
    """One line of bounded length, without the key `secret` or anything that looks like a key.

    And without halves of characters: a server that shortens its words may leave some.
    """
    text = clean_text(text)
    if secret and secret != NO_KEY:
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "…", text)
    text = " ".join(_LOOKS_SECRET.sub("…", text).split())
    return text if len(text) <= _DETAIL_LENGTH else text[: _DETAIL_LENGTH - 1] + "…"


def _class_names(error: BaseException | None) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
