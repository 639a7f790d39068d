"""The places of lines are kept range by range, and those of a passage found again."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kb.library import LineBoxWriter, lines_between
from kb.models import LineBox, PageStart, ParsedDocument


def box(start: int, end: int, top: float = 0.5) -> LineBox:
    return LineBox(start, end, 0.1, top, 0.9, round(top + 0.0123, 4))


def document(*lines: LineBox, pages: tuple[PageStart, ...] = (PageStart(0, 1),)) -> ParsedDocument:
    return ParsedDocument("", pages=pages, lines=lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.lines"
    with LineBoxWriter(path) as writer:
        writer.add(document(box(0, 10), box(11, 20), box(25, 30, 0.1), pages=(PageStart(0, 1), PageStart(25, 2))), 0)
        writer.add(document(box(0, 10), box(10, 20), pages=(PageStart(0, 2), PageStart(10, 4))), 100)
    return path


def test_lines_of_a_passage_are_found_by_page(path: Path) -> None:
    assert lines_between(path, 12, 105) == {1: [box(11, 20)], 2: [box(25, 30, 0.1), box(100, 110)]}
    assert lines_between(path, 0, 1000) == {
        1: [box(0, 10), box(11, 20)],
        2: [box(25, 30, 0.1), box(100, 110)],
        4: [box(110, 120)],
    }


@pytest.mark.parametrize(("start", "end"), [(10, 11), (20, 25), (30, 100), (120, 200), (-5, 0)])
def test_text_without_lines_has_none(path: Path, start: int, end: int) -> None:
    assert lines_between(path, start, end) == {}


def test_document_without_lines_is_told_from_one_that_was_never_looked_at(tmp_path: Path) -> None:
    with LineBoxWriter(tmp_path / "a.lines") as writer:
        writer.add(document(), 0)
    assert lines_between(tmp_path / "a.lines", 0, 10) == {}
    assert lines_between(tmp_path / "b.lines", 0, 10) is None
    for content in (b"", b"another format"):
        (tmp_path / "c.lines").write_bytes(content)
        assert lines_between(tmp_path / "c.lines", 0, 10) is None


def test_attempt_that_fails_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), LineBoxWriter(path) as writer:  # noqa: PT012
        writer.add(document(box(0, 5)), 0)
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert list(path.parent.glob("*.*")) == [path]


def test_next_attempt_replaces_the_last_one(path: Path) -> None:
    with LineBoxWriter(path) as writer:
        writer.add(document(box(0, 5)), 0)
    assert lines_between(path, 0, 1000) == {1: [box(0, 5)]}


def test_full_disk_costs_only_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kb.library.line_boxes.os.fsync", full)
    with LineBoxWriter(tmp_path / "a.lines") as writer:
        writer.add(document(box(0, 5)), 0)
    with LineBoxWriter(tmp_path / "no folder" / "a.lines") as writer:
        writer.add(document(box(0, 5)), 0)
    assert list(tmp_path.glob("*.*")) == []
