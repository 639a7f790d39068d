"""How a call of a model appears in a trace: by OpenTelemetry's conventions for generative AI, without what is said."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from kb import tracing

OPENAI = "openai"  # also for servers that speak its protocol, as the conventions have it


def model_span(
    operation: str, model: str, host: str, provider: str = OPENAI, *, is_current: bool = True
) -> tracing.Span:
    """`operation`: chat, embeddings or rerank. `host`: host:port; empty where a package knows it."""
    if not tracing.is_on():
        return tracing.NO_SPAN
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
    }
    with suppress(ValueError):  # no address; the call will say so
        server = urlsplit(f"//{host}")
        if server.hostname:
            attributes["server.address"] = server.hostname
        if server.port:
            attributes["server.port"] = server.port
    return tracing.span(f"{operation} {model}", attributes, tracing.Kind.CLIENT, is_current=is_current)
