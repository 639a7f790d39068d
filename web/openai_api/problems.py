"""Errors in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from kb.errors import (
    KbError,
    KeyRefused,
    ModelContextExceeded,
    ModelNotServed,
    ModelRateLimited,
    TooManyAnswers,
    TooManyRequests,
    WrongDimension,
)
from pages.ui.i18n import error_text, join_sentences, translate
from web.api.problems import HTTP_TEXTS, language_of
from web.statuses import headers_of, status_of

# OpenAI's codes, which programs look for, in place of ours.
_CODES: dict[type[KbError], str] = {
    KeyRefused: "invalid_api_key",
    ModelNotServed: "model_not_found",
    ModelContextExceeded: "context_length_exceeded",
    ModelRateLimited: "rate_limit_exceeded",
    TooManyRequests: "rate_limit_exceeded",
    TooManyAnswers: "rate_limit_exceeded",
}
_PARAMETERS: dict[type[KbError], str] = {ModelNotServed: "model", WrongDimension: "dimensions"}
UNSUPPORTED = "unsupported_parameter"
SHOWN_CHARACTERS = 100  # of a name that a program has sent


def unsupported(parameter: str, reason: str = "") -> PydanticCustomError:
    """For validators: the request asks for what there is not here."""
    text = "“{parameter}” is not supported here" + (f": {reason}" if reason else "")
    shown = parameter[:SHOWN_CHARACTERS].encode(errors="replace").decode()  # JSON may name halves of characters
    return PydanticCustomError(UNSUPPORTED, f"{text}.", {"parameter": shown})


def error_body(error: KbError, language: str) -> dict[str, Any]:
    """What a response, or an event of a stream, says of an error."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), error.code)
    param = next((name for kind, name in _PARAMETERS.items() if isinstance(error, kind)), None)
    return _body(status_of(error), join_sentences(*error_text(error, language)), code, param)


def problem(request: Request, error: KbError) -> JSONResponse:
    return JSONResponse(error_body(error, language_of(request)), status_of(error), headers_of(error))


def invalid_problem(error: RequestValidationError) -> JSONResponse:
    """Names the first field that is not valid."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        message = f"The body is not valid JSON: {first['ctx']['error']}."
        return JSONResponse(_body(HTTPStatus.BAD_REQUEST, message, "invalid_json", None), HTTPStatus.BAD_REQUEST)
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    is_unsupported = first["type"] == UNSUPPORTED
    param = where or (first["ctx"]["parameter"] if is_unsupported else None)
    message = str(first["msg"]) if is_unsupported else f"{where}: {first['msg']}"
    if not param:
        message = "The body is not a JSON object. Send one, with Content-Type: application/json."
    return JSONResponse(_body(HTTPStatus.BAD_REQUEST, message, first["type"], param), HTTPStatus.BAD_REQUEST)


def http_problem(request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    text = translate(HTTP_TEXTS.get(status, status.phrase), language_of(request))
    code = status.phrase.lower().replace(" ", "_")
    return JSONResponse(_body(status, text, code, None), status, dict(error.headers or {}))


def _body(status: HTTPStatus, message: str, code: str, param: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": _type(status), "param": param, "code": code}}


def _type(status: HTTPStatus) -> str:
    if status is HTTPStatus.FORBIDDEN:
        return "permission_error"
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
