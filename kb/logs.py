"""Structured logs: one line per event, with ids, and never an API key or a document's text."""

from __future__ import annotations

import logging
import sys

import structlog

from kb import tracing
from kb.config import Settings
from kb.stderr import lossy

QUIET = ("httpx", "httpx2", "mcp", "openai", "alembic", "pymilvus", "dramatiq.worker.ConsumerThread")


def configure_logs(settings: Settings) -> None:
    """Write events to stderr, as JSON or (LOG_FORMAT=text) for people. Call once, when the process starts."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _show_unseen,
    ]
    last: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if settings.log_format == "text"
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(lossy(sys.stderr)),
        cache_logger_on_first_use=False,
    )
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _add_trace(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """With the ids of the span in which it happened, where there is a trace."""
    return {**event, **tracing.ids()}


def _show_unseen(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """With escapes for what a terminal would obey, or show elsewhere: paths, names and messages are of others."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in event.items()}


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
