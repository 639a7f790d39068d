"""State that cannot be read is moved aside: its name, its reason, and how many are kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kb.local.set_aside import KEPT, delete_set_aside, list_set_aside, put_back, set_aside

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return fill(tmp_path / "redis")


def fill(folder: Path) -> Path:
    folder.mkdir()
    (folder / "appendonly.aof").write_bytes(b"\0" * 9)
    return folder


def test_name_tells_what_and_when(tmp_path: Path, data: Path) -> None:
    folder = set_aside(tmp_path, "redis", data, "Bad file format", NOON)
    assert folder == tmp_path / "set-aside" / "redis-20261127T120000"
    assert (folder / "redis" / "appendonly.aof").read_bytes() == b"\0" * 9
    assert not data.exists()
    (found,) = list_set_aside(tmp_path)
    assert (found.kind, found.moment, found.reason, found.folder) == ("redis", NOON, "Bad file format", folder)


def test_few_are_kept_also_of_one_second(tmp_path: Path, data: Path) -> None:
    for second in (0, 0, 1, 2, 3):
        set_aside(tmp_path, "redis", data, "", NOON + timedelta(seconds=second))
        fill(data)
    assert [each.moment.second for each in list_set_aside(tmp_path)] == [3, 2, 1]
    assert len(list((tmp_path / "set-aside").iterdir())) == KEPT


def test_put_back_restores_the_data(tmp_path: Path, data: Path) -> None:
    folder = set_aside(tmp_path, "redis", data, "", NOON)
    data.mkdir()
    (data / "new").touch()
    put_back(folder, data)
    assert [file.name for file in data.iterdir()] == ["appendonly.aof"]
    assert list_set_aside(tmp_path) == []


def test_what_cannot_be_moved_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        set_aside(tmp_path, "redis", tmp_path / "missing", "")
    assert list_set_aside(tmp_path) == []


def test_deleting_leaves_what_is_not_ours(tmp_path: Path, data: Path) -> None:
    set_aside(tmp_path, "redis", data, "", NOON)
    (tmp_path / "set-aside" / "my notes").mkdir()
    delete_set_aside(tmp_path)
    assert [folder.name for folder in (tmp_path / "set-aside").iterdir()] == ["my notes"]


@pytest.mark.parametrize("place", ["a file", "a link to nothing"])
def test_place_of_the_folder_is_made(tmp_path: Path, data: Path, place: str) -> None:
    if place == "a file":
        (tmp_path / "set-aside").write_bytes(b"a file")
    else:
        (tmp_path / "set-aside").symlink_to(tmp_path / "gone" / "away")
    folder = set_aside(tmp_path, "redis", data, "", NOON)
    assert (folder / "redis" / "appendonly.aof").exists()
    (kept,) = tmp_path.glob("set-aside-unusable-*")  # it may be somebody's
    assert kept.is_symlink() or kept.read_bytes() == b"a file"
