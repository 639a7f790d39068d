"""Which HTTP status tells of which error."""

from __future__ import annotations

from http import HTTPStatus

from kb.errors import (
    AdministratorsOnly,
    AnswerRunning,
    EditNotAllowed,
    FileNotSaved,
    IdempotencyKeyReused,
    KbError,
    KeyRefused,
    ModelContextExceeded,
    ModelError,
    ModelNotServed,
    ModelRateLimited,
    ModelServerError,
    ModelTimeout,
    ModelUnreachable,
    NameTaken,
    NoChatModel,
    NotFound,
    OutOfScope,
    OwnerOnly,
    PageClosed,
    PageNotDrawn,
    PersonOnly,
    RequestRunning,
    SetupError,
    SignedOut,
    SignInFailed,
    TooManyAttempts,
    TooManyRequests,
    Unavailable,
    UploadStalled,
    UploadTooLarge,
    WrongState,
)

# The first that fits counts.
STATUS: dict[type[KbError], HTTPStatus] = {
    KeyRefused: HTTPStatus.UNAUTHORIZED,
    SignedOut: HTTPStatus.UNAUTHORIZED,
    SignInFailed: HTTPStatus.UNAUTHORIZED,
    AdministratorsOnly: HTTPStatus.FORBIDDEN,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    PageClosed: HTTPStatus.FORBIDDEN,
    EditNotAllowed: HTTPStatus.FORBIDDEN,
    OwnerOnly: HTTPStatus.FORBIDDEN,
    OutOfScope: HTTPStatus.FORBIDDEN,
    PersonOnly: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    ModelNotServed: HTTPStatus.NOT_FOUND,
    NameTaken: HTTPStatus.CONFLICT,
    WrongState: HTTPStatus.CONFLICT,
    AnswerRunning: HTTPStatus.CONFLICT,
    RequestRunning: HTTPStatus.CONFLICT,
    IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    PageNotDrawn: HTTPStatus.UNPROCESSABLE_ENTITY,
    UploadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UploadStalled: HTTPStatus.REQUEST_TIMEOUT,
    FileNotSaved: HTTPStatus.INSUFFICIENT_STORAGE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    SetupError: HTTPStatus.SERVICE_UNAVAILABLE,
    NoChatModel: HTTPStatus.SERVICE_UNAVAILABLE,
    ModelRateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    ModelTimeout: HTTPStatus.GATEWAY_TIMEOUT,
    ModelUnreachable: HTTPStatus.SERVICE_UNAVAILABLE,
    ModelServerError: HTTPStatus.SERVICE_UNAVAILABLE,
    ModelContextExceeded: HTTPStatus.BAD_REQUEST,
    ModelError: HTTPStatus.BAD_GATEWAY,
}


def status_of(error: KbError) -> HTTPStatus:
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
