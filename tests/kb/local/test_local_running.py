"""What the services look like while they run. The tests share them, and disturb none."""

import json
import stat
from urllib.parse import urlsplit

import psutil
import pytest
import redis
from pymilvus import MilvusClient

from kb.local import LocalServices
from kb.local.ports import HOST, is_listening
from tests.kb.local.embedded_harness import Embedded, ports_of, wait_until

pytestmark = pytest.mark.xdist_group("running")  # the services start once

Running = tuple[Embedded, LocalServices]


def test_both_services_answer(running: Running) -> None:
    embedded, local = running
    assert embedded.redis(local).ping()
    wait_until(lambda: is_listening(ports_of(local)[0]))
    client = MilvusClient(uri=local.settings.milvus_uri)
    assert client.list_collections() == []
    client.close()


def test_redis_refuses_who_does_not_know_the_password(running: Running) -> None:
    _, local = running
    with (
        redis.Redis.from_url(f"redis://{HOST}:{ports_of(local)[1]}") as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_redis_keeps_what_it_is_told(running: Running) -> None:
    embedded, local = running
    expected = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
    client = embedded.redis(local)
    assert {name: client.config_get(name)[name] for name in expected} == expected


def test_the_states_tell_each_process(running: Running) -> None:
    _, local = running
    states = local.states()
    assert [state.name for state in states] == ["milvus", "redis", "worker"]
    for state in states:
        assert state.running
        assert state.pid is not None
        assert psutil.pid_exists(state.pid)
        assert state.since is not None
        assert (state.restarts, state.detail) == (0, "")


def test_the_worker_gets_the_addresses_by_its_environment(running: Running) -> None:
    embedded, local = running
    path = embedded.home / "worker.json"
    wait_until(lambda: path.exists() and path.read_text())
    settings = local.settings
    expected = {"MILVUS_URI": settings.milvus_uri, "REDIS_URL": settings.redis_url}
    assert json.loads(path.read_text()) == {**expected, "ZHIWEN_HOME": str(embedded.home)}


def test_nothing_listens_beyond_the_loopback_interface(running: Running) -> None:
    _, local = running
    wait_until(lambda: is_listening(ports_of(local)[0]))
    pids = [state.pid for state in local.states()]
    listening = {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for pid in pids
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN  # gRPC writes the IPv4 address in the manner of IPv6
    }
    assert listening == {(HOST, port) for port in ports_of(local)}


def test_no_command_line_and_no_file_shows_the_password(running: Running) -> None:
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
    assert "Ready to accept connections" in (embedded.home / "logs" / "redis.log").read_text()
