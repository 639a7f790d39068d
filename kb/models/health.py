"""The health of a service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from kb.errors import KbError


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One service's state, as `/healthz` and the System page show it."""

    name: str
    ok: bool
    detail: str  # its version, or what is wrong
    milliseconds: float
    error: KbError | None = None
    checked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
