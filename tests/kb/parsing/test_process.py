"""The parent survives whatever happens in the child and reports it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kb.errors import BlankFile, Cancelled, FileTooLarge, ParserCrashed, ParsingTimeout
from kb.parsing import ParserProcess, parse_file
from tests.kb.parsing import parsing_samples as samples

HERE = Path(__file__).parent


@pytest.fixture
def parser() -> Iterator[ParserProcess]:
    with ParserProcess(2048) as process:
        yield process


@pytest.fixture
def unruly(monkeypatch: pytest.MonkeyPatch) -> Iterator[ParserProcess]:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with ParserProcess(1024, module="unruly_child") as process:
        yield process


def never() -> bool:
    return False


def run(parser: ParserProcess, name: str, timeout_seconds: float = 30) -> str:
    return parser.parse(HERE / "parsing_samples.py", name, timeout_seconds, None, never).text


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text() if sys.platform == "linux" else ""
        os.kill(pid, 0)
    except OSError:
        return False
    return ") Z " not in stat


def test_result_equals_parse_file(parser: ParserProcess, tmp_path: Path) -> None:
    pdf = samples.write(tmp_path, "a", samples.make_pdf(["One", "Two"], [("Two", 1)]))
    progress: list[tuple[int, int]] = []
    document = parser.parse(pdf, "a.pdf", 30, lambda *done: progress.append(done), never)
    assert document == parse_file(pdf, "a.pdf")
    assert progress[-1] == (2, 2)
    word = samples.write(tmp_path, "b", samples.make_docx())
    assert parser.parse(word, "b.docx", 30, None, never) == parse_file(word, "b.docx")


def test_errors_keep_their_values(parser: ParserProcess, tmp_path: Path) -> None:
    name = '../../x" or 1==1 or "\udcff.txt'
    with pytest.raises(BlankFile) as caught:
        parser.parse(samples.write(tmp_path, "a", " \n"), name, 30, None, never)
    assert caught.value.values == {"name": name}


def test_child_is_reused_and_restarted(unruly: ParserProcess) -> None:
    first = run(unruly, "a").split()[1]
    assert run(unruly, "b").split()[1] == first
    with pytest.raises(ParserCrashed):
        run(unruly, "abort")
    assert run(unruly, "c").split()[1] != first
    unruly.close()
    assert run(unruly, "d").startswith("d ")


def test_killed_child_is_replaced(unruly: ParserProcess) -> None:
    pid = int(run(unruly, "a").split()[1])
    os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: not is_running(pid))
    time.sleep(0.1)
    assert run(unruly, "b").startswith("b ")


def test_timeout(unruly: ParserProcess) -> None:
    with pytest.raises(ParsingTimeout) as caught:
        run(unruly, "hang", timeout_seconds=1)
    assert caught.value.values["seconds"] == "1"
    assert run(unruly, "a")


def test_cancel(unruly: ParserProcess) -> None:
    cancelled = threading.Event()
    with pytest.raises(Cancelled):
        unruly.parse(HERE / "parsing_samples.py", "hang", 60, lambda *_: cancelled.set(), cancelled.is_set)
    assert run(unruly, "a")


def test_caller_error_leaves_no_stale_answer(unruly: ParserProcess) -> None:
    def fail(done: int, total: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        unruly.parse(HERE / "parsing_samples.py", "slow", 30, fail, never)
    assert run(unruly, "next").startswith("next ")


def test_memory_is_limited(unruly: ParserProcess) -> None:
    with pytest.raises(FileTooLarge) as caught:
        run(unruly, "hoard")
    assert "1024 MB" in str(caught.value)
    assert run(unruly, "a")


def test_prints_do_not_break_the_protocol(unruly: ParserProcess) -> None:
    assert run(unruly, "print").startswith("print ")


def test_child_outlives_the_thread_that_started_it(unruly: ParserProcess) -> None:
    pids: list[str] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: pids.append(run(unruly, "a").split()[1]))
        thread.start()
        thread.join()
        time.sleep(0.7)
    assert pids[0] == pids[1]


@pytest.mark.parametrize("state", ["idle", "hang"])
def test_child_ends_when_the_parent_is_killed(tmp_path: Path, state: str) -> None:
    script = (
        "import pathlib, time\nfrom kb.parsing import ParserProcess\n"
        "process = ParserProcess(1024, module='unruly_child')\n"
        "print(process.parse(pathlib.Path('x'), 'a', 30, None, lambda: False).text.split()[1], flush=True)\n"
        + ("process.parse(pathlib.Path('x'), 'hang', 60, None, lambda: False)" if state == "hang" else "time.sleep(60)")
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2])])}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_running(pid)
        parent.kill()
    assert wait_for(lambda: not is_running(pid), seconds=10)
