"""Embeddings: the vectors of texts, by the models that knowledge bases use.

They need the scope `ask`, since texts are put to a model, which may cost money; nothing that is stored is read.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Literal

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kb.embedding import EmbeddingModel
from kb.errors import WrongDimension
from kb.fair_threads import FairThreads
from kb.retrieval.ranking import estimate_tokens
from web.api.parties import Asker, Serving
from web.openai_api.models import find_embedding
from web.openai_api.problems import unsupported

router = APIRouter()
MOST_TEXTS = 2_048
TEXT_CHARACTERS = 100_000
BATCH = 32  # between two looks at whether the program still waits
_threads = FairThreads(3, 2)  # so few, as they share the processors with the questions of people


class EmbeddingRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=1_000)
    input: list[str] = Field(min_length=1, max_length=MOST_TEXTS)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    input_type: Literal["document", "query"] = "document"
    user: str = ""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given

    @field_validator("input", mode="before")
    @classmethod
    def _list_texts(cls, given: Any) -> Any:
        if isinstance(given, str):
            return [given]
        if isinstance(given, list) and given and isinstance(given[0], int | list):
            raise unsupported(
                "input of token numbers", "send texts; in LangChain, OpenAIEmbeddings(check_embedding_ctx_length=False)"
            )
        return given

    @field_validator("input")
    @classmethod
    def _check_texts(cls, texts: list[str]) -> list[str]:
        for number, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f"text {number} is empty")
            if len(text) > TEXT_CHARACTERS:
                raise ValueError(f"text {number} has more than {TEXT_CHARACTERS:,} characters")
        return texts


@router.post("/embeddings", response_model=None)
async def create_embeddings(request: Request, parties: Serving, acting: Asker, wanted: EmbeddingRequest) -> Response:
    """What is too long for a built-in model is cut off; the servers of others may refuse it."""

    def embed() -> bytes:
        model = find_embedding(parties.services, acting, wanted.model)
        if wanted.dimensions not in (None, model.dimension):
            raise WrongDimension(model=wanted.model, dimension=model.dimension)
        if not model.is_remote:
            model.embed_question("ready?")  # refuses at once while it is being downloaded; documents would wait
        vectors: list[str | list[float]] = []
        for start in range(0, len(wanted.input), BATCH):
            if anyio.from_thread.run(request.is_disconnected):
                return b""
            vectors += _embed(model, wanted.input[start : start + BATCH], wanted)
        return json.dumps(_reply(wanted, vectors)).encode()

    body = await _threads.run(acting.user_id, embed)
    return Response(body, media_type="application/json")


def _embed(model: EmbeddingModel, texts: list[str], wanted: EmbeddingRequest) -> list[str | list[float]]:
    if wanted.input_type == "query":
        vectors = [model.embed_question(text) for text in texts]
    else:
        vectors = list(model.embed_documents(texts))
    if wanted.encoding_format == "base64":
        return [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    return [vector.tolist() for vector in vectors]


def _reply(wanted: EmbeddingRequest, vectors: list[str | list[float]]) -> dict[str, Any]:
    """The tokens are an estimate."""
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(vectors)]
    tokens = sum(map(estimate_tokens, wanted.input))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": wanted.model, "usage": usage}
