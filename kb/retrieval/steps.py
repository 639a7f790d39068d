"""The steps of one retrieval, timed as they are taken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from kb import tracing
from kb.models import Step


@dataclass(slots=True)
class Note:
    """What a step tells: see `Step`."""

    remaining: int = 0
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)


class Steps:
    """Two threads may take a step at the same time."""

    def __init__(self, knowledge_base: str = "") -> None:
        """`knowledge_base` is the name of the one that the steps are taken in, if several are asked."""
        self._knowledge_base = knowledge_base
        self.taken: list[Step] = []
        self._began = time.perf_counter()

    @property
    def milliseconds(self) -> float:
        """Since the first step could begin."""
        return (time.perf_counter() - self._began) * 1000

    @contextmanager
    def take(self, name: str) -> Iterator[Note]:
        """Time a step and note what it left; one that fails is not listed."""
        note, before = Note(), self.milliseconds
        with tracing.span(name) as span:
            yield note
            span.note({"zhiwen.retrieval.remaining": note.remaining})
        milliseconds = self.milliseconds - before
        self._add(Step(name, milliseconds, note.remaining, note.text, note.values))

    def leave_out(self, name: str, reason: str, values: Mapping[str, str] | None = None) -> None:
        self._add(Step(name, note=reason, note_values=dict(values or {})))

    def _add(self, step: Step) -> None:
        self.taken.append(replace(step, knowledge_base=self._knowledge_base))
