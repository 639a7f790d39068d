"""Building the services, health checks, settings, errors and logs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import structlog

from kb.config import load_settings
from kb.errors import KbError, MilvusUnavailable, SetupError, fill, from_code
from kb.health import check_health
from kb.logs import configure_logs
from kb.providers.connection import Purpose
from kb.services import build_services
from tests.conftest import Core, MakeSettings
from tests.fakes.embedding import HashedWords
from tests.fakes.queue import RecordingQueue
from tests.real_services import free_port


def test_every_service_answers(core: Core) -> None:
    health = check_health(core.services.pings())
    assert [(service.name, service.ok) for service in health] == [("sql", True), ("redis", True), ("milvus", True)]
    assert [service.detail.split()[0] for service in health[:2]] == ["SQLite", "Redis"]
    assert "milvus" in health[2].detail


def test_web_waits_for_the_disk_and_a_worker_does_not(make_settings: MakeSettings, embedding: HashedWords) -> None:
    """SQLite: what a user was told is saved survives a power cut; a worker's progress can be done again."""
    found = {}
    for durable in (True, False):
        services = build_services(make_settings(redis_url="redis://127.0.0.1:1"), RecordingQueue(), durable=durable)
        with services.database.read() as connection:
            found[durable] = connection.scalar(sa.text("PRAGMA synchronous"))
        services.close()
    assert found == {True: 2, False: 1}  # FULL and NORMAL


def test_unreachable_services_are_named_within_seconds(make_settings: MakeSettings, embedding: HashedWords) -> None:
    services = build_services(
        make_settings(redis_url=f"redis://127.0.0.1:{free_port()}", milvus_uri=f"http://127.0.0.1:{free_port()}"),
        RecordingQueue(),
    )
    began = time.monotonic()
    health = {service.name: service for service in check_health(services.pings())}
    assert time.monotonic() - began < 20
    assert [health[name].ok for name in ("sql", "redis", "milvus")] == [True, False, False]
    assert "REDIS_URL" in health["redis"].detail
    assert "MILVUS_URI" in health["milvus"].detail
    services.close()


def test_building_waits_for_no_service(make_settings: MakeSettings, embedding: HashedWords) -> None:
    began = time.monotonic()
    services = build_services(
        make_settings(redis_url="redis://127.0.0.1:1", milvus_uri="http://127.0.0.1:1"), RecordingQueue()
    )
    assert time.monotonic() - began < 10
    assert services.users.local() == services.users.local()
    services.close()


def test_models_are_the_default_and_those_in_use(core: Core) -> None:
    services, default = core.services, core.embedding.name
    assert services.embedding_models() == services.models_to_warm() == [default]
    services.knowledge_bases.create(core.user, "Old", "builtin", 384)
    assert services.embedding_models() == [default, "builtin"]
    assert services.models_to_warm() == ["builtin"]
    services.knowledge_bases.create(core.user, "New", default, core.embedding.dimension)
    assert services.embedding_models() == [default, "builtin"]
    assert services.models_to_warm() == ["builtin", default]


def test_local_user_keeps_the_chosen_model(core: Core) -> None:
    core.services.providers.choose_model(core.user, Purpose.CHAT, "127.0.0.1:11434/qwen")
    assert core.services.users.local().chat_model == "127.0.0.1:11434/qwen"


# --- settings and errors ---------------------------------------------------------------------------------------


def test_invalid_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_THREADS", "many")
    with pytest.raises(SetupError, match="WORKER_THREADS"):
        load_settings()
    monkeypatch.setenv("WORKER_THREADS", "")
    assert load_settings().worker_threads == 3


def test_repr_hides_keys(make_settings: MakeSettings) -> None:
    settings = make_settings(openai_api_key="sk-very-hidden", milvus_token="root:hidden")
    assert "hidden" not in repr(settings)


def every_error() -> list[type[KbError]]:
    return [KbError, *KbError.registry.values()]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_survives_storage(kind: type[KbError]) -> None:
    again = from_code(kind.code, {"name": "a.md"})
    assert type(again) is kind
    assert len(kind.code) <= 60
    assert str(kind()).strip()
    for text in (kind.message, kind.remedy):
        assert "{" not in fill(text.replace("{{", "").replace("}}", ""), {})  # braces to be shown are doubled


def test_unknown_code_gives_a_plain_error() -> None:
    assert str(from_code("of_a_later_version", {})) == "Something went wrong."


# --- logs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def restore_logs() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("restore_logs")
def test_log_event_is_one_line(make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(make_settings())
    structlog.get_logger().info("ingestion.ready", version="1", name="文\n件")
    structlog.get_logger().debug("too.fine")
    (line,) = capsys.readouterr().err.splitlines()
    assert '"event": "ingestion.ready"' in line
    assert "文\\n件" in line
    try:
        raise MilvusUnavailable(detail="gone")
    except MilvusUnavailable:
        structlog.get_logger().exception("a.defect")
    assert len(capsys.readouterr().err.splitlines()) == 1
