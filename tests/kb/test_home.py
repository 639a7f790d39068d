"""No other user of the machine can open the home folder or a file in it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb.home import OTHERS, keep_private


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(home: Path) -> dict[str, str]:
    return {str(path.relative_to(home)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in (home, *home.rglob("*"))}


def test_new_home_and_its_files_are_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    keep_private(home)
    (home / "uploads").mkdir()
    (home / "uploads" / "file").touch()
    assert modes(home) == {".": "0o700", "uploads": "0o700", "uploads/file": "0o600"}


def test_open_home_is_closed_with_all_that_is_ours(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "milvus" / "data").mkdir(parents=True)
    (home / "milvus" / "data" / "segment").touch()
    (home / "zhiwen.db").touch()
    (home / "notes.txt").touch()
    keep_private(home)
    assert modes(home) == {
        ".": "0o700",
        "milvus": "0o700",
        "milvus/data": "0o700",
        "milvus/data/segment": "0o600",
        "zhiwen.db": "0o600",
        "notes.txt": "0o644",  # not ours, and in a closed folder
    }


def test_home_folder_is_closed_before_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing many files takes a while. A start that ends meanwhile is made up for by the next one."""
    home = tmp_path / "home"
    (home / "uploads" / "kb").mkdir(parents=True)
    for name in ("one", "two"):
        (home / "uploads" / "kb" / name).touch()
    chmod, closed = Path.chmod, list[Path]()

    def end_at_the_third(path: Path, mode: int) -> None:
        if len(closed) == 2:
            raise KeyboardInterrupt
        closed.append(path)
        chmod(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", end_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            keep_private(home)
    assert closed[0] == home
    assert set(modes(home).values()) & {"0o644", "0o755"}
    keep_private(home)
    assert set(modes(home).values()) == {"0o700", "0o600"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "file").touch()
    (home / "models").symlink_to(elsewhere)
    keep_private(home)
    assert stat.S_IMODE((elsewhere / "file").stat().st_mode) & OTHERS
    assert stat.S_IMODE(elsewhere.stat().st_mode) & OTHERS


def test_home_whose_permissions_cannot_be_changed_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(Path, "chmod", refuse)
    keep_private(home)
    assert "home.not_private" in capsys.readouterr().out
