"""An OpenTelemetry collector on loopback, to which the spans of this process go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest

from kb.tracing import setup
from kb.tracing.setup import start_tracing, stop_tracing
from tests.fakes.receiver import Receiver
from tests.real_services import missing

TRACES = "/v1/traces"


@dataclass(frozen=True, slots=True)
class SentSpan:
    service: str
    name: str
    trace_id: str
    id: str
    parent_id: str
    kind: str
    has_failed: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()


class Collector(Receiver):
    """`spans` are all that arrived; `raw` is what they arrived as."""

    @property
    def raw(self) -> bytes:
        return b"".join(each.body for each in self.received)

    @property
    def spans(self) -> list[SentSpan]:
        return [span for each in self.received for span in _read(each.body)]

    def named(self, name: str) -> SentSpan:
        """The only one of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def chain(self, span: SentSpan) -> list[str]:
        """The names of the spans that this one is part of, the innermost first."""
        by_id = {each.id: each for each in self.spans}
        found = []
        while parent := by_id.get(span.parent_id):
            found.append(parent.name)
            span = parent
        return found


def _read(body: bytes) -> Iterator[SentSpan]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

    request: Any = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SentSpan(
                    service,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    span.status.code == Status.STATUS_CODE_ERROR,
                    _values(span.attributes),
                    tuple(event.name for event in span.events),
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def need_packages() -> None:
    """Of the extra: without them, the test is skipped, and fails in CI."""
    if find_spec("opentelemetry.sdk") is None:  # the part above comes with FastAPI
        missing("the extra otel is not installed")


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch, role: str = "web", **variables: str) -> Iterator[Collector]:
    """Trace this process. `stop_tracing` has all that waits sent at once."""
    need_packages()
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{collector.authority}")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        start_tracing(role)
        yield collector
        stop_tracing()


def deliver() -> None:
    """Send what waits, and go on."""
    assert setup._running
    setup._running._provider.force_flush()
