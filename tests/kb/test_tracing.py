"""When traces are sent and when not, what a span says, and that nothing waits for a collector."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from kb import tracing
from kb.cli.doctor.finding import Finding, Mark
from kb.cli.doctor.tracing import check_tracing
from kb.deadlines import within
from kb.errors import Cancelled, ModelTimeout
from kb.ingestion.spans import noting_failure
from kb.logs import configure_logs
from kb.metrics import StageTimes
from kb.models import VersionState
from kb.providers.spans import model_span
from kb.tracing import setup
from kb.tracing.setup import find_wish, start_tracing, stop_tracing
from tests.conftest import MakeSettings
from tests.fakes.collector import Collector, collecting, deliver, need_packages
from tests.real_services import ROOT, free_port

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COLLECTOR = "http://collector:4318"


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    yield
    stop_tracing()


# --- whether ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "zhiwen", "OTEL_TRACES_SAMPLER": "always_on"},
        {ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "console"},
    ],
    ids=["nothing", "no-address", "disabled", "no-exporter", "another-exporter"],
)
def test_nothing_is_sent_without_an_address_or_if_told_so(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as lines:
        start_tracing("web")
    assert lines == []
    assert not tracing.is_on()
    assert tracing.span("work") is tracing.NO_SPAN


def test_processes_that_send_nothing_import_nothing_for_it() -> None:
    """But redis-py, which imports the SDK's metrics where they are installed, whoever asks for them."""
    program = (
        "import sys, web.app, workers.runtime\n"
        "from kb.tracing.setup import start_tracing; start_tracing('web')\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'kb.tracing.exp'))])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("setting", setup.ENDPOINTS)
def test_missing_packages_are_told_once_with_what_to_install(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "http://user:secret@collector:4318")
    monkeypatch.setattr(setup, "PACKAGES", ("opentelemetry_that_is_missing.sdk",))
    with capture_logs() as lines:
        start_tracing("web")
    ((line),) = lines
    assert (line["log_level"], line["event"], line["setting"]) == ("warning", "tracing.off", setting)
    assert line["remedy"] == 'pip install "zhiwen[otel]"'
    assert "secret" not in str(lines)
    assert not tracing.is_on()
    finding = only(check_tracing())
    assert (finding.mark, finding.remedy) == (Mark.WARNING, 'pip install "zhiwen[otel]"')


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        ({ENDPOINT: "collector:4318"}, "http://collector:4318"),
        ({ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "4318"),
        ({ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "4318"),
    ],
    ids=["no-web-address", "grpc", "grpc-for-traces"],
)
def test_what_cannot_be_sent_says_what_to_write(variables: dict[str, str], remedy: str) -> None:
    wish = find_wish(variables)
    assert wish
    assert wish.problem
    assert remedy in wish.remedy


def test_variable_that_the_packages_refuse_does_not_keep_the_process_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_packages()
    monkeypatch.setenv(ENDPOINT, COLLECTOR)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with capture_logs() as lines:
        start_tracing("web")
    assert [line["event"] for line in lines] == ["tracing.off"]
    assert not tracing.is_on()


def test_variables_may_stand_in_the_file_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And are not left behind in the environment, where a worker would take them for its own."""
    need_packages()
    file = tmp_path / "my.env"
    with Collector() as collector:
        file.write_text(f"{ENDPOINT}=http://{collector.authority}\nOTEL_SERVICE_NAME=my-zhiwen\n", encoding="utf-8")
        monkeypatch.setenv("ZHIWEN_ENV_FILE", str(file))
        start_tracing("web")
        with tracing.span("work"):
            pass
        stop_tracing()
        assert collector.named("work").service == "my-zhiwen"
    assert ENDPOINT not in os.environ


def test_processes_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting(monkeypatch, "worker") as collector:
        with tracing.span("work"):
            pass
        stop_tracing()
        assert collector.named("work").service == "zhiwen-worker"


def test_sampler_is_that_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting(monkeypatch, OTEL_TRACES_SAMPLER="always_off") as collector:
        with tracing.span("work") as span:
            span.event("first token", 5)
        stop_tracing()
        assert collector.received == []


# --- what ------------------------------------------------------------------------------------------------------


def test_spans_are_part_of_one_another_across_threads_and_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    def inner() -> None:
        with tracing.span("inner"):
            pass

    async def in_task() -> None:
        with tracing.span("task"):
            await asyncio.to_thread(inner)

    with collecting(monkeypatch) as collector, ThreadPoolExecutor(1) as pool:
        with tracing.span("outer"):
            pool.submit(tracing.carried(inner)).result()
            within(5, inner)
            asyncio.run(in_task())
        stop_tracing()
        chains = sorted(collector.chain(span) for span in collector.spans if span.name == "inner")
        assert chains == [["outer"], ["outer"], ["task", "outer"]]


def test_failure_is_noted_by_its_code_and_never_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting(monkeypatch) as collector:
        with pytest.raises(ModelTimeout), tracing.span("a"):
            raise ModelTimeout(host="secret-host", model="secret-model", seconds="5")
        with pytest.raises(ValueError, match="secret"), tracing.span("b"):
            raise ValueError("a secret question")
        with pytest.raises(asyncio.CancelledError), tracing.span("c"):
            raise asyncio.CancelledError
        with tracing.span("d") as span, suppress(Cancelled), noting_failure(span):
            raise Cancelled
        with tracing.span("e") as span, suppress(ModelTimeout), noting_failure(span):
            raise ModelTimeout
        stop_tracing()
        found = {span.name: (span.has_failed, span.attributes.get("error.type")) for span in collector.spans}
        assert found == {
            "a": (True, "model_timeout"),
            "b": (True, "ValueError"),
            "c": (False, None),
            "d": (False, None),
            "e": (True, "model_timeout"),
        }
        assert b"secret" not in collector.raw


def test_stages_that_take_turns_are_one_span_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting(monkeypatch) as collector:
        began = time.perf_counter()
        with tracing.span("ingest"):
            times = StageTimes()
            for _batch in range(3):
                with times.spend(VersionState.EMBEDDING), model_span("embeddings", "m", "127.0.0.1:8000"):
                    pass
                with times.spend(VersionState.INDEXING):
                    pass
            times.note()
        elapsed = time.perf_counter() - began
        stop_tracing()
        assert [collector.chain(span) for span in collector.spans if span.name == "embeddings m"] == [
            ["embedding", "ingest"]
        ] * 3
        # Against the clock that took the seconds: spans are timed by the one of the wall, which may be set.
        assert 0 < collector.named("embedding").attributes["zhiwen.stage.seconds"] <= elapsed
        call = next(span for span in collector.spans if span.name == "embeddings m")
        assert (call.kind, call.attributes["server.address"], call.attributes["server.port"]) == (
            "client",
            "127.0.0.1",
            8000,
        )


def test_lines_of_the_log_name_the_trace(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = structlog.get_config()
    with collecting(monkeypatch) as collector:
        configure_logs(make_settings())
        with tracing.span("work"):
            structlog.get_logger().info("inside")
        structlog.get_logger().info("outside")
        structlog.configure(**before)
        stop_tracing()
        inside, outside = capsys.readouterr().err.splitlines()
        work = collector.named("work")
        assert f'"trace_id": "{work.trace_id}"' in inside
        assert f'"span_id": "{work.id}"' in inside
        assert "trace_id" not in outside


ASGI = {"http.response.start", "http.response.body", "http.disconnect"}  # its messages have names alike
_NAME = re.compile(r'"((?:error|gen_ai|http|messaging|network|server|url)\.[a-z_.]+)"')


def test_names_are_those_of_the_conventions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not ours, as this release of the conventions has them."""
    need_packages()
    paths = [path for folder in ("kb", "web", "workers") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in paths for name in _NAME.findall(path.read_text(encoding="utf-8"))}
    assert {"gen_ai.request.model", "http.route", "messaging.system"} <= used
    known = {
        value
        for group in ("error", "gen_ai", "http", "messaging", "network", "server", "url")
        for value in vars(import_module(f"opentelemetry.semconv._incubating.attributes.{group}_attributes")).values()
        if isinstance(value, str)
    }
    assert used - known - ASGI == set()


# --- a collector that is away ----------------------------------------------------------------------------------


def test_dead_collector_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """More spans than the queue holds, each made at once; and an end that does not wait for what cannot be sent."""
    need_packages()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    start_tracing("web")
    assert tracing.is_on()
    began = time.monotonic()
    for _ in range(3_000):
        with tracing.span("work"):
            pass
    made = time.monotonic() - began
    began = time.monotonic()
    stop_tracing(seconds=0.3)
    stopped = time.monotonic() - began
    assert made < 5  # of a client's ten seconds for each delivery
    assert stopped < 2


def test_refused_delivery_is_told_once_and_its_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as lines, collecting(monkeypatch) as collector:
        for status in (401, 403, 204):
            collector.statuses = [status]
            with tracing.span("work"):
                pass
            deliver()
        stop_tracing()
    assert [line["event"] for line in lines] == ["tracing.started", "tracing.not_sent", "tracing.sent_again"]
    assert "secret" not in str(lines)


def test_doctor_asks_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(check_tracing()) == []
    need_packages()
    with Collector() as collector:
        monkeypatch.setenv(ENDPOINT, f"http://{collector.authority}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
        finding = only(check_tracing())
        assert (finding.mark, finding.detail) == (Mark.OK, f"{collector.authority} takes traces")
        assert collector.received[0].headers["api-key"] == "secret"
        collector.statuses = [401]
        finding = only(check_tracing())
        assert finding.mark is Mark.WARNING
        assert "secret" not in str(finding)


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding
