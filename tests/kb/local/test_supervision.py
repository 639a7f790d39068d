"""kill -9 of the services, the supervisor and the web process; a second web process on the same folder."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from filelock import FileLock
from pymilvus import MilvusClient

from kb.errors import SetupError
from kb.local import LocalServices, ServiceState, services
from kb.local.run_state import Holder, RunState, read_run_state, write_run_state
from kb.local.service import start_time
from kb.local.sockets import is_listening
from tests.kb.local.embedded_harness import Embedded, is_gone, kill_service, state_of
from tests.real_services import wait_until


def supervisor_of(local: LocalServices) -> psutil.Process:
    assert local._supervisor
    return psutil.Process(local._supervisor.pid)


def all_gone(processes: list[psutil.Process]) -> bool:
    return all(is_gone(process) for process in processes)


def is_holder(embedded: Embedded, supervisor: psutil.Process) -> bool:
    holder = read_run_state(embedded.home / "run" / "services.json").holder
    return holder is not None and holder.pid == supervisor.pid


def test_killed_redis_comes_back_with_its_data(embedded: Embedded) -> None:
    local = embedded.started()
    client = embedded.redis(local)
    client.set("key", "value")
    time.sleep(1.1)  # the append-only file is synced every second
    state = kill_service(local, "redis")
    assert "SIGKILL" in state.detail
    wait_until(lambda: is_listening(embedded.redis_socket), 20)
    assert client.get("key") == "value"


def test_killed_milvus_comes_back_with_its_data(embedded: Embedded) -> None:
    local = embedded.started(redis_url="redis://redis.example:6379/0")
    wait_until(lambda: is_listening(embedded.milvus_socket))
    client = MilvusClient(uri=local.settings.milvus_uri)
    client.create_collection("things", dimension=4)
    client.insert("things", [{"id": 7, "vector": [0.1, 0.2, 0.3, 0.4]}])
    kill_service(local, "milvus")
    wait_until(lambda: is_listening(embedded.milvus_socket), 20)
    client.close()
    client = MilvusClient(uri=local.settings.milvus_uri)
    client.load_collection("things")
    assert [row["id"] for row in client.query("things", filter="id == 7")] == [7]
    client.close()


def test_killed_worker_is_restarted(embedded: Embedded) -> None:
    local = embedded.started(milvus_uri="http://milvus.example:19530")
    kill_service(local, "worker")
    assert state_of(local, "redis").restarts == 0


def test_nothing_outlives_a_killed_web(embedded: Embedded) -> None:
    web = embedded.web()
    family = web.family
    assert len(family) == 4
    web.kill()
    wait_until(lambda: all_gone(family), 20)
    assert not is_listening(embedded.milvus_socket)
    assert not is_listening(embedded.redis_socket)


def test_start_right_after_a_killed_web_succeeds(embedded: Embedded) -> None:
    web = embedded.web()
    web.kill()
    local = embedded.started()
    assert local.settings.redis_url == web.urls["redis_url"]
    wait_until(lambda: is_holder(embedded, supervisor_of(local)))
    wait_until(lambda: is_listening(embedded.redis_socket))
    assert embedded.redis(local).ping()


def test_web_restarts_a_killed_supervisor(embedded: Embedded) -> None:
    local = embedded.started()
    client = embedded.redis(local)
    client.set("key", "value")
    supervisor = supervisor_of(local)
    family = [supervisor, *supervisor.children()]
    supervisor.kill()
    wait_until(lambda: all_gone(family))
    wait_until(lambda: all(state.running for state in local.states()))
    assert supervisor_of(local).pid != supervisor.pid
    wait_until(lambda: is_listening(embedded.redis_socket))
    assert client.get("key") == "value"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends the leftovers")
def test_nothing_outlives_a_killed_supervisor(embedded: Embedded) -> None:
    web = embedded.web()
    family, supervisor = web.family, web.supervisor
    web.process.send_signal(signal.SIGSTOP)  # so that it does not start another one
    supervisor.kill()
    wait_until(lambda: all_gone(family))
    web.kill()


def test_orphaned_child_of_a_killed_web_does_not_keep_the_services(
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


def test_next_supervisor_ends_leftovers(embedded: Embedded) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as leftover:
        (embedded.home / "run").mkdir(parents=True)
        service = ServiceState("milvus", leftover.pid, True, 0, None)
        state = RunState(services=(service,), started={leftover.pid: start_time(leftover.pid)})
        write_run_state(embedded.home / "run" / "services.json", state)
        embedded.started()
        assert leftover.wait(timeout=10) == -signal.SIGTERM


def test_second_web_process_is_told_the_pid_and_url_of_the_first(embedded: Embedded) -> None:
    web = embedded.web()
    local = embedded.services()
    children = set(psutil.Process().children())
    with pytest.raises(SetupError) as caught:
        local.start()
    message = str(caught.value)
    assert f"already runs on the data folder {embedded.home}" in message
    assert f"http://localhost:8501/ (process {web.process.pid})" in message
    assert "set ZHIWEN_HOME to another folder" in message
    assert len(web.family) == 4
    assert set(psutil.Process().children()) <= children

    web.end()
    local.start()
    assert local.settings.redis_url == web.urls["redis_url"]


def test_second_web_process_is_refused_whatever_its_settings(embedded: Embedded) -> None:
    web = embedded.web("http://milvus.example:19530")
    for values in ({}, {"redis_url": "redis://redis.example:6379/0"}, {"database_url": "sqlite:///elsewhere.db"}):
        with pytest.raises(SetupError, match=rf"process {web.process.pid}\)"):
            embedded.started(**values)
    assert len(web.family) == 3


def test_folder_locked_by_an_unseen_process_is_refused(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "HOLD_SECONDS", 0.5)
    (embedded.home / "run").mkdir(parents=True)
    holder = Holder(2**22 + 2, 2**22 + 1, 1_700_000_000.0, "http://localhost:8600/")
    write_run_state(embedded.home / "run" / "services.json", RunState(holder=holder))
    with (
        FileLock(embedded.home / "run" / "lock"),
        pytest.raises(SetupError, match=r"in another container: http://localhost:8600/ \(process 4194305 there\)"),
    ):
        embedded.started()


@pytest.mark.parametrize("started", [0.0, 1_700_000_000.0])
def test_stale_state_with_the_pid_of_a_running_process_does_not_block(embedded: Embedded, started: float) -> None:
    """Containers hand out the same pids at every start."""
    (embedded.home / "run").mkdir(parents=True)
    holder = Holder(os.getpid(), os.getpid(), started, "http://localhost:8501/", "an earlier token")
    write_run_state(embedded.home / "run" / "services.json", RunState(holder=holder))
    assert embedded.redis(embedded.started()).ping()


def test_restarted_supervisor_keeps_the_addresses(embedded: Embedded) -> None:
    """The web process uses those that it knows."""
    local = embedded.started(milvus_uri="http://milvus.example:19530")
    supervisor = supervisor_of(local)
    sockets = embedded.redis_socket.parent
    supervisor.kill()
    wait_until(lambda: not is_holder(embedded, supervisor))
    assert embedded.redis_socket.parent == sockets
    assert embedded.redis(local).ping()
