"""A reranking model behind `/rerank`, in the forms that servers give it.

Jina, Cohere, SiliconFlow, Zhipu, vLLM, Xinference and llama.cpp take `documents` and return `results` with a
`relevance_score` each; Voyage calls the list `data`, DashScope the path `/reranks`, and Text Embeddings Inference takes
`texts` and returns a bare list with a `score` each.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from time import monotonic
from typing import Any

import httpx2
import structlog

from kb.deadlines import within
from kb.errors import N_, ModelContextExceeded, ModelError, ModelRefused, ModelTimeout, ModelUnreachable
from kb.providers import CONNECT_SECONDS, OPENAI_BASE_URL, error_of_reply, not_json, words_of
from kb.providers.connection import Connection
from kb.providers.guard import client_options
from kb.providers.spans import model_span

# Characters of a text. A server that refuses long texts instead of cutting them mostly has a model of 512 tokens.
LONG, SHORT = 4_000, 350
REST_SECONDS = 30.0  # after a server did not respond: the next questions do not wait for it
_BATCH = re.compile(
    r"batch|too many (?:documents|texts|inputs)|(?:documents|texts|inputs).{0,40}(?:exceed|limit)", re.I
)
_TEXTS = re.compile(r"\btexts\b")

log = structlog.get_logger()


class HttpReranker:
    """Asks one model of one server. Safe to share among threads."""

    def __init__(
        self, connection: Connection, model: str, timeout_seconds: float, now: Callable[[], float] = monotonic
    ) -> None:
        """`timeout_seconds` is for a call of `scores`, whatever it takes."""
        self.model = model
        self._connection = connection
        self._seconds = timeout_seconds
        self._now = now
        self._addresses = _addresses(connection.base_url or OPENAI_BASE_URL)
        self._field = "documents"
        self._characters = LONG
        self._rests_until = 0.0
        self._failure: ModelError | None = None

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, 0 to 1. Errors: `ModelError`."""
        if self._failure and self._now() < self._rests_until:
            raise self._failure
        try:
            with model_span("rerank", self.model, self._host):
                scores = within(self._seconds, lambda: self._ask(question, list(texts)))
        except ModelError as error:
            self._rest_after(error)
            raise
        except TimeoutError as error:
            timeout = ModelTimeout(host=self._host, model=self.model, seconds=f"{self._seconds:g}")
            self._rest_after(timeout)
            raise timeout from error
        except Exception as defect:
            log.exception("rerank.defect", model=self.model)
            raise ModelRefused(host=self._host, model=self.model, detail=type(defect).__name__) from defect
        self._failure = None
        return _as_shares(scores)

    def close(self) -> None:
        """Close the connections, which are opened again when needed."""
        if client := self.__dict__.pop("_client", None):
            client.close()

    @property
    def _host(self) -> str:
        return self._connection.host

    @cached_property
    def _client(self) -> httpx2.Client:
        timeout = httpx2.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds))
        return httpx2.Client(timeout=timeout, **client_options(self._connection.guard))

    def _rest_after(self, error: ModelError) -> None:
        if isinstance(error, ModelTimeout | ModelUnreachable):
            self._failure, self._rests_until = error, self._now() + REST_SECONDS

    def _ask(self, question: str, texts: list[str]) -> list[float]:
        """Ask again in another form where the server's refusal says which, and remember that form."""
        if self._connection.error:
            raise self._connection.error
        while True:
            reply = self._post(question, texts)
            if reply.is_success:
                return self._read(reply, len(texts))
            said = words_of(reply.text)
            if reply.status_code in (404, 405) and len(self._addresses) > 1 and "model" not in said.lower():
                self._addresses = self._addresses[1:]
                continue
            if reply.status_code in (400, 422) and self._field == "documents" and _TEXTS.search(said):
                self._field = "texts"
                continue
            if len(texts) > 1 and (reply.status_code == 413 or (reply.status_code < 500 and _BATCH.search(said))):
                half = (len(texts) + 1) // 2
                return self._ask(question, texts[:half]) + self._ask(question, texts[half:])
            error = self._error(reply)
            if not (isinstance(error, ModelContextExceeded) and self._characters > SHORT):
                raise error
            self._characters = SHORT

    def _post(self, question: str, texts: Sequence[str]) -> httpx2.Response:
        cut = [text[: self._characters] for text in texts]
        body: dict[str, Any] = {"model": self.model, "query": question[: self._characters], self._field: cut}
        if self._field == "documents":
            body["top_n"] = len(texts)  # some servers return fewer by themselves
        key = self._connection.key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            return self._client.post(self._addresses[0], json=body, headers=headers)
        except httpx2.ConnectTimeout as error:
            raise ModelUnreachable(host=self._host, model=self.model) from error
        except httpx2.TimeoutException as error:
            raise TimeoutError from error
        except httpx2.HTTPError as error:
            raise ModelUnreachable(host=self._host, model=self.model) from error

    def _read(self, reply: httpx2.Response, count: int) -> list[float]:
        try:
            answer = json.loads(reply.content)
        except ValueError as error:
            raise not_json(self.model, self._host) from error
        scores: dict[int, float] = {}
        for result in _results(answer):
            place, score = result.get("index"), result.get("relevance_score", result.get("score"))
            if isinstance(place, int) and isinstance(score, int | float) and math.isfinite(score):
                scores[place] = float(score)
        if not scores and isinstance(answer, Mapping) and words_of(answer):
            raise error_of_reply(0, answer, self.model, self._host, key=self._connection.key.get_secret_value())
        if missing := [place for place in range(count) if place not in scores]:
            detail = N_("it gave no score for some passages")
            log.warning("rerank.incomplete", model=self.model, missing=len(missing), of=count)
            raise ModelRefused(host=self._host, model=self.model, detail=detail)
        return [scores[place] for place in range(count)]

    def _error(self, reply: httpx2.Response) -> ModelError:
        key, path = self._connection.key.get_secret_value(), reply.request.url.path
        return error_of_reply(reply.status_code, reply.text, self.model, self._host, path=path, key=key)


def _addresses(base_url: str) -> tuple[str, ...]:
    """Where a server may serve reranking, the likeliest first."""
    base = base_url.rstrip("/").removesuffix("/rerank")
    if "/compatible-mode/" in base:  # DashScope
        return (f"{base.replace('/compatible-mode/', '/compatible-api/')}/reranks",)
    root = re.sub(r"/v\d+$", "", base)
    return tuple(dict.fromkeys((f"{base}/rerank", f"{root}/rerank")))


def _results(answer: object) -> list[Mapping[str, Any]]:
    """The results in a reply, wherever they stand."""
    if isinstance(answer, Mapping):
        inner = answer.get("output")
        answer = answer.get("results") or answer.get("data") or (_results(inner) if inner else [])
    return [each for each in answer if isinstance(each, Mapping)] if isinstance(answer, list) else []


def _as_shares(scores: Sequence[float]) -> list[float]:
    """Scores from 0 to 1; llama.cpp and some models of vLLM and Xinference give logits."""
    if all(0 <= score <= 1 for score in scores):
        return list(scores)
    return [1 / (1 + math.exp(-min(max(score, -500.0), 500.0))) for score in scores]
