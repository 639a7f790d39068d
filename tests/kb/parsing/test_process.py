"""The parent survives whatever happens in the child and reports it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from kb.errors import (
    BlankFile,
    Cancelled,
    MemoryShort,
    NeedsMemory,
    ParserCrashed,
    ParserKilled,
    ParsingTimeout,
    UnexpectedFailure,
)
from kb.models import ParsedDocument
from kb.notes import Note, NoteKind
from kb.parsing import Limits, ParserProcess, detect_media_type, joined, parse_file
from kb.parsing.media_types import MAIL, PDF
from kb.parsing.memory import oom_kills
from kb.parsing.own_folder import OwnFolder, clear_left_folders
from kb.parsing.process import WAITING_FRAMES
from kb.parsing.room import Room
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


def read(
    parser: ParserProcess,
    path: Path,
    name: str,
    limits: Limits = Limits(30, 30),  # noqa: B008 - immutable
    on_progress: Callable[[int, int], None] | None = None,
    is_cancelled: Callable[[], bool] = never,
    media_type: str = "",
) -> ParsedDocument:
    media_type = media_type or detect_media_type(path, name)
    return joined(parser.parse(path, name, media_type, limits, on_progress, is_cancelled))


def run(parser: ParserProcess, name: str, limits: Limits = Limits(30, 30)) -> str:  # noqa: B008 - immutable
    return read(parser, HERE / "parsing_samples.py", name, limits).text


def test_reason_without_a_number_is_told(parser: ParserProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why no process can be started; the system has no text for it then."""

    def refuse(*_: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr("kb.parsing.process.Child", refuse)
    with pytest.raises(UnexpectedFailure, match="no more processes"):
        run(parser, "a.txt")


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


def test_a_killed_child_leaves_no_temporary_files(
    unruly: ParserProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    written: list[Path] = []

    def is_cancelled() -> bool:
        written.extend(path for path in folder.rglob("*") if path.is_file() and path.read_text())
        return bool(written)

    with pytest.raises(Cancelled):
        read(unruly, HERE / "parsing_samples.py", "litter", is_cancelled=is_cancelled)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells")
def test_peak_of_memory_is_that_of_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with ParserProcess(4096, module="unruly_child") as parser:
        _, child = run(parser, "fill").split()
        assert parser.peak_mb > 400
        assert run(parser, "small") == f"small {child}"
        assert 0 < parser.peak_mb < 400
        monkeypatch.setattr("kb.parsing.process.restart_peak", lambda _pid: False)
        assert run(parser, "small") == f"small {child}"
        assert parser.peak_mb == 0  # it may be that of the file before


def test_folders_of_killed_workers_are_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, young = tmp_path / "zhiwen-reader-killed", tmp_path / "zhiwen-reader-young"
    somebodys_own = tmp_path / "zhiwen-notes"
    in_use = OwnFolder()
    for folder in (killed, young, somebodys_own, Path(in_use.path)):
        folder.mkdir(exist_ok=True)
        (folder / "attachment").touch()
        if folder != young:
            os.utime(folder, (0, 0))
    (tmp_path / "zhiwen-reader-link").symlink_to(somebodys_own)
    os.mkfifo(tmp_path / "zhiwen-reader-pipe")  # by anybody: nothing waits for it
    clear_left_folders()
    assert not killed.exists()
    assert all((folder / "attachment").exists() for folder in (young, somebodys_own, Path(in_use.path)))
    in_use.remove()
    assert not Path(in_use.path).exists()


def test_result_equals_parse_file(parser: ParserProcess, tmp_path: Path) -> None:
    pdf = samples.write(tmp_path, "a", samples.make_pdf(["One", "Two"], [("Two", 1)]))
    progress: list[tuple[int, int]] = []
    document = read(parser, pdf, "a.pdf", on_progress=lambda *done: progress.append(done))
    assert document == parse_file(pdf, "a.pdf")
    assert progress == [(0, 2), (1, 2), (2, 2)]
    word = samples.write(tmp_path, "b", samples.make_docx())
    assert read(parser, word, "b.docx") == parse_file(word, "b.docx")


def test_errors_keep_their_values(parser: ParserProcess, tmp_path: Path) -> None:
    name = '../../x" or 1==1 or "\udcff.txt'
    with pytest.raises(BlankFile) as caught:
        read(parser, samples.write(tmp_path, "a", " \n"), name)
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
        run(unruly, "hang", Limits(30, 1))
    assert caught.value.values["seconds"] == "1"
    with pytest.raises(ParsingTimeout):
        run(unruly, "mute", Limits(1, 30))
    assert run(unruly, "a")


# --- killed from outside, or short of memory ---


def kills(folder: Path, times: int) -> Path:
    """The file of `unruly_child` that says how often the system kills it."""
    return samples.write(folder, "kills", str(times))


@pytest.fixture
def short_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells, each time it is asked, that it has killed another process for lack of memory."""
    monkeypatch.setattr("kb.parsing.process.oom_kills", count().__next__)


def test_killed_child_is_tried_again_without_repeating_anything(unruly: ParserProcess, tmp_path: Path) -> None:
    taken = unruly.parse(kills(tmp_path, 1), "killed", "text/plain", Limits(30, 30), None, never)
    texts = [part.text for part in taken]
    assert texts[:4] == ["one ", "two ", "three ", "four "]
    assert len(texts) == 5  # the last one is that of every name


def test_killed_page_is_read_again_and_not_left_out(unruly: ParserProcess, tmp_path: Path) -> None:
    document = read(unruly, kills(tmp_path, 1), "killed 2", media_type=PDF)
    assert [page.number for page in document.pages] == [1, 2, 3, 4]
    assert document.text == "page 1\npage 2\npage 3\npage 4\n"
    assert not document.notes


@pytest.mark.usefixtures("short_kernel")
@pytest.mark.parametrize(("name", "media_type"), [("killed", "text/plain"), ("killed 2", PDF), ("killed 2", MAIL)])
def test_file_whose_parser_is_killed_twice_is_not_called_damaged(
    unruly: ParserProcess, tmp_path: Path, name: str, media_type: str
) -> None:
    with pytest.raises(ParserKilled) as caught:
        read(unruly, kills(tmp_path, 2), name, media_type=media_type)
    assert re.search(r"needs more than \d\d+ MB of memory", str(caught.value))
    assert "damaged" not in str(caught.value)
    assert caught.value.retry_helps
    assert run(unruly, "a").startswith("a ")


@pytest.mark.parametrize(("name", "media_type"), [("killed", "text/plain"), ("killed 2", PDF)])
def test_file_whose_parser_others_kill_is_read_in_the_end(
    unruly: ParserProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, media_type: str
) -> None:
    """It may need no memory at all: the kernel says that it killed nobody. It is not tried without end, though."""
    monkeypatch.setattr("kb.parsing.process.oom_kills", lambda: 7)
    document = read(unruly, kills(tmp_path, 3), name, media_type=media_type)
    assert document.text.startswith(("one two three four ", "page 1\npage 2\n"))
    monkeypatch.setattr("kb.parsing.process._MOST_KILLS", 2)
    with pytest.raises(ParserKilled):
        read(unruly, kills(tmp_path, 2), name, media_type=media_type)


def test_kernel_that_does_not_tell_is_taken_to_be_short(
    unruly: ParserProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.parsing.process.oom_kills", lambda: None)
    with pytest.raises(ParserKilled):
        read(unruly, kills(tmp_path, 2), "killed", media_type="text/plain")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")
def test_kernel_tells_how_many_it_killed() -> None:
    found = oom_kills()
    assert found is None or found >= 0


def test_second_attempt_has_no_other_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    room, order = Room(), list[str]()
    with (
        ParserProcess(1024, module="unruly_child", room=room) as one,
        ParserProcess(1024, module="unruly_child", room=room) as other,
    ):
        beside = other.parse(HERE, "abort 9", PDF, Limits(30, 30), None, never)
        next(beside)  # it is inside
        killed = threading.Thread(
            target=lambda: order.append(read(one, kills(tmp_path, 1), "killed", media_type="text/plain").text[:4])
        )
        killed.start()
        assert wait_for(lambda: room._alone is not None)
        for _ in beside:
            order.append("beside")
        killed.join()
    assert order == ["beside", "beside", "beside", "one "]


@pytest.mark.usefixtures("short_kernel")
def test_file_killed_beside_others_waits_for_another_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    room = Room(patience_seconds=0.01)
    with (
        ParserProcess(1024, module="unruly_child", room=room) as one,
        room.beside(lambda: None),
        pytest.raises(MemoryShort) as caught,
    ):
        read(one, kills(tmp_path, 2), "killed", media_type="text/plain")
    assert caught.value.transient


def test_cancel_while_waiting_to_be_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    room = Room()
    with (
        ParserProcess(1024, module="unruly_child", room=room) as one,
        room.beside(lambda: None),
        pytest.raises(Cancelled),
    ):
        read(one, kills(tmp_path, 1), "killed", is_cancelled=lambda: room._alone is not None, media_type="text/plain")
    assert room._alone is None


def test_cancel(unruly: ParserProcess) -> None:
    cancelled = threading.Event()
    with pytest.raises(Cancelled):
        read(unruly, HERE, "hang", Limits(60, 60), lambda *_: cancelled.set(), cancelled.is_set, "text/plain")
    assert run(unruly, "a")


@pytest.mark.parametrize("fault", ["hang", "abort"])
def test_page_that_fails_is_left_out(unruly: ParserProcess, fault: str) -> None:
    for bad in (1, 2, 4):
        document = read(unruly, HERE, f"{fault} {bad}", Limits(30, 1), media_type=PDF)
        assert [page.number for page in document.pages] == [page for page in (1, 2, 3, 4) if page != bad]
        assert document.text == "".join(f"page {page.number}\n" for page in document.pages)
        assert document.notes == (Note(NoteKind.SKIPPED, 1, (bad,)),)
    with pytest.raises((ParsingTimeout, ParserCrashed)):
        read(unruly, HERE, f"{fault} 2", Limits(30, 1), media_type="text/plain")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process has used")
def test_child_ends_after_a_file_that_took_much_memory(unruly: ParserProcess) -> None:
    first = run(unruly, "fill").split()[1]
    assert run(unruly, "a").split()[1] != first


def test_attachment_that_fails_is_left_out(unruly: ParserProcess) -> None:
    document = read(unruly, HERE, "abort 2", media_type=MAIL)
    assert document.text == "page 1\npage 3\npage 4\n"
    assert not document.notes  # the mail's parser notes it by its name


def test_child_waits_while_its_parts_are_not_taken(unruly: ParserProcess) -> None:
    taken = unruly.parse(HERE, "endless", "text/plain", Limits(30, 30), None, never)
    assert len(next(taken).text) == 100_000
    time.sleep(0.5)
    waiting = unruly._child._frames.qsize() if unruly._child else 0
    assert waiting <= WAITING_FRAMES
    taken.close()
    assert run(unruly, "a").startswith("a ")


def test_time_of_the_caller_does_not_count(unruly: ParserProcess) -> None:
    taken = unruly.parse(HERE, "abort 9", PDF, Limits(30, 1), None, never)
    next(taken)
    time.sleep(1.5)
    assert [part.text for part in taken] == ["page 2\n", "page 3\n", "page 4\n"]


def test_caller_error_leaves_no_stale_answer(unruly: ParserProcess) -> None:
    def fail(done: int, total: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        read(unruly, HERE / "parsing_samples.py", "slow", on_progress=fail)
    assert run(unruly, "next").startswith("next ")


def test_memory_is_limited(unruly: ParserProcess) -> None:
    with pytest.raises(NeedsMemory) as caught:
        run(unruly, "hoard")
    assert "needs more than 1024 MB" in str(caught.value)
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
        "import pathlib, time\nfrom kb.parsing import Limits, ParserProcess\n"
        "process = ParserProcess(1024, module='unruly_child')\n"
        "def parse(name):\n"
        "    parts = process.parse(pathlib.Path('x'), name, 'text/plain', Limits(60, 60), None, lambda: False)\n"
        "    return list(parts)[0].text\n"
        "print(parse('a').split()[1], flush=True)\n" + ("parse('hang')" if state == "hang" else "time.sleep(60)")
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2])])}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_running(pid)
        parent.kill()
    assert wait_for(lambda: not is_running(pid), seconds=10)
