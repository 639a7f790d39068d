"""How HTTP tells of which error: its status, and headers for programs."""

from __future__ import annotations

from http import HTTPStatus

from kb.errors import (
    AccountSuspended,
    AdministratorsOnly,
    AnswerRunning,
    AwaitsApproval,
    ContentTooLarge,
    EditNotAllowed,
    FileNotSaved,
    IdempotencyKeyReused,
    IdentityTaken,
    InternalError,
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
    NotConnected,
    NotFound,
    OutOfScope,
    OwnerOnly,
    PageClosed,
    PageNotDrawn,
    PersonOnly,
    QueueFull,
    RequestRunning,
    RequestStalled,
    SetupError,
    SignedOut,
    SignInFailed,
    StorageFull,
    TooManyAnswers,
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
    AccountSuspended: HTTPStatus.FORBIDDEN,
    AwaitsApproval: HTTPStatus.FORBIDDEN,
    NotConnected: HTTPStatus.FORBIDDEN,
    IdentityTaken: HTTPStatus.CONFLICT,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    TooManyAnswers: HTTPStatus.TOO_MANY_REQUESTS,
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
    ContentTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    StorageFull: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,  # sent again, it would be too large again
    QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    RequestStalled: HTTPStatus.REQUEST_TIMEOUT,
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
    InternalError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
# In how many seconds it is worth asking again, where the error itself does not say.
RETRY_SECONDS: dict[type[KbError], int] = {QueueFull: 15, RequestRunning: 5, Unavailable: 10}


def status_of(error: KbError) -> HTTPStatus:
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)


def headers_of(error: KbError) -> dict[str, str]:
    """What a program's reply says of the error beside its status."""
    if isinstance(error, KeyRefused):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, (TooManyRequests, TooManyAnswers)):
        return {"Retry-After": str(error.values["seconds"])}
    found = next((seconds for kind, seconds in RETRY_SECONDS.items() if isinstance(error, kind)), None)
    return {} if found is None else {"Retry-After": str(found)}
