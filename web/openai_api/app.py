"""Puts the API together."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kb.errors import KbError
from web.api.bodies import LimitedBodies
from web.api.parties import Parties
from web.api.rates import RateLimits
from web.defects import Defects
from web.openai_api import chat, embeddings, models
from web.openai_api.problems import http_problem, invalid_problem, problem

PATH = "/v1"
QUESTIONS = ("/chat/completions",)
BODY_BYTES = 4 << 20  # a conversation, or texts to embed


def build_openai_api(parties: Callable[[], Parties]) -> FastAPI:
    """The app over `parties`, which may raise a `KbError` while the process cannot serve yet."""
    app = FastAPI(title="Zhiwen 知问, as OpenAI's API", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parties = parties
    app.add_middleware(LimitedBodies, problem=problem, most_bytes=BODY_BYTES)
    app.add_middleware(RateLimits, parties=parties, problem=problem, questions=QUESTIONS)  # comes before it
    app.add_middleware(Defects, problem=problem)
    for router in (models.router, chat.router, embeddings.router):
        app.include_router(router)

    @app.exception_handler(KbError)
    async def of_ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, KbError)
        return problem(request, error)

    @app.exception_handler(RequestValidationError)
    async def of_the_request(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return invalid_problem(error)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return http_problem(request, error)

    return app
