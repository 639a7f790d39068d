"""Spans: timed pieces of work, which know what they are part of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from enum import Enum, auto
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Value = str | bool | int | float
Attributes = Mapping[str, Value]
Carrier = Mapping[str, str]  # the headers of the W3C's Trace Context


class Kind(Enum):
    """OpenTelemetry's kinds of spans."""

    INTERNAL = auto()
    SERVER = auto()
    CLIENT = auto()
    PRODUCER = auto()
    CONSUMER = auto()


class Span:
    """Times the block of a `with`. This one does nothing: it stands in where nothing is traced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def note(self, attributes: Attributes) -> None:
        """Add what became known."""

    def rename(self, name: str) -> None:
        """Names tell kinds of work apart, so there are few: ids and the like are attributes."""

    def event(self, name: str, after_ms: float) -> None:
        """Something happened so long after the span began."""

    def fail(self, reason: BaseException | str) -> None:
        """The work failed. An `Exception` that leaves the block of a `with` need not be told."""

    def resumed(self) -> AbstractContextManager[None]:
        """Work on it for a block, without ending it: for work that takes turns. See `end`."""
        return nullcontext()

    def end(self) -> None:
        """For one that was not begun by `with`: it ended with the last block of `resumed`."""


class Tracer(Protocol):
    """What makes spans that are sent: see `kb.tracing.exporting`."""

    def begin(
        self,
        name: str,
        attributes: Attributes | None,
        kind: Kind,
        parent: Carrier | None,
        is_current: bool,
    ) -> Span: ...

    def carrier(self) -> Carrier: ...

    def ids(self) -> dict[str, str]: ...


NO_SPAN = Span()
_tracer: Tracer | None = None  # of this process, like its loggers and counters


def install(tracer: Tracer | None) -> None:
    """Have spans made by `tracer` from now on; None: by nobody."""
    global _tracer
    _tracer = tracer


def is_on() -> bool:
    """Whether anything is traced; to ask before work that only a span needs."""
    return _tracer is not None


def span(
    name: str,
    attributes: Attributes | None = None,
    kind: Kind = Kind.INTERNAL,
    *,
    parent: Carrier | None = None,
    is_current: bool = True,
) -> Span:
    """Begin a piece of work, part of the one that this thread or task is in, or of `parent`, if that names one.

    `is_current`: what begins inside the `with` is part of it. Not for a generator, whose block is left at each `yield`.
    """
    tracer = _tracer
    return tracer.begin(name, attributes, kind, parent, is_current) if tracer else NO_SPAN


def carrier() -> Carrier:
    """Names the span of now, for another process; empty without one."""
    tracer = _tracer
    return tracer.carrier() if tracer else {}


def ids() -> dict[str, str]:
    """The ids of the span of now, for a line of the log; empty without one."""
    tracer = _tracer
    return tracer.ids() if tracer else {}


def carried(function: Callable[P, R]) -> Callable[P, R]:
    """`function` for another thread: there, spans are part of that of now. Call it once."""
    if _tracer is None:
        return function
    context = copy_context()

    def call(*arguments: P.args, **options: P.kwargs) -> R:
        return context.run(function, *arguments, **options)

    return call
