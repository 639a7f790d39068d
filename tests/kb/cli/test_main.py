"""How commands are called and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kb.cli.main import FAILED, INTERRUPTED, main
from kb.cli.parser import parse
from kb.errors import DatabaseUnavailable
from tests.kb.cli.conftest import Run
from tests.real_services import ROOT


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["doctor", "--unknown"], ["doctor", "more"]])
def test_wrong_use_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments, "1")
    assert end.value.code == 2
    assert "usage: zhiwen" in capsys.readouterr().err


def test_failure_ends_with_1_and_says_what_to_do(zhiwen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> int:
        raise DatabaseUnavailable(detail="no route")

    monkeypatch.setattr("kb.cli.doctor.run", fail)
    ended = zhiwen("doctor")
    assert (ended.code, ended.out) == (FAILED, "")
    assert "no route" in ended.err
    as_json = zhiwen("doctor", "--json")
    assert (as_json.code, as_json.err) == (FAILED, "")
    error = as_json.json["error"]
    assert error["code"] == "database_unavailable"
    assert "no route" in error["message"]
    assert error["remedy"]


def test_folder_that_cannot_be_used_is_named(zhiwen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with a traceback: the home is a file, and the backup's name is too long for the disk."""
    long_name = zhiwen("backup", str(tmp_path / ("x" * 300)))
    assert (long_name.code, "File name too long" in long_name.err) == (FAILED, True)
    home = tmp_path / "file"
    home.touch()
    monkeypatch.setenv("ZHIWEN_HOME", str(home))
    for command in (("user", "list"), ("restore", str(home))):
        ended = zhiwen(*command, "--json")
        assert (ended.code, str(home) in ended.json["error"]["message"]) == (FAILED, True)


def test_interrupted_command_ends_with_130(zhiwen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("kb.cli.doctor.run", interrupt)
    assert zhiwen("doctor").code == INTERRUPTED


class Became(Exception):
    """Instead of becoming another program."""


def became(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of the program that a command becomes."""

    def execute(_path: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        raise Became(command, environment or {})

    monkeypatch.setattr(os, "execv", execute)
    monkeypatch.setattr(os, "execve", execute)
    monkeypatch.setattr("kb.embedding.__main__.main", lambda: None)
    with pytest.raises(Became) as caught:
        main(arguments, None)  # type: ignore[arg-type]
    command, environment = caught.value.args
    return command, environment


def test_run_passes_options_to_streamlit(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--server.port", "8600", "--server.headless=true"]
    command, _ = became(monkeypatch, "run", *options)
    assert command[:5] == [sys.executable, "-P", "-m", "streamlit", "run"]
    assert command[5:] == [str(ROOT / "webui_st.py"), *options]
    assert Path(command[5]).is_file()


def test_worker_starts_dramatiq_with_the_threads_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_THREADS", "5")
    command, environment = became(monkeypatch, "worker", "--processes", "2")
    assert command[:4] == [sys.executable, "-P", str(Path(sys.executable).with_name("dramatiq")), "workers"]
    assert command[command.index("--threads") + 1] == "5"
    assert command[-2:] == ["--processes", "2"]  # the last one counts
    assert environment["dramatiq_queue_prefetch"] == "5"


def test_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The console script's function, from any folder, even one that holds packages of our names."""
    (tmp_path / "kb").mkdir()
    script = Path(sys.executable).with_name("zhiwen")
    program = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "web"]
    environment = {**os.environ, "ZHIWEN_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*program, "doctor", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == FAILED, done.stderr
    found = {check["check"]: check["mark"] for check in json.loads(done.stdout)["checks"]}
    assert (found["Python"], found["Zhiwen"]) == ("ok", "failed")
    assert not (tmp_path / "home").exists()  # it only looks
