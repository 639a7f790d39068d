import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kb.local import processes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(params=["_linux_identity", "_portable_identity"])
def identity(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "_linux_identity" and sys.platform != "linux":
        pytest.skip("needs /proc")
    monkeypatch.setattr(processes, "identity", getattr(processes, request.param))
    return str(request.param)


@pytest.mark.usefixtures("identity")
def test_an_identity_stays_until_the_process_ends(sleeper: subprocess.Popen[bytes]) -> None:
    known = processes.identity(sleeper.pid)
    assert known
    assert processes.is_same_process(sleeper.pid, known)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert not processes.is_same_process(sleeper.pid, known)
    sleeper.wait()
    assert not processes.is_same_process(sleeper.pid, known)


def test_no_process_has_no_identity() -> None:
    assert not processes.is_same_process(2**22 + 1, "")


def test_a_leftover_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    processes.end_process(sleeper.pid, processes.identity(sleeper.pid), grace_seconds=2)
    assert sleeper.wait(timeout=10) < 0


def test_a_leftover_that_ignores_sigterm_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        processes.end_process(process.pid, processes.identity(process.pid), grace_seconds=0.2)
        assert process.wait(timeout=10) == -9


def test_another_process_with_the_id_of_a_leftover_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    processes.end_process(sleeper.pid, "an earlier one", grace_seconds=0.1)
    assert sleeper.poll() is None
