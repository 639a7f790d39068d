"""A folder as a source: which of its files can be documents, and what a knowledge base lacks of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import pytest

from kb.errors import FileNotReadable
from kb.library import Content
from kb.models import VersionState
from kb.sources import FolderFile, Refused, find_files, plan_folder

LIMIT = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, text: str = "text") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def content(name: str, text: str = "text", state: VersionState = VersionState.READY) -> Content:
    return Content(uuid4(), uuid4(), name, hashlib.sha256(text.encode()).hexdigest(), len(text), state)


def refused(folder: Path) -> dict[str, str]:
    return {each.name: each.error.code for each in find_files(folder, LIMIT) if isinstance(each, Refused)}


def test_paths_below_the_folder_are_names(folder: Path) -> None:
    for name in ("b.md", "a/deep/手册.txt", ".hidden.md", ".git/config", "a/.cache/x.md"):
        write(folder, name)
    (folder / "circle").symlink_to(folder)
    (folder / "link.md").symlink_to(folder / "b.md")
    names = [each.name for each in find_files(folder, LIMIT)]
    assert names == ["b.md", "link.md", "a/deep/手册.txt"]


def test_files_that_cannot_be_documents_have_a_reason(folder: Path) -> None:
    write(folder, "empty.md", "")
    write(folder, "large.md", "x" * (LIMIT + 1))
    (folder / "program.bin").write_bytes(bytes(range(32)) * 20)
    (folder / "dangling.md").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.md")
    long = [write(folder, "x" * 200 + "/" + "y" * 100 + end + ".md") for end in "ab"]
    assert refused(folder) == {
        "empty.md": "empty_file",
        "large.md": "upload_too_large",
        "program.bin": "unsupported_format",
        "dangling.md": "file_not_readable",
        "pipe.md": "unsupported_format",
        f"{long[0].relative_to(folder).as_posix()[:252]}.md": "name_twice",
    }
    plan = plan_folder(find_files(folder, LIMIT), [])
    assert {each.name for each in plan.refused if each.is_skipped} == {"empty.md", "program.bin", "pipe.md"}


def test_folder_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it is not missing."""
    write(folder, "a.md")
    write(folder, "closed/b.md")
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    held = [content("a.md"), content("closed/b.md"), content("closed too.md")]
    plan = plan_folder(find_files(folder, LIMIT), held)
    assert [each.name for each in plan.refused] == ["closed/"]
    assert [each.name for each in plan.missing] == ["closed too.md"]
    with pytest.raises(FileNotReadable):
        list(find_files(folder / "closed", LIMIT))


def test_plan_compares_contents(folder: Path) -> None:
    for name in ("new.md", "same.md", "changed.md", "shorter.md", "failed.md", "waiting.md"):
        write(folder, name)
    held = [
        content("same.md"),
        content("changed.md", "txet"),
        content("shorter.md", "a longer text"),
        content("failed.md", state=VersionState.FAILED),
        content("waiting.md", state=VersionState.EMBEDDING),
        content("gone.md"),
    ]
    plan = plan_folder(find_files(folder, LIMIT), held)
    assert [each.name for each in plan.new] == ["new.md"]
    assert [file.name for file, _ in plan.changed] == ["changed.md", "shorter.md"]
    found = {name: [each.name for each in getattr(plan, name)] for name in ("unchanged", "again", "waiting", "missing")}
    assert found == {
        "unchanged": ["same.md"],
        "again": ["failed.md"],
        "waiting": ["waiting.md"],
        "missing": ["gone.md"],
    }


def test_newest_of_several_documents_of_one_name_counts(folder: Path) -> None:
    write(folder, "a.md")
    newest, oldest = content("a.md", "newest"), content("a.md", "oldest")
    plan = plan_folder(find_files(folder, LIMIT), [newest, oldest])
    assert [document for _, document in plan.changed] == [newest]
    assert plan.missing == []
    plan = plan_folder(find_files(folder, LIMIT), [newest, content("a.md")])
    assert len(plan.unchanged) == 1


def test_file_that_vanishes_fails_by_itself(folder: Path) -> None:
    gone = FolderFile("gone.md", folder / "gone.md", 4)
    plan = plan_folder([gone], [content("gone.md")])
    assert [each.error.code for each in plan.refused] == ["file_not_readable"]
