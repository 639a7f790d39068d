"""How an ingestion ends that does not become ready: it waits, makes way, fails, is cancelled, or lost its lease."""

from __future__ import annotations

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger as BoundLogger

from kb.errors import Cancelled, KbError, LeaseLost
from kb.ingestion.claims import Claims, Job
from kb.ingestion.cleanup import Cleanup
from kb.metrics import note_ingested
from kb.models import VersionState


class Endings:
    """Notes an end in SQL, and removes what was stored in vain. `bound` is the log of the version.

    Each returns the version's state afterwards, None where the claim was lost.
    """

    def __init__(self, claims: Claims, cleanup: Cleanup) -> None:
        self._claims = claims
        self._cleanup = cleanup

    def give_up_or_wait(self, job: Job, error: KbError, bound: BoundLogger) -> VersionState | None:
        """Put it back into the queue if the error may pass by itself, else note that it failed."""
        try:
            if error.transient and self._claims.postpone(job, error):
                bound.warning("ingestion.postponed", reason=error.code)
                note_ingested("postponed", error.code)
                return VersionState.QUEUED
        except LeaseLost:
            self.lose(job, bound)
            return None
        except Cancelled:
            return self.cancel(job, bound)
        return self.give_up(job, error, bound)

    def make_way(self, job: Job, bound: BoundLogger) -> VersionState | None:
        """Put it back into the queue: smaller documents wait."""
        try:
            self._claims.make_way(job)
        except LeaseLost:
            self.lose(job, bound)
            return None
        except Cancelled:
            return self.cancel(job, bound)
        except KbError as error:
            bound.warning("ingestion.not_put_back", reason=error.code)  # the lease runs out
            return None
        bound.info("ingestion.made_way")
        note_ingested("made_way")
        return VersionState.QUEUED

    def cancel(self, job: Job, bound: BoundLogger) -> VersionState | None:
        """Note that its user cancelled it."""
        return self._end(job, VersionState.CANCELLED, lambda: self._claims.cancel(job), bound)

    def give_up(self, job: Job, error: KbError, bound: BoundLogger) -> VersionState | None:
        """Note that it failed, and why."""
        bound = bound.bind(reason=error.code)
        return self._end(job, VersionState.FAILED, lambda: self._claims.fail(job, error), bound, error.code)

    def lose(self, job: Job, bound: BoundLogger) -> None:
        """Clear what was stored after the lease was lost; another worker may have the version now."""
        bound.warning("ingestion.lease_lost")
        note_ingested("lost")
        try:
            self._cleanup.clear_leftovers(job.version_id, job.knowledge_base)
        except KbError as error:
            bound.warning("cleanup.postponed", reason=error.code)

    def _end(
        self, job: Job, state: VersionState, note: Callable[[], None], bound: BoundLogger, error_code: str = ""
    ) -> VersionState | None:
        """Note the end in SQL, then remove what was stored; what cannot be removed now, the reaper will."""
        try:
            note()
            bound.info(f"ingestion.{state}")
            note_ingested(state.value, error_code)
            self._cleanup.clear_version(job.version_id)
        except LeaseLost:
            self.lose(job, bound)
            return None
        except KbError as error:
            bound.warning("cleanup.postponed", reason=error.code)
        return state
