"""Whose lease is not renewed any more, told without comparing the clocks of two hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Lease(NamedTuple):
    """A claim's lease as SQL has it; each heartbeat makes it another one."""

    version_id: UUID
    owner: str
    until: datetime | None


class LeaseWatch:
    """What one reaper saw of the leases of others.

    Clocks are stepped, and those of hosts differ: a lease may be over by the clock of its reaper, though it is renewed
    every two seconds, or end tomorrow, though its worker is dead. So a lease is over once the reaper has seen it
    unchanged for `lease_seconds`; for `patience_seconds`, if it is over by the clock as well. `elapsed` gives seconds
    of a clock that nobody sets.
    """

    def __init__(self, lease_seconds: float, patience_seconds: float, elapsed: Callable[[], float]) -> None:
        self._lease_seconds = lease_seconds
        self._patience_seconds = patience_seconds
        self._elapsed = elapsed
        self._seen: dict[Lease, float] = {}

    def silent(self, leases: Iterable[Lease], moment: datetime) -> set[Lease]:
        """Those of `leases`, which are all that there are, that are over."""
        now = self._elapsed()
        self._seen = {lease: self._seen.get(lease, now) for lease in leases}
        return {lease for lease, since in self._seen.items() if now - since >= self._patience(lease, moment)}

    def _patience(self, lease: Lease, moment: datetime) -> float:
        is_over = lease.until is not None and lease.until < moment
        return self._patience_seconds if is_over else self._lease_seconds
