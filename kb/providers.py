"""What the chat and embedding sides share about OpenAI-compatible servers: their address and their errors."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kb.errors import (
    N_,
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

if TYPE_CHECKING:
    import openai

OPENAI_BASE_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 5.0

_DETAIL_LENGTH = 200
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|key)-[\w*-]{4,}|Bearer\s+\S+")
# By name, because the OpenAI client raises those of httpx or of httpx2, whichever it was given.
_BROKEN_OFF = frozenset({"ReadError", "RemoteProtocolError", "WriteError", "CloseError", "EndOfStream"})


def host_of(base_url: str) -> str:
    """host:port of the base URL (empty: OpenAI's own), without any user or password in it."""
    return urlsplit(base_url or OPENAI_BASE_URL).netloc.rpartition("@")[2]


def is_loopback(base_url: str) -> bool:
    """Whether the server is on this machine; no proxy is asked for it, whatever the environment says."""
    name = urlsplit(base_url).hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def translate_openai_error(
    error: BaseException, model: str, host: str, *, timeout_seconds: float, streaming: bool = False
) -> KbError:
    """The error of ours for one that the OpenAI client, or the HTTP client beneath it, raised.

    `streaming`: the answer had begun, so that a lost connection is a broken stream. The API key is in no text.
    """
    import openai

    match error:
        case KbError():
            return error
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return ModelKeyRefused(host=host, model=model)
        case openai.NotFoundError() if "model" in error.message.lower():
            return ModelNotFound(host=host, model=model)
        case openai.RateLimitError():
            return ModelRateLimited(host=host, model=model)
        case openai.APITimeoutError():
            return ModelTimeout(host=host, model=model, seconds=f"{timeout_seconds:g}")
        case openai.APIStatusError():
            # Those that the OpenAI client itself would try again.
            passes = error.status_code >= 500 or error.status_code in (408, 409)
            kind = ModelServerError if passes else ModelRefused
            return kind(host=host, model=model, detail=_status_detail(error))
        case openai.APIConnectionError():
            return _connection_error(error.__cause__, model, host, streaming)
        case openai.APIError():  # an error that arrived as an event of the stream
            return ModelRefused(host=host, model=model, detail=_shorten(error.message))
        case json.JSONDecodeError():
            return ModelStreamBroken(host=host, model=model) if streaming else _not_json(model, host)
    return _other_error(error, model, host, timeout_seconds, streaming)


def _other_error(error: BaseException, model: str, host: str, timeout_seconds: float, streaming: bool) -> KbError:
    """One that the OpenAI client did not wrap."""
    kinds = _class_names(error)
    if "TimeoutException" in kinds:
        return ModelTimeout(host=host, model=model, seconds=f"{timeout_seconds:g}")
    if "TransportError" in kinds or kinds & _BROKEN_OFF:
        return _connection_error(error, model, host, streaming)
    return ModelRefused(host=host, model=model, detail=_shorten(f"{type(error).__name__}: {error}"))


def _connection_error(cause: BaseException | None, model: str, host: str, streaming: bool) -> KbError:
    if streaming or _class_names(cause) & _BROKEN_OFF:
        return ModelStreamBroken(host=host, model=model)
    return ModelUnreachable(host=host, model=model)


def _status_detail(error: openai.APIStatusError) -> str:
    """The status and the server's own words; for a 404 without words the path, since it is likely wrong."""
    if error.status_code == 404:
        return f"HTTP 404: no {error.request.url.path} there; check the base URL"
    body = error.body
    words = body.get("message") if isinstance(body, dict) else None
    key = error.request.headers.get("authorization", "").removeprefix("Bearer ")
    return _shorten(f"HTTP {error.status_code}: {words or error.response.reason_phrase}", key)


def _not_json(model: str, host: str) -> KbError:
    return ModelRefused(host=host, model=model, detail=N_("its answer is not JSON; check the base URL"))


def _shorten(text: str, secret: str = "") -> str:
    """One line of bounded length, without the key or anything that looks like one."""
    if secret:
        text = text.replace(secret, "…")
    text = " ".join(_LOOKS_SECRET.sub("…", text).split())
    return text if len(text) <= _DETAIL_LENGTH else text[: _DETAIL_LENGTH - 1] + "…"


def _class_names(error: BaseException | None) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
