"""Puts the API together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kb.errors import KbError
from web.api import conversations, documents, knowledge_bases, searches, tasks, webhooks
from web.api.bodies import LimitedBodies
from web.api.parties import Parties
from web.api.problems import PROBLEM, Problem, http_problem, invalid_problem, problem
from web.api.rates import RateLimits
from web.defects import Defects
from web.gone import GoneClients

PATH = "/api/v1"
QUESTIONS = ("/generate",)
UPLOADS = ("/documents", "/original")
DESCRIPTION = """
Programs act with a key: `Authorization: Bearer zw_…`. Make one on the page “API”.

Errors are problem details (RFC 9457) with the codes and texts of the pages, in the language of `Accept-Language`
(English, 简体中文, 繁體中文). Lists come in pages: pass `next` on as `cursor` until it is null.
"""


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """With the schema of problems, which `PROBLEM` refers to: FastAPI knows of schemas for JSON only."""
        described = super().openapi()
        described["components"]["schemas"][Problem.__name__] = Problem.model_json_schema()
        return described


def build_api(parties: Callable[[], Parties]) -> FastAPI:
    """The app over `parties`, which may raise a `KbError` while the process cannot serve yet."""
    app = _Api(
        title="Zhiwen 知问",
        version="1",
        description=DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        responses={"default": PROBLEM},
    )
    app.state.parties = parties
    app.add_middleware(GoneClients)  # inside of what FastAPI reports failures with
    app.add_middleware(LimitedBodies, problem=problem, uploads=UPLOADS)
    app.add_middleware(RateLimits, parties=parties, problem=problem, questions=QUESTIONS)  # comes before it
    app.add_middleware(Defects, problem=problem)
    for calls in (knowledge_bases, documents, searches, tasks, conversations, webhooks):
        app.include_router(calls.router)

    @app.exception_handler(KbError)
    async def of_ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, KbError)
        return problem(request, error)

    @app.exception_handler(RequestValidationError)
    async def of_the_request(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return invalid_problem(request, error)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return http_problem(request, error)

    return app
