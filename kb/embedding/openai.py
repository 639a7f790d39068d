"""An embedding model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import SecretStr

from kb.deadlines import within
from kb.embedding.model import DENSE_WEIGHT, Vectors, encodable, normalised
from kb.errors import (
    N_,
    EmbeddingTextTooLong,
    EmbeddingTimeout,
    ModelContextExceeded,
    ModelRefused,
    ModelTimeout,
    VectorsMissing,
)
from kb.providers import CONNECT_SECONDS, NO_KEY, OPENAI_BASE_URL, host_of, translate_openai_error
from kb.providers.guard import Guard, client_options, own_credentials
from kb.providers.spans import model_span

if TYPE_CHECKING:
    import httpx2
    import openai
    from langchain_openai import OpenAIEmbeddings

_BATCH = 64  # texts per request; halved for endpoints that accept fewer (some accept 10)


class OpenAIModel:
    """Requests vectors over HTTP; raises `ModelError`s. `dimension` costs one request.

    Documents wait for each request as for a language model. Somebody waits for the vector of a question, so that it
    has a time limit of its own.
    """

    scripts: frozenset[str] | None = None
    dense_weight = DENSE_WEIGHT
    is_remote = True

    def __init__(
        self,
        model: str,
        api_key: SecretStr,
        base_url: str,
        timeout_seconds: float,
        question_seconds: float,
        stored_name: str = "",
        guard: Guard | None = None,
    ) -> None:
        """`stored_name` is what knowledge bases store, if it is not `openai:` with the model's own name.

        `guard` says where requests may go; None: anywhere.
        """
        self.name = stored_name or f"openai:{model}"
        self._model = model
        self._api_key = api_key
        self._base_url = base_url or OPENAI_BASE_URL
        self._timeout_seconds = timeout_seconds
        self._question_seconds = question_seconds
        self._guard = guard
        self._batch = _BATCH

    @cached_property
    def dimension(self) -> int:
        return len(self._request(["dimension"])[0])

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`."""
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        vectors: list[list[float]] = []
        while len(vectors) < len(texts):
            batch = texts[len(vectors) : len(vectors) + self._batch]
            vectors += self._request([encodable(text) for text in batch])
        return normalised(vectors)

    def embed_question(self, text: str) -> Vectors:
        """(dimension,)"""
        seconds = self._question_seconds
        _ = self._client  # its import is none of the server's time
        try:
            vectors = within(seconds, lambda: self._request([encodable(text)], timeout=self._timeout(seconds)))
        except (TimeoutError, ModelTimeout) as error:
            host = host_of(self._base_url)
            raise EmbeddingTimeout(host=host, model=self._model, seconds=f"{seconds:g}") from error
        return normalised(vectors[0])

    def close(self) -> None:
        """Close the connections; the model can be used afterwards."""
        if self.__dict__.pop("_client", None):
            self.__dict__.pop("_http").close()

    @cached_property
    def _http(self) -> httpx2.Client:
        import openai

        return openai.DefaultHttpxClient(timeout=self._timeout(self._timeout_seconds), **client_options(self._guard))

    @cached_property
    def _client(self) -> OpenAIEmbeddings:
        """Imported here: a second and 80 MB that other models do not need."""
        from langchain_openai import OpenAIEmbeddings

        key = self._api_key.get_secret_value() or NO_KEY
        return OpenAIEmbeddings(
            model=self._model,
            api_key=SecretStr(key),
            default_headers=own_credentials(self._guard, key),
            base_url=self._base_url,
            http_client=self._http,
            timeout=self._http.timeout,
            max_retries=0,  # report a 429 at once; the caller decides whether to wait
            check_embedding_ctx_length=False,  # send text, not OpenAI's token numbers
            chunk_size=_BATCH,
        )

    def _timeout(self, seconds: float) -> openai.Timeout:
        import openai

        return openai.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))

    def _request(self, texts: list[str], **options: Any) -> list[list[float]]:
        """`options` are those of the client, for this request."""
        from openai import BadRequestError

        try:
            with model_span("embeddings", self._model, host_of(self._base_url)):
                vectors = self._client.embed_documents(texts, **options)
        except BadRequestError as error:
            if len(texts) == 1:
                raise self._translate(error) from error
            return self._request_halves(texts)
        except Exception as error:
            raise self._translate(error) from error
        if len(vectors) != len(texts):
            host = host_of(self._base_url)
            raise VectorsMissing(host=host, model=self._model, vectors=len(vectors), texts=len(texts))
        if not _are_vectors(vectors):
            host = host_of(self._base_url)
            raise ModelRefused(host=host, model=self._model, detail=N_("its vectors are not numbers"))
        return vectors

    def _request_halves(self, texts: list[str]) -> list[list[float]]:
        """Split a refused batch, which may be too long for the endpoint; a text that is refused alone raises."""
        half = (len(texts) + 1) // 2
        vectors = self._request(texts[:half]) + self._request(texts[half:])
        self._batch = min(self._batch, half)
        return vectors

    def _translate(self, error: Exception) -> Exception:
        host = host_of(self._base_url)
        translated = translate_openai_error(error, self._model, host, timeout_seconds=self._timeout_seconds)
        # The remedies for a conversation that is too long are none for a document.
        if isinstance(translated, ModelContextExceeded):
            return EmbeddingTextTooLong(**translated.values)
        return translated


def _are_vectors(rows: object) -> bool:
    """Whether they are rows of finite numbers, all of one length.

    A model that overflows in half precision gives NaN, which servers send as null: such a question finds nothing, and
    such a document is never found.
    """
    try:
        numbers = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        return False
    return numbers.ndim == 2 and numbers.shape[1] > 0 and bool(np.isfinite(numbers).all())
