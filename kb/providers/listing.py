"""The models that a server lists, and what each can do, as far as its name tells."""

from __future__ import annotations

import json
import re
import time

import httpx2

from kb.errors import N_, ModelListTimeout, ModelRefused, ModelUnreachable
from kb.providers.addresses import host_of
from kb.providers.guard import Guard, client_options
from kb.providers.replies import error_of_reply

LIST_BYTES = 8_000_000
# Such a list names no kinds; these, by the habit of their makers, cannot chat.
_NO_CHAT = re.compile(r"embed|rerank|\bbge-|whisper|tts-|dall-e", re.IGNORECASE)
_EMBEDS = re.compile(r"embed|\bbge-|\bgte-|\be5-|\bm3e-", re.IGNORECASE)


def can_chat(name: str) -> bool:
    return not _NO_CHAT.search(name)


def can_embed(name: str) -> bool:
    return bool(_EMBEDS.search(name)) and not can_rerank(name)


def can_rerank(name: str) -> bool:
    return "rerank" in name.lower()


def list_models(base_url: str, key: str, timeout_seconds: float, guard: Guard | None = None) -> list[str]:
    """The names of all models that a server lists. Errors: `ModelError`."""
    host = host_of(base_url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = _get(f"{base_url.rstrip('/')}/models", headers, timeout_seconds, guard)
        listed = json.loads(reply.raise_for_status().content)
        models = listed if isinstance(listed, list) else listed["data"]  # Together sends the list alone
        return [str(model["id"]) for model in models]
    except httpx2.HTTPStatusError as error:
        raise error_of_reply(
            error.response.status_code, error.response.text, "", host, path=error.request.url.path, key=key
        ) from error
    except (httpx2.TimeoutException, TimeoutError) as error:
        raise ModelListTimeout(host=host, model="", seconds=f"{timeout_seconds:g}") from error
    except httpx2.HTTPError as error:
        raise ModelUnreachable(host=host, model="") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelRefused(host=host, model="", detail=N_("this is not an OpenAI-compatible server")) from error


def _get(url: str, headers: dict[str, str], timeout_seconds: float, guard: Guard | None) -> httpx2.Response:
    """The whole reply within the time: httpx2's own timeout begins anew with each byte. Errors: `TimeoutError` too."""
    deadline, body = time.monotonic() + timeout_seconds, bytearray()
    with (
        httpx2.Client(timeout=timeout_seconds, **client_options(guard)) as client,
        client.stream("GET", url, headers=headers) as reply,
    ):
        for chunk in reply.iter_bytes():
            body += chunk
            if time.monotonic() > deadline:
                raise TimeoutError
            if len(body) > LIST_BYTES:
                raise ValueError("too long for a list of models")
    kind = {"Content-Type": reply.headers.get("Content-Type", "")}
    return httpx2.Response(reply.status_code, headers=kind, content=bytes(body), request=reply.request)
