"""Spans that OpenTelemetry's SDK makes, and sends to a collector over HTTP.

The provider is ours alone, not the process's: else FastAPI, MCP's SDK and others, which use the global one, would send
spans with what they see fit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import metadata
from time import time_ns
from types import TracebackType
from typing import Any, Self

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from kb.deadlines import within
from kb.errors import KbError
from kb.tracing.spans import Attributes, Carrier, Kind, Span

PACKAGE = "zhiwen"
UNNAMED = "unknown_service"  # what the SDK calls a service without a name
# They write a line for each attempt and for each span that finds the queue full; `_Watched` writes one.
TALKATIVE = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")

_KINDS = {kind: SpanKind[kind.name] for kind in Kind}
_W3C = TraceContextTextMapPropagator()

log = structlog.get_logger()


class SentSpan(Span):
    def __init__(self, span: trace.Span, is_current: bool) -> None:
        self._span = span
        self._is_current = is_current
        self._token: Any = None
        self._until: int | None = None  # nanoseconds; None: now

    def __enter__(self) -> Self:
        if self._is_current:
            self._token = self._attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            otel_context.detach(self._token)
        if isinstance(error, Exception):  # else the work was cancelled, or the process ends
            self.fail(error)
        self.end()

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def event(self, name: str, after_ms: float) -> None:
        began: int | None = getattr(self._span, "start_time", None)  # one that is not sampled has none
        if began is not None:
            self._span.add_event(name, timestamp=began + round(after_ms * 1e6))

    def fail(self, reason: BaseException | str) -> None:
        self._span.set_attribute("error.type", reason if isinstance(reason, str) else _type_of(reason))
        self._span.set_status(Status(StatusCode.ERROR))

    def resumed(self) -> AbstractContextManager[None]:
        return self._resumed()

    @contextmanager
    def _resumed(self) -> Iterator[None]:
        token = self._attach()
        try:
            yield
        finally:
            otel_context.detach(token)
            self._until = time_ns()

    def end(self) -> None:
        self._span.end(self._until)

    def _attach(self) -> Any:
        return otel_context.attach(trace.set_span_in_context(self._span))


def _type_of(error: BaseException) -> str:
    return error.code if isinstance(error, KbError) else type(error).__qualname__


class Exporting:
    """The tracer of a process (`kb.tracing.spans.Tracer`), with its exporter.

    Spans wait in a queue of 2,048 (OTEL_BSP_MAX_QUEUE_SIZE), and a thread sends them: work never waits for a collector.
    """

    def __init__(self, role: str, host: str) -> None:
        """`role` is that of the process: web or worker. Reads the variables of OpenTelemetry; errors: `ValueError`."""
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        version = metadata.version(PACKAGE)
        resource = Resource.create({SERVICE_VERSION: version})
        if str(resource.attributes.get(SERVICE_NAME, UNNAMED)).startswith(UNNAMED):
            resource = resource.merge(Resource({SERVICE_NAME: f"{PACKAGE}-{role}"}))
        self._exporter = _Watched(host)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter: Any = self._exporter
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(PACKAGE, version)

    def begin(
        self,
        name: str,
        attributes: Attributes | None,
        kind: Kind,
        parent: Carrier | None,
        is_current: bool,
    ) -> Span:
        context = None if parent is None else _W3C.extract(parent, Context())
        return SentSpan(self._tracer.start_span(name, context, _KINDS[kind], attributes), is_current)

    def carrier(self) -> Carrier:
        found: dict[str, str] = {}
        _W3C.inject(found)
        return found

    def ids(self) -> dict[str, str]:
        now = trace.get_current_span().get_span_context()
        if not now.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(now.trace_id), "span_id": trace.format_span_id(now.span_id)}

    def close(self, seconds: float) -> None:
        """Send what waits, unless the collector is away; then, or if that takes longer, it is lost."""
        if self._exporter.is_failing:
            self._exporter.shutdown()
        with suppress(TimeoutError):
            within(seconds, self._provider.shutdown)


class _Watched:
    """The exporter; says once that the collector does not take the spans, and once that it does again."""

    def __init__(self, host: str) -> None:
        self._exporter: Any = OTLPSpanExporter()
        self._host = host
        self._is_closed = False
        self.is_failing = False

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        result: SpanExportResult = self._exporter.export(spans)
        has_failed = result is not SpanExportResult.SUCCESS
        if has_failed and not self.is_failing:
            log.warning("tracing.not_sent", host=self._host, remedy="Check OTEL_EXPORTER_OTLP_ENDPOINT and _HEADERS.")
        elif self.is_failing and not has_failed:
            log.info("tracing.sent_again", host=self._host)
        self.is_failing = has_failed
        return result

    def shutdown(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True  # it keeps nothing


def takes_spans() -> bool:
    """Whether the collector takes a delivery, without any span in it."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    exporter: Any = OTLPSpanExporter(timeout=3)
    try:
        return exporter.export(()) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()
