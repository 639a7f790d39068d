"""Traces: what a request, an answer or an ingestion spent its time on, for an OpenTelemetry collector of the operator.

Other modules know only the names below, and `kb.tracing.setup` to start and stop. Until that finds an address to send
to, nothing is traced and nothing of OpenTelemetry is imported: `span` then returns an object that does nothing.
`kb.tracing.exporting` alone knows OpenTelemetry.

A span holds names of steps, modes, models and servers, codes of errors, numbers and random ids. No question, no text,
no name of a file or a person, and no key. An exception is noted by its code or type, as its message may quote those.
"""

from kb.tracing.spans import NO_SPAN, Kind, Span, carried, carrier, ids, is_on, span

__all__ = ["NO_SPAN", "Kind", "Span", "carried", "carrier", "ids", "is_on", "span"]
