from pathlib import Path

import pytest

from kb.local import logs


def test_last_line_skips_blank_lines_and_what_was_there_before(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")
    assert logs.last_line(log, since=4) == ""
    log.write_text("old\nnew\n  \n\n")
    assert logs.last_line(log, since=4) == "new"
    assert logs.last_line(tmp_path / "missing.log") == ""


def test_a_log_over_the_limit_is_moved_while_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LIMIT_BYTES", 10)
    path = tmp_path / "logs" / "x.log"
    with logs.open_log(path) as log:
        log.write(b"more than ten bytes\n")
        logs.bound_log(path)
        log.write(b"next\n")
    assert path.read_text() == "next\n"
    assert path.with_name("x.log.1").read_text() == "more than ten bytes\n"


def test_the_last_line_is_found_after_the_log_was_moved(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("short\n")
    assert logs.last_line(log, since=5_000) == "short"
