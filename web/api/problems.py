"""Errors as problem details (RFC 9457), with the codes and texts of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from kb.errors import N_, KbError, from_code
from pages.ui.i18n import accepted_language, error_text, translate
from web.statuses import headers_of, status_of

MEDIA_TYPE = "application/problem+json"
INVALID = N_("The request is not valid.")
MOST_FIELDS = 20  # that are named
HTTP_TEXTS = {
    404: N_("There is no such address."),
    405: N_("This address does not know this method."),
}


class Problem(BaseModel):
    """What went wrong. `code` names the kind for programs; `detail` says what to do."""

    type: str = Field(examples=["urn:zhiwen:not_found"])
    title: str = Field(examples=["This knowledge base no longer exists, or you do not have access to it."])
    status: int = Field(examples=[404])
    detail: str = Field(default="", examples=["Go back to the list and refresh the page."])
    code: str = Field(examples=["not_found"])
    errors: list[dict[str, str]] = Field(default=[], description="The fields that are not valid, and why.")


# As a response of OpenAPI; `web.api.app` adds the schema to the description.
_SCHEMA = {"$ref": f"#/components/schemas/{Problem.__name__}"}
PROBLEM: dict[str, Any] = {"description": "A problem", "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}


def reason_of(code: str, values: dict[str, str], language: str) -> str:
    """Why something failed and what to do, in words; empty where nothing did."""
    return " ".join(error_text(from_code(code, values), language)).strip() if code else ""


def problem(request: Request, error: KbError) -> JSONResponse:
    message, remedy = error_text(error, language_of(request))
    status = status_of(error)
    return _response(status, error.code, message, remedy, headers=headers_of(error))


def invalid_problem(request: Request, error: RequestValidationError) -> JSONResponse:
    found = [
        {"field": ".".join(map(str, each["loc"])), "reason": str(each["msg"])} for each in error.errors()[:MOST_FIELDS]
    ]
    title = translate(INVALID, language_of(request))
    return _response(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", title, errors=found)


def http_problem(request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    title = translate(HTTP_TEXTS.get(status, status.phrase), language_of(request))
    return _response(status, status.phrase.lower().replace(" ", "_"), title, headers=error.headers or {})


def language_of(request: Request) -> str:
    return accepted_language(request.headers.get("accept-language", ""))


def _response(
    status: int,
    code: str,
    title: str,
    detail: str = "",
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] = {},
) -> JSONResponse:
    found = Problem(
        type=f"urn:zhiwen:{code}", title=title, status=status, detail=detail, code=code, errors=errors or []
    )
    return JSONResponse(found.model_dump(), status, dict(headers), MEDIA_TYPE)
