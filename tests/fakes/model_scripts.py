"""Scripted replies to a chat request, as real servers give them; the model's name chooses one.

`STREAMS` holds what is sent piece by piece, `REPLIES` whole HTTP replies. Each ends in the text `ANSWER`, reports an
error, or breaks off.
"""

from __future__ import annotations

import json
from typing import Any

ANSWER = "The refund takes 14 days [1]."
DONE = "data: [DONE]\n\n"


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **extra: Any) -> str:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return _data(
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | extra
    )


def _data(value: object) -> str:
    return f"data: {json.dumps(value)}\n\n"


def said(*pieces: str, finish: str | None = "stop") -> list[str]:
    first = event({"role": "assistant", "content": ""})
    return [first, *(event({"content": piece}) for piece in pieces), event({}, finish), DONE]


def _responses(*events: dict[str, Any]) -> list[str]:
    return [f"event: {value['type']}\n{_data(value)}" for value in events]


_USAGE = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
_USAGE_SO_FAR = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
_THOUGHTS = "The user asks about refunds. Passage [2] is not relevant."

STREAMS: dict[str, list[str]] = {
    # Reasoning inside the text.
    "think": said("<think>\nThe user asks about refunds. ", "Passage [2] is not relevant.\n</think>\n\n", ANSWER),
    "think-cut-tags": said("<th", "ink", ">" + _THOUGHTS + "</", "thi", "nk>\n", "\n" + ANSWER),
    "think-by-letter": said(*f"<think>{_THOUGHTS}</think>\n\n{ANSWER}"),
    "think-no-opening": said("The user asks about refunds. ", f"Passage [2] is not relevant.\n</think>\n\n{ANSWER}"),
    "think-empty": said("<think>\n\n</think>\n\n", ANSWER),
    "think-twice": said(
        f"<think>The user asks about refunds.</think>\n<think> Passage [2] is not relevant.</think>{ANSWER}"
    ),
    "think-cut-off": said("<think>The user asks", " about refunds", finish="length"),
    "think-broken": [event({"content": "<think>The user asks"})],
    "think-quoted": said("The tag `</think>` ends it:\n```\n<think>\n</think>\n```\n" + ANSWER),
    # Reasoning in fields of its own.
    "reasoning-content": [
        event({"role": "assistant", "content": None, "reasoning_content": "The user asks about refunds. "}),
        event({"content": None, "reasoning_content": "Passage [2] is not relevant."}),
        *said("\n\n" + ANSWER)[1:],
    ],
    "reasoning-field": [event({"content": "", "reasoning": _THOUGHTS}), *said(ANSWER)[1:]],
    "reasoning-details": [
        event({"content": "", "reasoning_details": [{"type": "reasoning.text", "text": _THOUGHTS}]}),
        *said(ANSWER)[1:],
    ],
    "reasoning-twice": [
        event(
            {
                "content": "",
                "reasoning": _THOUGHTS,
                "reasoning_details": [{"type": "reasoning.text", "text": _THOUGHTS}],
            }
        ),
        *said(ANSWER)[1:],
    ],
    "reasoning-parts": [
        event({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": _THOUGHTS}]}]}),
        event({"content": [{"type": "text", "text": ANSWER}]}),
        event({}, "stop"),
        DONE,
    ],
    # Ends.
    "no-finish": [event({"role": "assistant", "content": ANSWER}), DONE],
    "empty-finish": [event({"content": ANSWER[:10]}, ""), event({"content": ANSWER[10:]}, ""), DONE],
    "no-done": said(ANSWER)[:-1],
    "finish-eos": said(ANSWER, finish="eos_token"),
    "finish-null": said(ANSWER, finish="null"),
    "finish-upper": said(ANSWER, finish="STOP"),
    "finish-max-tokens": said("The refund takes", finish="MAX_TOKENS"),
    "finish-safety": said("The refund takes", finish="content_filter: SAFETY"),
    "finish-recitation": said("The refund takes", finish="RECITATION"),
    "null-each-broken": [event({"content": "The refund"}, "null"), event({"content": " takes"}, "null")],
    "stop-each": [event({"content": ANSWER[:10]}, "stop"), event({"content": ANSWER[10:]}, "stop"), DONE],
    "neither-end": [event({"content": ANSWER})],
    "cut-event": [event({"content": "The refund"}), 'data: {"choices": [{"delta": {"con'],
    "tool-call": [
        event({"content": None, "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}),
        event({}, "tool_calls"),
        DONE,
    ],
    # Odd chunks.
    "azure": [_data({"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}), *said(ANSWER)],
    "usage": [*said(ANSWER)[:-1], _data({"choices": [], "usage": _USAGE}), DONE],
    "usage-null-choices": [*said(ANSWER)[:-1], _data({"choices": None, "usage": _USAGE}), DONE],
    "usage-each": [
        event({"content": ANSWER[:10]}, usage=_USAGE_SO_FAR),
        event({"content": ANSWER[10:]}, usage=_USAGE_SO_FAR),
        event({}, "stop", usage=_USAGE),
        DONE,
    ],
    "usage-in-choice": [
        event({"content": ANSWER}),
        _data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": _USAGE}]}),
        DONE,
    ],
    "usage-nonsense": [event({"content": ANSWER}), event({}, "stop", usage=_USAGE | {"prompt_tokens": 10**30}), DONE],
    "message-beside-delta": [
        event({"content": ANSWER}),
        _data({"choices": [{"delta": {}, "message": {"content": ANSWER}, "finish_reason": "stop"}]}),
        DONE,
    ],
    "delta-text": [_data({"choices": [{"delta": "", "message": None}]}), *said(ANSWER)],
    "halves": [
        event({"content": "", "reasoning_content": "So \ud83d"}),
        event({"content": "", "reasoning_content": "\ude00.\0"}),
        *said("Pears\0 \ud83d", "\ude00 and \ude00 ", "trees? \ud83d"),
    ],
    "choice-null": [_data({"choices": [None]}), *said(ANSWER)],
    "keepalive": [": PROCESSING\n\n", ": PROCESSING\n\n", *said(ANSWER)],
    "crlf": [part.replace("\n", "\r\n") for part in said(ANSWER)],
    "no-space": [part.replace("data: ", "data:") for part in said(ANSWER)],
    "delta-null": [
        event({"content": ANSWER[:10]}),
        _data({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
        *said(ANSWER[10:])[1:],
    ],
    "content-list": [event({"content": [{"type": "text", "text": ANSWER}]}), event({}, "stop"), DONE],
    "line-separators": said("One\u2028two\x85three. " + ANSWER),
    "refusal": [event({"content": None, "refusal": ANSWER}), event({}, "stop"), DONE],
    # Errors in the stream.
    "error-event": [
        event({"content": "Half"}),
        _data({"error": {"message": "Rate limit reached for tokens per minute", "type": "tokens", "code": 429}}),
    ],
    "error-first": [_data({"error": {"message": "insufficient quota", "code": "insufficient_quota"}}), DONE],
    "error-half": [_data({"error": {"message": "No capacity for \ud83d"}})],
    "error-text": [_data({"error": "llama runner process has terminated"})],
    "error-vllm": [_data({"object": "error", "message": "CUDA out of memory", "code": 500}), DONE],
    "error-fastchat": [_data({"text": "The worker has no free slot", "error_code": 50004}), DONE],
}

# Served under /v1/responses to a model that takes nothing else.
RESPONSES: dict[str, list[str]] = {
    "responses-only": _responses(
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.reasoning_summary_text.delta", "delta": _THOUGHTS},
        {"type": "response.output_text.delta", "delta": ANSWER[:10]},
        {"type": "response.output_text.delta", "delta": ANSWER[10:]},
        {
            "type": "response.completed",
            "response": {"status": "completed", "usage": {"input_tokens": 7, "output_tokens": 9}},
        },
    ),
    "responses-cut-off": _responses(
        {"type": "response.output_text.delta", "delta": "The refund"},
        {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}},
    ),
    "responses-failed": _responses(
        {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "No capacity"}}},
    ),
}

# Options of a request that a model does not take, and the refusal: status and body.
REFUSED_OPTIONS: dict[str, dict[str, tuple[int, dict[str, Any]]]] = {
    "no-stream-options": {"stream_options": (400, {"error": {"message": "Unknown field: stream_options"}})},
    "no-stream-options-422": {
        "stream_options": (
            422,
            {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted", "type": "extra"}]},
        )
    },
    "no-stream-options-wordless": {"stream_options": (400, {"error": {"message": "Bad request"}})},
    "no-temperature": {
        "temperature": (
            400,
            {
                "error": {
                    "message": "Unsupported value: 'temperature' does not support 0.3 with this model. Only the "
                    "default (1) value is supported.",
                    "param": "temperature",
                    "code": "unsupported_value",
                }
            },
        )
    },
    "only-new-length": {
        "max_tokens": (
            400,
            {
                "error": {
                    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                    "'max_completion_tokens' instead.",
                    "param": "max_tokens",
                    "code": "unsupported_parameter",
                }
            },
        )
    },
    "no-options": {
        name: (400, {"error": {"message": f"Unrecognized request argument supplied: {name}"}})
        for name in ("stream_options", "temperature", "max_tokens", "max_completion_tokens")
    },
    "bad-temperature": {"temperature": (400, {"error": {"message": "temperature is out of range [0, 0.2]"}})},
    "bad-length": {
        "max_tokens": (
            400,
            {"error": {"message": "Invalid max_tokens value, the valid range of max_tokens is [1, 8]"}},
        )
    },
}

_RESPONSES_ONLY = "This model is only supported in v1/responses and not in v1/chat/completions."
_JSON, _HTML, _TEXT = "application/json", "text/html; charset=utf-8", "text/plain"


def _whole(message: dict[str, Any]) -> str:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}, indent=2)


def _error(message: str, **more: Any) -> str:
    return json.dumps({"error": {"message": message} | more})


# Status, content type and body.
REPLIES: dict[str, tuple[int, str, str]] = {
    "200-json": (200, _JSON, _whole({"content": ANSWER})),
    "200-json-think": (200, _JSON, _whole({"content": f"<think>{_THOUGHTS}</think>{ANSWER}"})),
    "200-json-reasoning": (200, _JSON, _whole({"content": ANSWER, "reasoning_content": _THOUGHTS})),
    "200-json-as-stream": (200, "text/event-stream", _whole({"content": ANSWER})),
    "200-stream-as-json": (200, _JSON, "".join(said(ANSWER))),
    "200-error-json": (200, _JSON, _error("No available channel for model gpt-4o", type="new_api_error")),
    "200-code-msg": (200, _JSON, json.dumps({"code": 1001, "msg": "余额不足"}, ensure_ascii=False)),
    "200-null-choices": (
        200,
        _JSON,
        json.dumps({"id": "x", "choices": None, "base_resp": {"status_code": 1026, "status_msg": "input sensitive"}}),
    ),
    "200-html": (200, _HTML, "<!doctype html>\n<html><body>Login</body></html>"),
    "200-other-json": (200, _JSON, json.dumps({"hello": "world"})),
    "200-empty": (200, _JSON, ""),
    "400-plain": (400, _TEXT, "System role not supported"),
    "400-context": (
        400,
        _JSON,
        _error(
            "This model's maximum context length is 4096 tokens. However, you requested 5120 tokens.",
            code="context_length_exceeded",
        ),
    ),
    "400-vllm": (
        400,
        _JSON,
        json.dumps(
            {
                "object": "error",
                "message": "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens.",
                "type": "BadRequestError",
                "code": 400,
            }
        ),
    ),
    "400-llama-cpp": (
        400,
        _JSON,
        _error(
            "the request exceeds the available context size, try increasing it",
            code=400,
            type="exceed_context_size_error",
        ),
    ),
    "400-qwen": (400, _JSON, _error("Range of input length should be [1, 30720]", code="invalid_parameter_error")),
    "401-json": (401, _JSON, _error("Incorrect API key provided: sk-secret-0123456789.", code="invalid_api_key")),
    "401-empty": (401, _JSON, ""),
    "402": (402, _JSON, _error("Insufficient Balance", type="unknown_error", code="invalid_request_error")),
    "403-region": (403, _JSON, _error("Country, region, or territory not supported", code="unsupported_country")),
    "403-key": (403, _JSON, _error("The API key is disabled", code="forbidden")),
    "403-empty": (403, _HTML, "<html><body><h1>403 Forbidden</h1></body></html>"),
    "404-deployment": (
        404,
        _JSON,
        _error("The API deployment for this resource does not exist.", code="DeploymentNotFound"),
    ),
    "404-ollama": (404, _JSON, _error("model '404-ollama' not found, try pulling it first", type="api_error")),
    "404-fastapi": (404, _JSON, json.dumps({"detail": "Not Found"})),
    "404-html": (404, _HTML, "<html><body>404 Not Found</body></html>"),
    "413-html": (413, _HTML, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
    "422-detail": (
        422,
        _JSON,
        json.dumps(
            {
                "detail": [
                    {
                        "loc": ["body", "messages", 0, "role"],
                        "msg": "unexpected value; permitted: 'user', 'assistant'",
                        "type": "value_error",
                    }
                ]
            }
        ),
    ),
    "429-quota": (
        429,
        _JSON,
        _error("You exceeded your current quota, please check your plan.", code="insufficient_quota"),
    ),
    "429-tokens": (429, _JSON, _error("Too many tokens, please wait before trying again.", code="throttled")),
    "500-text": (
        500,
        _JSON,
        json.dumps({"error": "model requires more system memory (9.1 GiB) than is available (3.2 GiB)"}),
    ),
    "500-message": (500, _JSON, json.dumps({"message": "Internal error in worker 3"})),
    "502-html": (502, _HTML, "<html><body><h1>502 Bad Gateway</h1></body></html>"),
    "502-openrouter": (
        502,
        _JSON,
        _error(
            "Provider returned error", code=502, metadata={"raw": '{"error": {"message": "Upstream is overloaded"}}'}
        ),
    ),
    "503-loading": (503, _JSON, _error("Loading model", code=503, type="unavailable_error")),
    "529-unknown": (529, _JSON, _error("Overloaded", type="overloaded_error")),
    **{name: (404, _JSON, _error(_RESPONSES_ONLY, param="model")) for name in RESPONSES},
}
