"""Whether traces can be sent, if they are wanted."""

from __future__ import annotations

from collections.abc import Iterator

from kb.cli.doctor.finding import Finding, ok, warning
from kb.config import telemetry_variables
from kb.environment import adding, reach_directly
from kb.tracing.setup import find_wish


def check_tracing() -> Iterator[Finding]:
    """Nothing, if they are not wanted."""
    variables = telemetry_variables()
    wish = find_wish(variables)
    if wish is None:
        return
    if wish.problem:
        yield warning("tracing", f"{wish.setting} is set, but {wish.problem}.", wish.remedy)
        return
    reach_directly(wish.address)
    try:
        from kb.tracing.exporting import takes_spans

        with adding(variables):
            is_well = takes_spans()
    except Exception as error:  # noqa: BLE001 - whatever the package makes of a wrong variable
        yield warning(
            "tracing", f"OpenTelemetry refuses its variables ({type(error).__name__}).", "Check those with OTEL_."
        )
        return
    if is_well:
        yield ok("tracing", f"{wish.host} takes traces")
    else:
        yield warning(
            "tracing", f"{wish.host} takes no traces.", f"Check {wish.setting} and OTEL_EXPORTER_OTLP_HEADERS."
        )
