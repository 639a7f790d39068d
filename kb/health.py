"""Whether each service answers, for `/healthz` and the System page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from kb.errors import KbError
from kb.models import ServiceHealth


def check_health(pings: Mapping[str, Callable[[], str]]) -> list[ServiceHealth]:
    """Ping all services at once. Each ping returns a version or raises a `KbError` within seconds."""
    with ThreadPoolExecutor(len(pings)) as pool:
        return list(pool.map(lambda item: _check(*item), pings.items()))


def _check(name: str, ping: Callable[[], str]) -> ServiceHealth:
    began = time.perf_counter()
    error: KbError | None = None
    try:
        detail = ping()
    except KbError as caught:
        error, detail = caught, str(caught)
    return ServiceHealth(name, error is None, detail, (time.perf_counter() - began) * 1000, error)
