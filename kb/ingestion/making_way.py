"""When a large document, in the middle of the work on it, goes back into the queue for others."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from kb.effort import LARGE, LARGE_SECONDS
from kb.ingestion.claims import Job
from kb.ingestion.turns import LargeLane, Turns

# How often a document looks whether others wait.
LOOK_SECONDS = 1.0
# After so long, a large document makes way for one of another knowledge base; or after so many times as long as it took
# to read again what was stored before.
SLICE_SECONDS = 300.0
SLICE_TIMES = 10


class MakesWay(Exception):
    """For another version, which is small or another knowledge base's."""


@dataclass(slots=True)
class Stint:
    """The work on one document until it ends or makes way; moments of the monotonic clock."""

    began: float = field(default_factory=time.monotonic)
    caught_up: float = 0.0  # when the first new chunks were stored; 0 before
    looked: float = 0.0

    def note_stored(self) -> None:
        self.caught_up = self.caught_up or time.monotonic()


def look_for_others(job: Job, stint: Stint, lane: LargeLane, turns: Turns) -> None:
    """Raise `MakesWay` if this document shall not go on now. One that takes long is large, whatever its file's size."""
    now = time.monotonic()
    if now - stint.looked < LOOK_SECONDS:
        return
    stint.looked = now
    if not lane.holds(job.version_id):
        if job.effort < LARGE and now - stint.began < LARGE_SECONDS:
            return
        lane.enter(job.version_id)
    if lane.is_beyond(job.version_id) and turns.smaller_waits(job.effort):
        raise MakesWay
    if not stint.caught_up or lane.has_room:
        return  # what was not stored would be lost
    slice_seconds = max(SLICE_SECONDS, SLICE_TIMES * (stint.caught_up - stint.began))
    if now - stint.began > slice_seconds and turns.other_large_waits(job.knowledge_base.id):
        raise MakesWay
