"""kill -9 of everything: the services, the supervisor, the web; and several webs on one folder."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import psutil
import pytest
from filelock import FileLock
from pymilvus import MilvusClient

from kb.errors import SetupError
from kb.local import LocalServices, ServiceState, services
from kb.local.ports import is_free, is_listening
from kb.local.processes import identity
from kb.local.run_state import Holder, RunState, read_run_state, write_run_state
from tests.kb.local.embedded_harness import Embedded, is_gone, kill_service, state_of, wait_until


def supervisor_of(local: LocalServices) -> psutil.Process:
    assert local._supervisor
    return psutil.Process(local._supervisor.pid)


def ports(embedded: Embedded) -> list[int]:
    return list(read_run_state(embedded.home / "run" / "services.json").ports.values())


def all_gone(processes: list[psutil.Process]) -> bool:
    return all(is_gone(process) for process in processes)


def is_holder(embedded: Embedded, supervisor: psutil.Process) -> bool:
    holder = read_run_state(embedded.home / "run" / "services.json").holder
    return holder is not None and holder.pid == supervisor.pid


def test_a_killed_redis_comes_back_with_its_data(embedded: Embedded) -> None:
    local = embedded.started()
    client = embedded.redis(local)
    client.set("key", "value")
    time.sleep(1.1)  # the append-only file is synced every second
    state = kill_service(local, "redis")
    assert "SIGKILL" in state.detail
    wait_until(lambda: is_listening(ports(embedded)[1]), 20)
    assert client.get("key") == "value"


def test_a_killed_milvus_comes_back_with_its_data(embedded: Embedded) -> None:
    local = embedded.started(redis_url="redis://redis.example:6379/0")
    wait_until(lambda: is_listening(ports(embedded)[0]))
    client = MilvusClient(uri=local.settings.milvus_uri)
    client.create_collection("things", dimension=4)
    client.insert("things", [{"id": 7, "vector": [0.1, 0.2, 0.3, 0.4]}])
    kill_service(local, "milvus")
    wait_until(lambda: is_listening(ports(embedded)[0]), 20)
    client.close()
    client = MilvusClient(uri=local.settings.milvus_uri)
    client.load_collection("things")
    assert [row["id"] for row in client.query("things", filter="id == 7")] == [7]
    client.close()


def test_a_killed_worker_is_started_again(embedded: Embedded) -> None:
    local = embedded.started(milvus_uri="http://milvus.example:19530")
    kill_service(local, "worker")
    assert state_of(local, "redis").restarts == 0


def test_nothing_outlives_a_killed_web(embedded: Embedded) -> None:
    web = embedded.web()
    family = web.family
    assert len(family) == 4
    web.kill()
    wait_until(lambda: all_gone(family), 20)
    assert all(is_free(port) for port in ports(embedded))


def test_a_start_right_after_the_kill_of_a_web_succeeds(embedded: Embedded) -> None:
    web = embedded.web()
    web.kill()
    local = embedded.started()
    assert local.settings.redis_url == web.urls["redis_url"]
    wait_until(lambda: is_holder(embedded, supervisor_of(local)))
    wait_until(lambda: is_listening(ports(embedded)[1]))
    assert embedded.redis(local).ping()


def test_the_web_starts_a_killed_supervisor_again(embedded: Embedded) -> None:
    local = embedded.started()
    client = embedded.redis(local)
    client.set("key", "value")
    supervisor = supervisor_of(local)
    family = [supervisor, *supervisor.children()]
    supervisor.kill()
    wait_until(lambda: all_gone(family))
    wait_until(lambda: all(state.running for state in local.states()))
    assert supervisor_of(local).pid != supervisor.pid
    wait_until(lambda: is_listening(ports(embedded)[1]))
    assert client.get("key") == "value"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends what was left over")
def test_nothing_outlives_a_killed_supervisor(embedded: Embedded) -> None:
    web = embedded.web()
    family, supervisor = web.family, web.supervisor
    web.process.send_signal(signal.SIGSTOP)  # so that it does not start another one
    supervisor.kill()
    wait_until(lambda: all_gone(family))
    web.kill()


def test_a_child_that_a_killed_web_left_behind_does_not_keep_the_services(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAVE_A_CHILD", "1")
    web = embedded.web()
    wait_until(lambda: len(web.family) == 5)
    supervisor, child = psutil.Process(web.process.pid).children()
    family = [supervisor, *supervisor.children()]
    web.kill()
    wait_until(lambda: all_gone(family))
    assert child.is_running()
    child.kill()


def test_leftovers_of_a_killed_supervisor_are_ended_by_the_next(embedded: Embedded) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as leftover:
        (embedded.home / "run").mkdir(parents=True)
        service = ServiceState("milvus", leftover.pid, True, 0, None)
        state = RunState(services=(service,), identities={leftover.pid: identity(leftover.pid)})
        write_run_state(embedded.home / "run" / "services.json", state)
        embedded.started()
        assert leftover.wait(timeout=10) == -signal.SIGTERM


def test_a_second_start_joins_and_takes_over(embedded: Embedded) -> None:
    web = embedded.web()
    local = embedded.started()
    client = embedded.redis(local)
    assert local.settings.redis_url == web.urls["redis_url"]
    assert local.settings.milvus_uri == web.urls["milvus_uri"]
    assert supervisor_of(local).children() == []
    assert [state.running for state in local.states()] == [True] * 3
    client.set("key", "value")

    web.end()
    wait_until(lambda: len(supervisor_of(local).children()) == 3)
    wait_until(lambda: is_listening(ports(embedded)[1]))
    assert client.get("key") == "value"
    wait_until(lambda: [state.running for state in local.states()] == [True] * 3)


def test_who_joined_may_leave(embedded: Embedded) -> None:
    web = embedded.web()
    local = embedded.started()
    local.stop()
    assert len(web.family) == 4


def test_a_folder_held_for_other_services_is_not_joined(embedded: Embedded) -> None:
    web = embedded.web("http://milvus.example:19530")
    message = rf"held by another process \(PID {web.process.pid}, .*it runs redis, worker, but milvus, redis, worker is"
    with pytest.raises(SetupError, match=message):
        embedded.started()
    with pytest.raises(SetupError, match=rf"held by another process \(PID {web.process.pid}, .*another MILVUS_URI"):
        embedded.started(milvus_uri="http://elsewhere.example:19530")
    with pytest.raises(SetupError, match=r"another DATABASE_URL"):
        embedded.started(milvus_uri="http://milvus.example:19530", database_url="sqlite:///elsewhere.db")
    assert len(web.family) == 3


def test_a_folder_held_by_what_cannot_be_seen_is_not_joined(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "HOLDER_SECONDS", 0.5)
    (embedded.home / "run").mkdir(parents=True)
    holder = Holder(pid=2**22 + 2, web_pid=2**22 + 1, since=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    write_run_state(embedded.home / "run" / "services.json", RunState(holder=holder))
    with (
        FileLock(embedded.home / "run" / "lock"),
        pytest.raises(SetupError, match=r"held by another process \(PID 4194305, .* 2026-01-02 03:04:05 UTC"),
    ):
        embedded.started()


def test_a_redis_that_cannot_be_reached_is_not_joined(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    web = embedded.web()
    monkeypatch.setattr(services, "REDIS_SECONDS", 0.1)
    monkeypatch.setattr(services, "is_ready", lambda *_: False)
    local = embedded.services()
    local.start()  # it listens: it may still load its data
    local.stop()
    monkeypatch.setattr(services, "is_listening", lambda _: False)
    with pytest.raises(
        SetupError, match=rf"held by another process \(PID {web.process.pid}, .*Redis cannot be reached from here"
    ):
        embedded.started()
