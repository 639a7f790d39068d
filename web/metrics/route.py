"""The route, and who may read it."""

from __future__ import annotations

import hmac
import platform
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address

import anyio
import anyio.to_thread
import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Gauge, Metric, ProcessCollector, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from kb.config import Settings, load_settings
from kb.errors import KbError
from kb.metrics import PROCESS
from pages.ui import resources
from pages.ui.resources import Web
from web.base_path import BASE_PATH
from web.metrics.state import State

log = structlog.get_logger()

_BY_PROXIES = ("forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip")  # and all of x-forwarded-*
_build = Gauge("zhiwen_build_info", "The version, always 1.", ["version", "python"], registry=PROCESS)


class MetricsRoute(Collector):
    """Answers `/metrics`. Who may not read it gets 401 if there is a token, else 404."""

    def __init__(self, load: Callable[[], Settings] = load_settings) -> None:
        self._load = load
        self._state: tuple[Web, State] | None = None
        self._reading = anyio.CapacityLimiter(1)  # so that a service that hangs holds one thread

    @cached_property
    def _settings(self) -> Settings:
        return self._load()

    async def reply(self, request: Request) -> Response:
        try:
            refused = refusal(request, self._settings)
        except KbError:  # the pages say what is wrong with the settings
            refused = 404
        if refused:
            log.info("metrics.refused", status=refused, setting="METRICS_TOKEN")
            return Response(status_code=refused, headers={"WWW-Authenticate": "Bearer"} if refused == 401 else None)
        text = await anyio.to_thread.run_sync(generate_latest, self, limiter=self._reading)
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"})

    def collect(self) -> Iterator[Metric]:
        """All that there is; before the services are connected, what this process knows of itself."""
        yield from PROCESS.collect()
        if web := resources.started():
            yield from self._state_of(web).collect()

    def _state_of(self, web: Web) -> State:
        known = self._state
        if known is None or known[0] is not web:
            services, answers = web.services, web.answers
            state = State(
                services.database,
                services.quick_redis,
                services.board,
                lambda: web.health_monitor.responding(),
                lambda: answers.running,
            )
            self._state = known = (web, state)
        return known[1]


def refusal(connection: HTTPConnection, settings: Settings) -> int | None:
    """The status for somebody who may not read metrics.

    Without a token, that is everybody but this machine's users. PUBLIC_URLS means that a proxy, or a tunnel, may hand
    on what others ask, and many do not say so.
    """
    token = settings.metrics_token.get_secret_value()
    if token:
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), token.encode())
        return None if is_right and scheme.lower() == "bearer" else 401
    is_forwarded = any(name in _BY_PROXIES or name.startswith("x-forwarded-") for name in connection.headers)
    is_here = connection.client is not None and _is_loopback(connection.client.host)
    return None if is_here and not is_forwarded and not settings.public_urls.split() else 404


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:  # a Unix socket
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _version() -> str:
    try:
        return version("zhiwen")
    except PackageNotFoundError:
        return "unknown"


_build.labels(_version(), platform.python_version()).set(1)
ProcessCollector(registry=PROCESS)  # memory, processor, open files: on Linux


def metrics_routes() -> list[Route]:
    return [Route(f"{BASE_PATH}metrics", MetricsRoute().reply)]
