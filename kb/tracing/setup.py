"""Starts and stops tracing, as the standard variables of OpenTelemetry have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from kb.config import is_web_address, telemetry_variables
from kb.environment import adding, reach_directly
from kb.tracing.spans import install

if TYPE_CHECKING:
    from kb.tracing.exporting import Exporting

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
STOP_SECONDS = 2.0  # to send what waits when the process ends

log = structlog.get_logger()
_running: Exporting | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """Where the variables say that traces go, and why they cannot."""

    setting: str
    address: str
    problem: str = ""
    remedy: str = ""

    @property
    def host(self) -> str:
        """host:port, without any user or password."""
        return urlsplit(self.address).netloc.rpartition("@")[2]


def find_wish(variables: Mapping[str, str]) -> Wish | None:
    """None: nothing is to be sent."""
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if "otlp" not in variables.get("OTEL_TRACES_EXPORTER", "otlp").replace(" ", "").split(","):
        return None
    setting = next((name for name in ENDPOINTS if variables.get(name)), "")
    if not setting:
        return None
    address = variables[setting]
    if not is_web_address(address):
        return Wish(setting, "", "it is no web address", "Write it as http://collector:4318")
    protocol = next((variables[name] for name in PROTOCOLS if variables.get(name)), PROTOCOL)
    if protocol.strip().lower() != PROTOCOL:
        return Wish(
            setting, address, f"Zhiwen sends {PROTOCOL} only", "Name the collector's port for that, mostly 4318."
        )
    if not _are_installed(PACKAGES):
        return Wish(setting, address, "OpenTelemetry's packages are not installed", 'pip install "zhiwen[otel]"')
    return Wish(setting, address)


def start_tracing(role: str) -> None:
    """Send the traces of this process from now on, if that is wanted. `role`: web or worker. Never raises.

    Call it once the logs are configured.
    """
    global _running
    variables = telemetry_variables()
    wish = find_wish(variables)
    if wish is None or _running:
        return
    if wish.problem:
        log.warning("tracing.off", setting=wish.setting, detail=wish.problem, remedy=wish.remedy)
        return
    reach_directly(wish.address)
    try:
        from kb.tracing.exporting import Exporting

        with adding(variables):
            _running = Exporting(role, wish.host)
    except Exception as error:  # noqa: BLE001 - a wrong variable must not keep the process from starting
        log.warning(
            "tracing.off", setting=wish.setting, detail=type(error).__name__, remedy="Check the OTEL_ variables."
        )
        return
    install(_running)
    log.info("tracing.started", host=wish.host)


def stop_tracing(seconds: float = STOP_SECONDS) -> None:
    """Send what waits, for at most so long. Nothing happens if nothing is traced."""
    global _running
    install(None)
    running, _running = _running, None
    if running:
        running.close(seconds)


def _are_installed(modules: tuple[str, ...]) -> bool:
    try:
        return all(find_spec(name) for name in modules)
    except ModuleNotFoundError:  # of a package above
        return False
