"""The steps of one retrieval, timed as they are taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kb.models import Step


@dataclass(slots=True)
class Note:
    """What a step tells: see `Step`."""

    remaining: int = 0
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)


class Steps:
    """Two threads may take a step at the same time."""

    def __init__(self) -> None:
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
        yield note
        self.taken.append(Step(name, self.milliseconds - before, note.remaining, note.text, note.values))

    def leave_out(self, name: str, reason: str) -> None:
        self.taken.append(Step(name, 0.0, 0, reason))
